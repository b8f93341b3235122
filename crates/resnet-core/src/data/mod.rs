//! Data sets and how batches come out of them.

pub mod dataset;
pub mod fashion_mnist;
pub mod idx;
pub mod loader;
pub mod supply;
pub mod transforms;

pub use dataset::{Dataset, Pixels};
pub use loader::{Batch, Loader, Order};
pub use supply::{Input, Supply};
pub use transforms::{Interpolation, Resize};
