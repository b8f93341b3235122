//! Schedules of the learning rate: each is a pure function of where a run is. What they count in epochs they turn into whole updates.

mod constant;
mod cosine;
mod exponential;
mod multi_step;
mod one_cycle;
mod plateau;
mod polynomial;
mod step_decay;
mod warmup;

pub use constant::Constant;
pub use cosine::Cosine;
pub use exponential::Exponential;
pub use multi_step::MultiStep;
pub use one_cycle::OneCycle;
pub use plateau::ReduceOnPlateau;
pub use polynomial::Polynomial;
pub use step_decay::StepDecay;
pub use warmup::Warmup;

use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// A schedule with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Schedule {
    /// The same rate always.
    Constant(Constant),
    /// Smaller after every so many epochs.
    StepDecay(StepDecay),
    /// Smaller after certain epochs.
    MultiStep(MultiStep),
    /// Smaller after each epoch.
    Exponential(Exponential),
    /// A power of the share of updates that are left.
    Polynomial(Polynomial),
    /// Half a cosine, once or again and again.
    Cosine(Cosine),
    /// Up, then down to almost nothing.
    OneCycle(OneCycle),
    /// Smaller when the loss falls no more.
    ReduceOnPlateau(ReduceOnPlateau),
    /// Up, then another.
    Warmup(Warmup),
}

/// Where a run is when an update is about to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock<'a> {
    /// Updates made before.
    pub step: usize,
    /// Updates of an epoch.
    pub epoch_steps: usize,
    /// Updates of the whole run.
    pub total: usize,
    /// Loss after each epoch that has ended: of the validation, or without one of the training.
    pub losses: &'a [f64],
}

impl Clock<'_> {
    /// The updates of so many epochs, at least one.
    fn steps(&self, epochs: f64) -> usize {
        ((epochs * self.epoch_steps as f64).round() as usize).max(1)
    }

    /// Epochs that have ended.
    fn epoch(&self) -> usize {
        self.step / self.epoch_steps.max(1)
    }
}

impl Schedule {
    /// The learning rate of the update that is about to be made; `base` is the optimiser's.
    pub fn lr(&self, base: f64, clock: &Clock) -> f64 {
        match self {
            Self::Constant(constant) => constant.lr(base),
            Self::StepDecay(step_decay) => step_decay.lr(base, clock),
            Self::MultiStep(multi_step) => multi_step.lr(base, clock),
            Self::Exponential(exponential) => exponential.lr(base, clock),
            Self::Polynomial(polynomial) => polynomial.lr(base, clock),
            Self::Cosine(cosine) => cosine.lr(base, clock),
            Self::OneCycle(one_cycle) => one_cycle.lr(base, clock),
            Self::ReduceOnPlateau(plateau) => plateau.lr(base, clock),
            Self::Warmup(warmup) => warmup.lr(base, clock),
        }
    }

    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a run of so many epochs is over before the schedule's warm-up is.
    pub fn check(&self, epochs: usize) -> Result<()> {
        match self {
            Self::Warmup(warmup) if warmup.epochs >= epochs as f64 => {
                let expected = format!("a warm-up of less than the run's {epochs} epochs");
                Err(Error::expected(Code::InvalidArgument, "schedule", expected, warmup.epochs))
            }
            Self::Warmup(_)
            | Self::Constant(_)
            | Self::StepDecay(_)
            | Self::MultiStep(_)
            | Self::Exponential(_)
            | Self::Polynomial(_)
            | Self::Cosine(_)
            | Self::OneCycle(_)
            | Self::ReduceOnPlateau(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
