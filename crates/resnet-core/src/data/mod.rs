//! Data sets, where they come from, and how batches come out of them.

pub mod dataset;
pub mod loader;
pub mod pass;
pub mod resident;
pub mod source;
pub mod transform;

pub use dataset::{Dataset, Pixels};
pub use loader::Loader;
pub use pass::{Batch, Order, Pass};
pub use resident::{Input, ResidentDataset};
pub use source::fashion_mnist;
pub use transform::resize::{Interpolation, Resize};
