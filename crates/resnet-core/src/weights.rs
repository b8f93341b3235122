//! The flat storage of parameters, running statistics and gradients, in a backend's type.

use crate::error::Result;
use crate::model::params::{Parameter, Params, Role};
use crate::tensor::{Named, Tensor};
use resnet_ops::{Buffer, Executor};

/// What lives longer than a step.
pub struct Weights {
    /// Learnt parameters, in canonical order.
    pub learnt: Buffer,
    /// Running statistics, in canonical order.
    pub running: Buffer,
    /// Gradients of the learnt parameters; empty before the first training step.
    pub gradients: Buffer,
    /// Counts the changes of parameters and running statistics.
    pub version: u64,
}

impl Weights {
    /// Weights with these values in a backend's type.
    pub fn new(executor: &Executor, learnt: &[f32], running: &[f32]) -> Result<Self> {
        let dtype = executor.exact_dtype();
        let (learnt, running) = (executor.upload(dtype, learnt)?, executor.upload(dtype, running)?);
        Ok(Self { learnt, running, gradients: Buffer::empty(), version: 0 })
    }

    /// The same on another backend.
    pub fn copied(&self, executor: &Executor) -> Result<Self> {
        let [learnt, running, gradients] = [&self.learnt, &self.running, &self.gradients];
        let copy = |buffer: &Buffer| executor.upload(executor.exact_dtype(), &buffer.read::<f64>(0..buffer.len())?);
        let (learnt, running, gradients) = (copy(learnt)?, copy(running)?, copy(gradients)?);
        Ok(Self { learnt, running, gradients, version: self.version })
    }

    /// Takes other values.
    pub fn set(&mut self, learnt: &[f32], running: &[f32]) -> Result<()> {
        self.learnt.write(learnt)?;
        self.running.write(running)?;
        self.version += 1;
        Ok(())
    }

    /// Learnt parameters and running statistics in f32.
    pub fn values(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((values_of(&self.learnt)?, values_of(&self.running)?))
    }

    /// Parameters and running statistics by name.
    pub fn named(&self, params: &Params) -> Result<Named<f64>> {
        let storage = |parameter: &Parameter| match parameter.role {
            Role::RunningMean | Role::RunningVar => &self.running,
            _ => &self.learnt,
        };
        params.in_order().into_iter().map(|parameter| entry(storage(parameter), parameter)).collect()
    }

    /// Gradients by name; none before the first training step.
    pub fn named_gradients(&self, params: &Params) -> Result<Named<f64>> {
        if self.gradients.is_empty() {
            return Ok(Vec::new());
        }
        params.learnt.iter().map(|parameter| entry(&self.gradients, parameter)).collect()
    }
}

fn entry(storage: &Buffer, parameter: &Parameter) -> Result<(String, Tensor<f64>)> {
    let data = storage.read(parameter.range.clone())?;
    Ok((parameter.name.clone(), Tensor { data, shape: parameter.shape.clone() }))
}

fn values_of(buffer: &Buffer) -> Result<Vec<f32>> {
    Ok(buffer.read(0..buffer.len())?)
}
