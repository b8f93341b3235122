//! One update after the other.

use super::{Metrics, Sgd};
use crate::data::Input;
use crate::error::Result;
use crate::session::{check_images, Session};
use crate::tensor::{narrow, Images, Named};
use resnet_ops::{Buffer, Executor};

/// Makes updates: holds what an optimiser keeps between steps.
pub struct Trainer {
    optimizer: Sgd,
    /// Momentum's memory; comes with the first step that needs it.
    velocity: Option<Buffer>,
    stepped: bool,
}

impl Trainer {
    /// A trainer with a fresh optimiser.
    pub fn new(optimizer: Sgd) -> Self {
        Self { optimizer, velocity: None, stepped: false }
    }

    /// One update on images with their labels; returns loss and accuracy before the update.
    ///
    /// # Errors
    /// `ERR_SHAPE` and `ERR_LABEL` if the images or labels do not fit the network; `ERR_NON_FINITE_LOSS`. Each leaves the
    /// weights and running statistics as they were.
    pub fn step(&mut self, session: &mut Session, images: Images, labels: &[u32]) -> Result<Metrics> {
        check_images(&images)?;
        self.step_on(session, images.into(), labels)
    }

    /// [`Trainer::step`] on images that may be on the GPU.
    pub(crate) fn step_on(&mut self, session: &mut Session, images: Input, labels: &[u32]) -> Result<Metrics> {
        let metrics = session.step(images, labels, &self.optimizer, &mut self.velocity)?;
        self.stepped = true;
        Ok(metrics)
    }

    /// What is kept between steps, on another backend.
    pub(crate) fn velocity_on(&self, executor: &Executor) -> Result<Option<Buffer>> {
        let copy =
            |velocity: &Buffer| executor.upload(executor.exact_dtype(), &velocity.read::<f64>(0..velocity.len())?);
        Ok(self.velocity.as_ref().map(copy).transpose()?)
    }

    /// Takes what [`Trainer::velocity_on`] gave.
    pub(crate) fn set_velocity(&mut self, velocity: Option<Buffer>) {
        self.velocity = velocity;
    }

    /// The last step's gradients by parameter name, in canonical order, before weight decay; empty before the first step.
    pub fn gradients(&self, session: &Session) -> Result<Named> {
        Ok(narrow(self.gradients_f64(session)?))
    }

    /// [`Trainer::gradients`] in f64, for the f64 backend.
    pub fn gradients_f64(&self, session: &Session) -> Result<Named<f64>> {
        if !self.stepped {
            return Ok(Vec::new());
        }
        session.gradients_f64()
    }
}
