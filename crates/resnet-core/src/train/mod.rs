//! The training loop: its settings, a step, the loop, what it reports.

mod accumulation;
mod best;
mod clip;
mod course;
mod early_stopping;
mod ema;
mod event;
mod finder;
mod fit;
mod optimizer;
mod progress;
mod schedule;
mod settings;
mod step;
mod trainer;

pub use crate::loss::{Loss, LossKind};
pub use crate::metrics::Metrics;
pub use clip::Clip;
pub use course::{CourseConfig, ValidateEvery};
pub use early_stopping::{BestPlace, EarlyStopping, Monitor, StoppingState, Watch};
pub use ema::EmaConfig;
pub use event::{Control, EpochRow, Event, Flow, SkippedCheckpoint};
pub use finder::{find_learning_rate, Curve, FinderConfig};
pub use fit::{fit, CheckpointConfig, FitConfig};
pub use optimizer::{Adam, AdjustLr, Group, Kind, Lars, Lion, Muon, Optimizer, ParameterSettings, RmsProp, Sgd};
pub use progress::{Progress, Seconds};
pub use schedule::Schedule;
pub use settings::UpdateConfig;
pub use trainer::{move_to, Trainer};
