//! What a picture's file holds.

use super::decode::{described, NoPicture};
use super::file::{read_file, words};
use crate::error;
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
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub(in crate::data) fn details(path: &Path, bytes: &mut Vec<u8>) -> error::Result<PictureDetails> {
    let read = read_file(path, bytes);
    let sha256 = if read.is_ok() { Sha256::digest(&bytes[..]).into() } else { [0; 32] };
    let content = match read.map(|()| described(bytes)) {
        Ok(Ok(described)) => Ok(described),
        Ok(Err(NoPicture::Damaged(got))) => Err(got),
        Ok(Err(NoPicture::Memory(error))) => return Err(error),
        Err(error) => Err(words(&error)),
    };
    Ok(PictureDetails { path: path.to_owned(), sha256, content })
}
