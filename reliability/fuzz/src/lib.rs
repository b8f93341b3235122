//! What the targets share: how much memory a reader may take, what its errors must be like, and what is done with what it has read.

mod data;
mod memory;
pub mod mutate;
mod picture;
mod seed;
mod weights;

pub use data::{load, source_of_list};
pub use memory::within;
pub use picture::picture;
pub use seed::{begin_with, seed};
pub use weights::{comes_back, network, weights};

use resnet_core::{Code, Error};
use std::fs;
use std::path::{Path, PathBuf};

/// 1,048,576 bytes.
pub const MIB: usize = 1 << 20;

/// A file of these bytes in the working folder, which lies in memory.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    fs::write(name, bytes).expect("a folder that can be written to");
    Path::new(name).to_owned()
}

/// Asserts that an error is one of these, in few words.
pub fn refused(error: &Error, codes: &[Code]) {
    assert!(codes.contains(&error.code), "{:?}: {error}", error.code);
    assert!(error.message.len() < 2000, "a message of {} bytes", error.message.len());
}
