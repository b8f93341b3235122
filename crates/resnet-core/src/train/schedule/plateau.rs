//! Smaller when the loss falls no more: PyTorch's `ReduceLROnPlateau`, with its relative threshold.

use super::Clock;
use serde::{Deserialize, Serialize};

/// After `patience` epochs without a loss below (1 − threshold) times the least so far, the next such epoch makes the rate smaller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReduceOnPlateau {
    /// What the rate is multiplied by.
    pub factor: f64,
    /// Epochs without a better loss that are waited for.
    pub patience: usize,
    /// By which share of the least loss so far a loss must be below it.
    pub threshold: f64,
    /// Epochs after a change that do not count.
    pub cooldown: usize,
    /// The least rate.
    pub min_lr: f64,
}

/// A smaller change of the rate is none, as in PyTorch.
const LEAST_CHANGE: f64 = 1e-8;

impl ReduceOnPlateau {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        let (mut lr, mut best) = (base, f64::INFINITY);
        let (mut bad, mut cooling) = (0, 0);
        for &loss in clock.losses {
            if loss < best * (1.0 - self.threshold) {
                (best, bad) = (loss, 0);
            } else {
                bad += 1;
            }
            if cooling > 0 {
                (cooling, bad) = (cooling - 1, 0);
            }
            if bad > self.patience {
                let smaller = (lr * self.factor).max(self.min_lr);
                if lr - smaller > LEAST_CHANGE {
                    lr = smaller;
                }
                (cooling, bad) = (self.cooldown, 0);
            }
        }
        lr
    }
}
