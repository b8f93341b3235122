//! Pictures: files of any size and kind, brought to planes of bytes.

mod cache;
mod decode;
mod details;
mod file;
mod fit;
mod given;
mod set;

pub use details::PictureDetails;
pub use fit::{Fit, PictureTransform};
pub use given::GivenPicture;
pub use set::{OnError, PictureSet, Unreadable};

pub(super) use decode::{luma, Picture};
pub(super) use details::details;
pub(super) use file::look;
pub(super) use set::ReadScratch;
