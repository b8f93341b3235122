//! Picture files, read when they are asked for.

use super::cache::Cache;
use super::decode::{decode, NoPicture, Picture};
use super::file::{read_file, words};
use super::fit::{FitScratch, PictureTransform};
use crate::error::{told, Code, Error, Result};
use serde::Deserialize;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Most unreadable files whose names are kept.
const MAX_NAMED: usize = 100;

/// What a file that cannot be read leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// An error that names it.
    #[default]
    Throw,
    /// It is left out and counted.
    Skip,
}

/// Files that were left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unreadable {
    /// How many.
    pub count: usize,
    /// The first hundred, each with the reason.
    pub files: Vec<(PathBuf, String)>,
}

/// Picture files and what is made of them.
pub struct PictureSet {
    files: Vec<PathBuf>,
    transform: PictureTransform,
    on_error: OnError,
    cache: Cache,
    failed: Mutex<Failed>,
}

#[derive(Default)]
struct Failed {
    /// Where they stand in the set: each counts once, whatever the number of epochs.
    indices: HashSet<usize>,
    named: Vec<(PathBuf, String)>,
}

/// Memory that reading needs, kept from picture to picture.
#[derive(Default)]
pub(in crate::data) struct ReadScratch {
    file: Vec<u8>,
    pub fit: FitScratch,
}

impl PictureSet {
    /// Nothing is read yet. Fitted pictures are kept in up to `cache` bytes.
    pub fn new(files: Vec<PathBuf>, transform: PictureTransform, on_error: OnError, cache: usize) -> Self {
        let cache = Cache::new(files.len(), cache);
        Self { files, transform, on_error, cache, failed: Mutex::default() }
    }

    /// What is done to each picture.
    pub fn transform(&self) -> &PictureTransform {
        &self.transform
    }

    /// Bytes that fitted pictures take at most when they are kept.
    pub(in crate::data) fn most_kept(&self) -> usize {
        let picture = self.transform.output().iter().product::<usize>();
        self.cache.room().min(picture * self.files.len())
    }

    /// All files.
    pub(in crate::data) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// A picture's file.
    pub(in crate::data) fn file(&self, index: usize) -> &Path {
        &self.files[index]
    }

    /// The files that were left out so far.
    pub fn unreadable(&self) -> Unreadable {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        Unreadable { count: failed.indices.len(), files: failed.named.clone() }
    }

    /// The picture as it is in the file; None if it cannot be read and is to be skipped.
    pub(in crate::data) fn decoded(&self, index: usize, scratch: &mut ReadScratch) -> Result<Option<Picture>> {
        let read = read_file(&self.files[index], &mut scratch.file);
        let (code, got) = match read {
            Ok(()) => match decode(&scratch.file, self.transform.colours()) {
                Ok(picture) => return Ok(Some(picture)),
                Err(NoPicture::Memory(error)) => return Err(error),
                Err(NoPicture::Damaged(got)) => (Code::DataCorrupt, got),
            },
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                return Err(Error::new(Code::OutOfMemory, format!("{}: out of memory", told(&self.files[index]))));
            }
            Err(error) => (Code::Io, words(&error)),
        };
        self.fail(index, code, got).map(|()| None)
    }

    /// Writes the fitted picture, (C, H, W), to `out`; false if it cannot be read and is to be skipped.
    pub(in crate::data) fn fitted(&self, index: usize, out: &mut Vec<u8>, scratch: &mut ReadScratch) -> Result<bool> {
        if let Some(kept) = self.cache.get(index) {
            out.clear();
            out.extend_from_slice(kept);
            return Ok(true);
        }
        let Some(picture) = self.decoded(index, scratch)? else { return Ok(false) };
        self.transform.fit(&picture, out, &mut scratch.fit)?;
        self.cache.put(index, out);
        Ok(true)
    }

    fn fail(&self, index: usize, code: Code, got: String) -> Result<()> {
        let path = &self.files[index];
        if self.on_error == OnError::Throw {
            return Err(Error::expected(code, &told(path), "a JPEG, PNG or WebP picture", got));
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.indices.insert(index) && failed.named.len() < MAX_NAMED {
            failed.named.push((path.clone(), got));
        }
        Ok(())
    }
}
