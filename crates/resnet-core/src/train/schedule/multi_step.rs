//! Smaller after certain epochs: PyTorch's `MultiStepLR`.

use super::Clock;
use serde::{Deserialize, Serialize};

/// base · gammaⁿ once n of the milestones are past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStep {
    /// Epochs after which the rate becomes smaller.
    pub milestones: Vec<f64>,
    /// What the rate is then multiplied by.
    pub gamma: f64,
}

impl MultiStep {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        let past = self.milestones.iter().filter(|&&epochs| clock.step >= clock.steps(epochs)).count();
        base * self.gamma.powf(past as f64)
    }
}
