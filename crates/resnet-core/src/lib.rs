//! Residual networks as data, the plan that runs them, data sets and the training loop.

#![forbid(unsafe_code)]

pub mod data;
pub mod device;
pub mod error;
pub mod model;
mod plan;
pub mod rng;
pub mod session;
pub mod state_dict;
pub mod tensor;
pub mod train;
mod weights;

pub use error::{Code, Error, Result};
pub use session::{Session, SessionOptions};
