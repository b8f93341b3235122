//! Smaller after each epoch: PyTorch's `ExponentialLR`.

use super::Clock;
use serde::{Deserialize, Serialize};

/// base · gammaⁿ after n epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// What the rate is multiplied by after each epoch.
    pub gamma: f64,
}

impl Exponential {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        base * self.gamma.powf(clock.epoch() as f64)
    }
}
