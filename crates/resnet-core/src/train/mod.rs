//! The training loop: its settings, a step, the loop, what it reports.

mod config;
mod event;
mod fit;
mod optimizer;
mod step;
mod trainer;

pub use crate::metrics::Metrics;
pub use config::FitConfig;
pub use event::{Control, EpochRow, Event, Flow};
pub use fit::fit;
pub use optimizer::{Group, Members, Optimizer, Sgd};
pub use trainer::{move_to, Trainer};
