//! The same rate always.

use serde::{Deserialize, Serialize};

/// The optimiser's rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {}

impl Constant {
    pub(super) fn lr(&self, base: f64) -> f64 {
        base
    }
}
