//! What a picture's file holds.

use super::decode::described;
use super::file::read_file;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What a picture's file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureDetails {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes: files with the same are the same picture.
    pub sha256: [u8; 32],
    /// Height, width and kind of colours; or what it is instead of a picture.
    pub content: Result<([usize; 2], &'static str), String>,
}

/// Reads a file into memory that is kept from file to file, and decodes it.
pub(in crate::data) fn details(path: &Path, bytes: &mut Vec<u8>) -> PictureDetails {
    let read = read_file(path, bytes).map_err(|error| error.to_string());
    let sha256 = if read.is_ok() { Sha256::digest(&bytes[..]).into() } else { [0; 32] };
    PictureDetails { path: path.to_owned(), sha256, content: read.and_then(|()| described(bytes)) }
}
