//! Half a cosine from the optimiser's rate to the least one, once or again and again (Loshchilov and Hutter, 2017: SGDR): PyTorch's
//! `CosineAnnealingLR` and `CosineAnnealingWarmRestarts`.

use super::Clock;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// min + (base − min) · (1 + cos(π·t / T)) / 2 before update t of a cycle's T, from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosine {
    /// The least rate.
    pub min_lr: f64,
    /// Epochs of the first cycle; by default all of the run.
    pub cycle: Option<f64>,
    /// How much longer each cycle is than the one before, at least 1.
    pub cycle_factor: f64,
}

impl Cosine {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        let mut length = self.cycle.map_or(clock.total.max(1), |epochs| clock.steps(epochs)) as f64;
        let mut step = clock.step as f64;
        if self.cycle_factor > 1.0 {
            while step >= length {
                step -= length;
                length *= self.cycle_factor;
            }
        } else {
            step %= length;
        }
        self.min_lr + (base - self.min_lr) * (1.0 + (PI * step / length).cos()) / 2.0
    }
}
