//! The training loop: its settings, a step, the loop, what it reports.

mod event;
mod fit;
mod optimizer;
mod step;
mod trainer;

pub use crate::metrics::Metrics;
pub use event::{Control, EpochRow, Event, Flow};
pub use fit::{fit, FitConfig};
pub use optimizer::{Group, Members, Optimizer, Sgd};
pub use trainer::{move_to, Trainer};
