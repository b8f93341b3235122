//! Data sets and how batches come out of them.

pub mod dataset;
pub mod fashion_mnist;
pub mod idx;
pub mod loader;
pub mod transforms;

mod resample;

pub use dataset::{Dataset, Pixels};
pub use loader::{Batch, Loader, Order};
pub use transforms::{Interpolation, Resize};
