//! Residual networks as data, the plan that runs them, data sets and the training loop.

#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod cancel;
pub mod classify;
pub mod data;
pub mod device;
pub mod distributed;
mod engine;
pub mod error;
pub mod export;
mod flips;
mod grad_cam;
#[cfg(test)]
#[path = "../tests/hashed/mod.rs"]
mod hashed;
mod infer;
pub mod interface;
mod loss;
pub mod metrics;
pub mod model;
mod plan;
mod quantize;
mod replacement;
pub mod rng;
pub mod session;
pub mod state_dict;
mod tally;
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
#[path = "../../resnet-ops/tests/support/tell.rs"]
mod tell;
pub mod tensor;
pub mod train;
mod trainer_memory;
mod weights;

pub use error::{Code, Error, Result};
pub use grad_cam::HeatMaps;
pub use infer::Measuring;
pub use quantize::Quantized;
pub use replacement::Replacement;
pub use session::{Session, SessionOptions};
pub use tally::{ClassReport, Report};
