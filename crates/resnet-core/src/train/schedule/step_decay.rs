//! Smaller after every so many epochs: PyTorch's `StepLR`.

use super::Clock;
use serde::{Deserialize, Serialize};

/// base · gammaⁿ after n times so many epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDecay {
    /// Epochs with the same rate.
    pub every: f64,
    /// What the rate is then multiplied by.
    pub gamma: f64,
}

impl StepDecay {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        base * self.gamma.powf((clock.step / clock.steps(self.every)) as f64)
    }
}
