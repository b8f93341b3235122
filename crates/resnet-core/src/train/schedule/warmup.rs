//! A warm-up in front of another schedule (Goyal et al., 2017): PyTorch's `LinearLR` and what follows it in a `SequentialLR`.

use super::{Clock, Schedule};
use serde::{Deserialize, Serialize};

/// In a straight line from a share of the rate that the other schedule begins with to all of it, then that schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Epochs of the warm-up.
    pub epochs: f64,
    /// The share.
    pub start_factor: f64,
    /// The other schedule, for which the run begins after the warm-up.
    pub followed_by: Box<Schedule>,
}

impl Warmup {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        let length = clock.steps(self.epochs);
        // Epochs that ended within the warm-up are not the other's.
        let ended = length.div_ceil(clock.epoch_steps.max(1)).min(clock.losses.len());
        let then = Clock {
            step: clock.step.saturating_sub(length),
            total: clock.total.saturating_sub(length),
            losses: &clock.losses[ended..],
            ..*clock
        };
        let lr = self.followed_by.lr(base, &then);
        if clock.step >= length {
            return lr;
        }
        let share = clock.step as f64 / length as f64;
        lr * (self.start_factor + (1.0 - self.start_factor) * share)
    }
}
