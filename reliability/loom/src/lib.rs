//! The thread pool on loom's threads, locks and atomics.

#[path = "../../../crates/resnet-ops/src/denormals.rs"]
mod denormals;
#[path = "../../../crates/resnet-ops/src/pool.rs"]
pub mod pool;
