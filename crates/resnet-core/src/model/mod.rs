//! What a network is: a tree of plain data, and the walks over it.

pub mod block;
pub mod init;
pub mod layer;
pub mod params;
pub mod resnet;
pub mod shape;
pub mod summary;

pub use layer::{Child, Layer, Network};
