//! The N-API boundary: JavaScript's values to the core's settings, a thread for each model, panics to errors.
//!
//! Nothing here computes and nothing is global, so the addon can be loaded in any number of worker threads.

mod actor;
mod batches;
mod dataset;
mod device;
mod error;
mod labels;
mod memory;
mod model;
mod options;
mod ranks;
mod replacement;
mod reply;
mod run;
mod tensor_board;
mod trainer;
