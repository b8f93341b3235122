//! How a run goes through its epochs: where it begins, how far it goes, what is evaluated when, and what it keeps besides the weights.

use super::early_stopping::{EarlyStopping, Watch};
use super::ema::EmaConfig;
use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of a run's course; by default each epoch is gone through and evaluated once, and nothing else is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CourseConfig {
    /// Epochs that count as done: the first is the one after them.
    pub initial_epoch: usize,
    /// The average of the weights that is kept, if one is: what is evaluated, and what the session has when an epoch has ended.
    pub ema: Option<EmaConfig>,
    /// When the run ends before its last epoch.
    pub early_stopping: Option<EarlyStopping>,
    /// What the best weights are told by, with which the run then ends.
    pub restore_best: Option<Watch>,
    /// When the validation set is evaluated; after each epoch if absent.
    pub validate_every: Option<ValidateEvery>,
    /// One epoch of so many batches, and as many of the validation: to see that all goes well. Nothing ends early, is kept as the best or written.
    pub fast_dev_run: Option<usize>,
    /// Only the first batches of an epoch, in the data set's order, without a validation: to see that a network can learn them.
    pub overfit_batches: Option<usize>,
    /// Whether steps tell the norm of the gradients.
    pub gradient_norm: bool,
}

/// When the validation set is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidateEvery {
    /// After each epoch whose number is a multiple.
    Epochs(usize),
    /// After each update whose number in the run is a multiple.
    Steps(usize),
}

/// What the settings come to for a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Batches of an epoch.
    pub batches: usize,
    /// Updates of an epoch.
    pub steps: usize,
    /// The same as schedules see it: a trial run has the rates of the run that is tried.
    pub clock_steps: usize,
    /// Number of the last epoch.
    pub last_epoch: usize,
    /// Samples that are evaluated.
    pub evaluated: usize,
}

impl CourseConfig {
    /// Refuses settings that cannot be in a run of so many epochs, with or without a validation set.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check(&self, epochs: usize, has_validation: bool) -> Result<()> {
        let refuse = |parameter, expected: &str, got: &dyn std::fmt::Display| {
            Err(Error::expected(Code::InvalidArgument, parameter, expected, got))
        };
        if self.initial_epoch >= epochs {
            return refuse("initialEpoch", &format!("less than the run's {epochs} epochs"), &self.initial_epoch);
        }
        if let Some(ema) = &self.ema {
            ema.check()?;
        }
        for (parameter, batches) in [("fastDevRun", self.fast_dev_run), ("overfitBatches", self.overfit_batches)] {
            if batches == Some(0) {
                return refuse(parameter, "at least 1", &0);
            }
        }
        if let (Some(batches), Some(_)) = (self.overfit_batches, self.fast_dev_run) {
            return refuse("overfitBatches", "none beside fastDevRun", &batches);
        }
        let is_validated = has_validation && self.overfit_batches.is_none();
        if let Some(EarlyStopping { watch, .. }) = &self.early_stopping {
            watch.check("earlyStopping", is_validated)?;
        }
        if let Some(watch) = &self.restore_best {
            watch.check("restoreBest", is_validated)?;
        }
        match self.validate_every {
            Some(ValidateEvery::Epochs(n) | ValidateEvery::Steps(n)) if !is_validated => {
                let why = if has_validation {
                    "none beside overfitBatches, which validates nothing"
                } else {
                    "a validation set for it"
                };
                refuse("validateEvery", why, &n)
            }
            Some(ValidateEvery::Epochs(0) | ValidateEvery::Steps(0)) => refuse("validateEvery", "at least 1", &0),
            Some(ValidateEvery::Epochs(n)) if epochs / n == self.initial_epoch / n && self.fast_dev_run.is_none() => {
                refuse("validateEvery.epochs", "a number of which an epoch of the run is a multiple", &n)
            }
            Some(ValidateEvery::Epochs(_) | ValidateEvery::Steps(_)) | None => Ok(()),
        }
    }

    /// When the run ends before its last epoch.
    pub fn stopping(&self) -> Option<EarlyStopping> {
        self.early_stopping.filter(|_| self.fast_dev_run.is_none())
    }

    /// What the best weights are told by.
    pub fn best(&self) -> Option<Watch> {
        let watch = self.restore_best.or(self.early_stopping.map(|stopping| stopping.watch));
        watch.filter(|_| self.fast_dev_run.is_none())
    }

    /// Whether the best weights are kept.
    pub fn keeps_best(&self) -> bool {
        self.restore_best.is_some() && self.fast_dev_run.is_none()
    }

    /// Updates after which the validation set is evaluated within epochs.
    pub fn every_steps(&self) -> Option<usize> {
        match (self.validate_every, self.fast_dev_run) {
            (Some(ValidateEvery::Steps(n)), None) => Some(n),
            (Some(ValidateEvery::Steps(_)), Some(_)) | (Some(ValidateEvery::Epochs(_)) | None, _) => None,
        }
    }

    /// Whether it is evaluated after this epoch.
    pub fn is_evaluated(&self, epoch: usize) -> bool {
        match (self.validate_every, self.fast_dev_run) {
            (None, _) | (Some(_), Some(_)) => true,
            (Some(ValidateEvery::Epochs(n)), None) => epoch.is_multiple_of(n),
            (Some(ValidateEvery::Steps(_)), None) => false,
        }
    }

    /// The course of `epochs` epochs, each of so many batches, `accumulate` of them to an update.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the run ends before the first evaluation.
    pub fn of(&self, epochs: usize, batch_size: usize, batches: usize, accumulate: usize) -> Result<Course> {
        let limit = self.fast_dev_run.or(self.overfit_batches).unwrap_or(batches);
        let taken = batches.min(limit);
        let last_epoch = if self.fast_dev_run.is_some() { self.initial_epoch + 1 } else { epochs };
        let steps = taken.div_ceil(accumulate);
        let total = steps.saturating_mul(last_epoch - self.initial_epoch);
        if let Some(n) = self.every_steps().filter(|&n| n > total) {
            let expected = format!("at most the run's {total} steps");
            return Err(Error::expected(Code::InvalidArgument, "validateEvery.steps", expected, n));
        }
        let whole = if self.fast_dev_run.is_some() { batches } else { taken };
        let evaluated = self.fast_dev_run.map_or(usize::MAX, |batches| batches.saturating_mul(batch_size));
        let clock_steps = whole.div_ceil(accumulate);
        Ok(Course { batches: taken, steps, clock_steps, last_epoch, evaluated })
    }
}
