//! The best weights of a run, kept to end with.

use crate::error::Result;
use crate::weights::{copied, Weights};
use resnet_ops::{Buffer, Executor};

/// A copy of the weights and running statistics at the best value so far.
pub struct Best {
    /// Parameters.
    pub parameters: Buffer,
    /// Running statistics.
    pub running: Buffer,
}

impl Best {
    /// A copy of these.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if the device fails.
    pub fn of(executor: &Executor, weights: &Weights) -> Result<Self> {
        Ok(Self { parameters: copied(&weights.parameters, executor)?, running: copied(&weights.running, executor)? })
    }

    /// Takes better ones in the same memory.
    ///
    /// # Errors
    /// If the device fails.
    pub fn take(&mut self, weights: &Weights) -> Result<()> {
        self.parameters.copy_from(&weights.parameters)?;
        Ok(self.running.copy_from(&weights.running)?)
    }

    /// Gives them to the session.
    ///
    /// # Errors
    /// If the device fails.
    pub fn give(&self, weights: &mut Weights) -> Result<()> {
        weights.version += 1;
        weights.parameters.copy_from(&self.parameters)?;
        Ok(weights.running.copy_from(&self.running)?)
    }
}
