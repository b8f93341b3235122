//! The training loop: its settings, a step, the loop, what it reports.

mod config;
mod event;
mod fit;
mod metrics;
mod trainer;

pub use config::FitConfig;
pub use event::{Control, EpochRow, Event, Flow};
pub use fit::fit;
pub use metrics::Metrics;
pub use resnet_ops::sgd::Sgd;
pub use trainer::Trainer;
