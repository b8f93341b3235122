//! The training loop: its settings, a step, the loop, what it reports.

mod accumulation;
mod clip;
mod event;
mod finder;
mod fit;
mod optimizer;
mod schedule;
mod settings;
mod step;
mod trainer;

pub use crate::loss::{Loss, LossKind};
pub use crate::metrics::Metrics;
pub use clip::Clip;
pub use event::{Control, EpochRow, Event, Flow};
pub use finder::{find_learning_rate, Curve, FinderConfig};
pub use fit::{fit, FitConfig};
pub use optimizer::{Adam, AdjustLr, Group, Kind, Lars, Lion, Muon, Optimizer, ParameterSettings, RmsProp, Sgd};
pub use schedule::Schedule;
pub use settings::UpdateConfig;
pub use trainer::{move_to, Trainer};
