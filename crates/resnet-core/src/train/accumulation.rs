//! Gradients of several batches as one: their mean over all samples.

use crate::error::Result;
use crate::weights::{copied, Weights};
use resnet_ops::accumulate::accumulate;
use resnet_ops::{Buffer, Executor};

/// Gathers the gradients of the batches of an update.
pub struct Accumulation {
    /// Batches of an update.
    every: usize,
    /// Batches since the last update, and their weight.
    batches: usize,
    weight: f64,
    /// The sum of their gradients, each times its batch's weight.
    sum: Buffer,
}

impl Accumulation {
    /// None is there yet.
    pub fn new(every: usize) -> Self {
        Self { every, batches: 0, weight: 0.0, sum: Buffer::empty() }
    }

    /// Batches since the last update.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Batches since the last update, and their weight.
    pub fn accumulated(&self) -> (usize, f64) {
        (self.batches, self.weight)
    }

    /// Goes on as after so many batches of this weight, whose sum is to be written to [`Self::sum_mut`].
    pub fn go_on(&mut self, batches: usize, weight: f64) {
        (self.batches, self.weight) = (batches, weight);
    }

    /// The sum of their gradients, if there are some.
    pub fn sum_mut(&mut self) -> Option<&mut Buffer> {
        (self.batches > 0).then_some(&mut self.sum)
    }

    /// Makes room, if there is something to be summed.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn reserve(&mut self, executor: &Executor, len: usize) -> Result<()> {
        if self.every > 1 && self.sum.is_empty() {
            self.sum = executor.zeros(executor.parameter_dtype(), len)?;
        }
        Ok(())
    }

    /// Takes the gradients of a batch, of the mean over so many samples or such a weight of them. Whether it was the update's last, as which any may be asked for: then the gradients are the
    /// mean over the samples of all its batches.
    ///
    /// # Errors
    /// If the device fails.
    pub fn take(&mut self, executor: &Executor, weights: &mut Weights, weight: f64, is_last: bool) -> Result<bool> {
        let Self { every, batches, weight: before, sum } = self;
        if *batches + 1 < *every && !is_last {
            accumulate(executor, sum, if *batches == 0 { 0.0 } else { 1.0 }, &weights.gradients, weight)?;
            (*batches, *before) = (*batches + 1, *before + weight);
            return Ok(false);
        }
        if *batches > 0 {
            let total = *before + weight;
            accumulate(executor, &mut weights.gradients, weight / total, sum, 1.0 / total)?;
        }
        self.forget();
        Ok(true)
    }

    /// Its memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.sum.bytes()
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        (self.batches, self.weight) = (0, 0.0);
    }

    /// The same on another backend.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if a device fails.
    pub fn copied(&self, executor: &Executor) -> Result<Self> {
        let Self { every, batches, weight, sum } = self;
        Ok(Self { every: *every, batches: *batches, weight: *weight, sum: copied(sum, executor)? })
    }
}
