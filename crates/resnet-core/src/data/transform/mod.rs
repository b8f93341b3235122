//! What is done to an image on its way into a batch.

pub mod resize;
pub(super) mod scale;
