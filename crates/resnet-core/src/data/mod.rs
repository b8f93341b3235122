//! Data sets, where they come from, and how batches come out of them.

pub mod dataset;
pub mod loader;
pub mod pass;
mod pixels;
pub mod resident;
pub mod source;
pub mod transform;

pub use dataset::Dataset;
pub use loader::Loader;
pub use pass::{Batch, DataPass, Order};
pub use pixels::Pixels;
pub use resident::{Input, ResidentDataset};
pub use source::{fashion_mnist, Source, Splits};
pub use transform::{Interpolation, Resize, Transform};
