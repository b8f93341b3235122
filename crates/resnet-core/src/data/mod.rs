//! Data sets, where they come from, and how batches come out of them.

pub mod augment;
mod classes;
pub mod dataset;
mod inspect;
mod labels;
pub mod loader;
mod measure;
pub mod pass;
mod picture;
mod pixels;
mod preview;
pub mod resident;
mod sampler;
pub mod source;
mod split;
mod sweep;
pub mod transform;

pub use augment::Augment;
pub use classes::check_class_names;
pub use dataset::{Dataset, ImageMemory, Splits};
pub use labels::{LabelKind, Labels, LabelsRef};
pub use loader::Loader;
pub use pass::{Batch, DataPass, Mixed, Order};
pub use picture::{Fit, GivenPicture, OnError, PictureDetails, PictureTransform, Unreadable};
pub use pixels::Pixels;
pub use resident::{Input, ResidentDataset};
pub use source::{fashion_mnist, ImageFolder, Skipped, Source};
pub use transform::{Interpolation, Normalise, Resize, Transform};
