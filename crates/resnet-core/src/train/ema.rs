//! An exponential moving average of the weights and running statistics, as timm's `ModelEma` has it: after each update
//! average = decay·average + (1 − decay)·weights, from the weights that the run began with.

use crate::error::{Code, Error, Result};
use crate::weights::{copied, Weights};
use resnet_ops::average::average;
use resnet_ops::{Buffer, Executor};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Settings of the average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Weight of the average before, from 0 to below 1.
    pub decay: f64,
    /// Whether the n-th update, counting from 0, has at most the decay (1 + n) / (10 + n), so that the first weights are soon forgotten.
    #[serde(default)]
    pub warmup: bool,
}

/// The average at work. While it is in use the session has it, and it keeps the weights that are trained.
pub struct Ema {
    config: EmaConfig,
    /// Updates that it has taken.
    pub updates: u64,
    /// Averages of the parameters, or while it is in use the trained ones; empty before the first step.
    pub parameters: Buffer,
    /// The same of the running statistics.
    pub running: Buffer,
    /// Whether the session has the averages.
    pub in_use: bool,
}

impl EmaConfig {
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the decay is outside its range.
    pub fn check(&self) -> Result<()> {
        match self.decay >= 0.0 && self.decay < 1.0 {
            true => Ok(()),
            false => {
                let expected = "a number from 0 to below 1";
                Err(Error::expected(Code::InvalidArgument, "ema.decay", expected, self.decay))
            }
        }
    }
}

impl Ema {
    /// One that begins with the weights before the first step.
    pub fn new(config: EmaConfig) -> Self {
        Self { config, updates: 0, parameters: Buffer::empty(), running: Buffer::empty(), in_use: false }
    }

    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes() + self.running.bytes()
    }

    /// Begins with these weights, unless it has begun.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if the device fails.
    pub fn reserve(&mut self, executor: &Executor, weights: &Weights) -> Result<()> {
        if self.parameters.is_empty() {
            let running = copied(&weights.running, executor)?;
            (self.parameters, self.running) = (copied(&weights.parameters, executor)?, running);
        }
        Ok(())
    }

    /// Weight of the parameters in the average after the next update.
    pub fn weight(&self) -> f64 {
        let EmaConfig { decay, warmup } = self.config;
        let n = self.updates as f64;
        1.0 - if warmup { decay.min((1.0 + n) / (10.0 + n)) } else { decay }
    }

    /// Takes some parameters, which have been updated, at this weight.
    ///
    /// # Errors
    /// If the device fails.
    pub fn take(&mut self, executor: &Executor, weights: &Weights, range: Range<usize>, weight: f64) -> Result<()> {
        let target = self.parameters.view_mut(range.clone());
        Ok(average(executor, target, &weights.parameters.view(range), weight)?)
    }

    /// Takes the running statistics, once all parameters have been taken.
    ///
    /// # Errors
    /// If the device fails.
    pub fn finish(&mut self, executor: &Executor, weights: &Weights, weight: f64) -> Result<()> {
        let len = self.running.len();
        if len > 0 {
            average(executor, self.running.view_mut(0..len), &weights.running.view(0..len), weight)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// Gives the session the averages, or the weights that are trained.
    ///
    /// # Errors
    /// If the device fails.
    pub fn put(&mut self, averages: bool, weights: &mut Weights) -> Result<()> {
        if self.in_use != averages && !self.parameters.is_empty() {
            weights.version += 1;
            self.parameters.swap(&mut weights.parameters)?;
            self.running.swap(&mut weights.running)?;
            self.in_use = averages;
        }
        Ok(())
    }
}
