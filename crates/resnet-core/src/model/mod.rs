//! What a network is: a tree of plain data, and the walks over it.

pub mod block;
pub mod googlenet;
pub mod graph;
pub mod init;
pub mod layer;
pub(crate) mod nearest;
pub mod params;
pub mod quantization;
pub mod recipe;
pub mod resnet;
pub mod shape;
pub mod summary;
pub mod zoo;

pub use layer::{Child, Layer};
