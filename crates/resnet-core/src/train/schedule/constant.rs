//! The same rate always.

use serde::Deserialize;

/// The optimiser's rate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {}

impl Constant {
    pub(super) fn lr(&self, base: f64) -> f64 {
        base
    }
}
