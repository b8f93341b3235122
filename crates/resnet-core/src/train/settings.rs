//! Settings of updates: the optimiser, what differs between parameters, and what is done to gradients first.

use super::clip::Clip;
use super::optimizer::{Optimizer, ParameterSettings};
use crate::error::{Code, Error, Result};
use crate::loss::Loss;
use serde::Deserialize;

/// How a trainer makes updates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// The optimiser.
    pub optimizer: Optimizer,
    /// What is not the same for all parameters.
    #[serde(default)]
    pub parameters: ParameterSettings,
    /// How gradients are clipped, if they are.
    #[serde(default)]
    pub clip: Option<Clip>,
    /// Batches of an update, whose gradients are those of one large batch.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// What is made small.
    #[serde(default)]
    pub loss: Loss,
}

/// What is left out is one batch.
pub(super) fn one() -> usize {
    1
}

impl UpdateConfig {
    /// The settings of a description such as `{"optimizer":{"type":"sgd",…},"clip":{"norm":1},"accumulate":4}`; for the optimiser's see
    /// [`Optimizer::from_json`].
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none, or a setting is outside its range.
    pub fn from_json(json: &str) -> Result<Self> {
        let wrong = |error| Error::new(Code::InvalidArgument, format!("trainer: {error}"));
        let config: Self = serde_json::from_str(json).map_err(wrong)?;
        config.check()?;
        Ok(config)
    }

    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a setting is outside its range.
    pub fn check(&self) -> Result<()> {
        self.parameters.check()?;
        self.loss.check()?;
        if let Some(clip) = self.clip {
            clip.check()?;
        }
        if self.accumulate == 0 {
            return Err(Error::expected(Code::InvalidArgument, "accumulate", "at least 1", 0));
        }
        Ok(())
    }
}

impl From<Optimizer> for UpdateConfig {
    fn from(optimizer: Optimizer) -> Self {
        Self {
            optimizer,
            parameters: ParameterSettings::default(),
            clip: None,
            accumulate: one(),
            loss: Loss::default(),
        }
    }
}
