//! Up to the largest rate, then down to almost nothing (Smith and Topin, 2019: Super-Convergence): PyTorch's `OneCycleLR`, the learning
//! rate's part.

use super::Clock;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// From max / div_factor to max in the first `rise` of the run, then to max / div_factor / final_div_factor at its last update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneCycle {
    /// The largest rate; by default the optimiser's.
    pub max: Option<f64>,
    /// Share of the run in which the rate rises.
    pub rise: f64,
    /// How much smaller than the largest rate the first is.
    pub div_factor: f64,
    /// How much smaller than the first rate the last is.
    pub final_div_factor: f64,
    /// The way between them.
    pub anneal: Anneal,
}

/// The way from one rate to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    Cosine,
    /// A straight line.
    Linear,
}

impl Anneal {
    fn between(self, from: f64, to: f64, share: f64) -> f64 {
        match self {
            Self::Cosine => to + (from - to) / 2.0 * (1.0 + (PI * share).cos()),
            Self::Linear => from + (to - from) * share,
        }
    }
}

impl OneCycle {
    pub(super) fn lr(&self, base: f64, clock: &Clock) -> f64 {
        let max = self.max.unwrap_or(base);
        let first = max / self.div_factor;
        let (step, last) = (clock.step as f64, clock.total as f64 - 1.0);
        // The update with the largest rate; in short runs it is the first.
        let top = (self.rise * clock.total as f64 - 1.0).max(0.0);
        if step < top {
            return self.anneal.between(first, max, step / top);
        }
        let share = if last > top { ((step - top) / (last - top)).min(1.0) } else { 0.0 };
        self.anneal.between(max, first / self.final_div_factor, share)
    }
}
