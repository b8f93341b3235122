//! A power of the share of updates that are left: PyTorch's `PolynomialLR`.

use super::Clock;
use serde::{Deserialize, Serialize};

/// base · (1 − t / T)ᵖ before update t of T, from 0; then 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polynomial {
    /// p.
    pub power: f64,
    /// Epochs until the rate is 0; by default all of the run.
    pub epochs: Option<f64>,
}

impl Polynomial {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        let total = self.epochs.map_or(clock.total.max(1), |epochs| clock.steps(epochs));
        let left = 1.0 - clock.step.min(total) as f64 / total as f64;
        base * left.powf(self.power)
    }
}
