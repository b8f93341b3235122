//! A checkpoint on its way to ranks that do not see its folder.

use super::{Checkpoint, Origin};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::state_dict::read_model_bytes;
use crate::train::SkippedCheckpoint;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where it was read, as it is told, in a line behind the file's bytes.
#[derive(Serialize, Deserialize)]
struct Place {
    path: String,
    skipped: Vec<(String, String)>,
    lacks_best: bool,
}

impl Checkpoint {
    /// The checkpoint as bytes, which it keeps no longer.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn take_bytes(&mut self) -> Result<Vec<u8>> {
        let Origin { path, skipped, lacks_best } = &self.origin;
        let told = |skipped: &SkippedCheckpoint| (skipped.path.to_string_lossy().into(), skipped.reason.clone());
        let skipped = skipped.iter().map(told).collect();
        let place = Place { path: path.to_string_lossy().into(), skipped, lacks_best: *lacks_best };
        let place = serde_json::to_string(&place).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let line = format!("\n{place}");
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.try_reserve_exact(line.len()).map_err(|error| Error::new(Code::OutOfMemory, error.to_string()))?;
        bytes.extend_from_slice(line.as_bytes());
        Ok(bytes)
    }

    /// What [`Self::take_bytes`] gave.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn from_bytes(bytes: &[u8], cancel: &Cancel) -> Result<Self> {
        let end = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or_default();
        let (file, line) = bytes.split_at(end);
        let place = serde_json::from_slice(line).map_err(|error| Error::new(Code::Internal, error.to_string()));
        let Place { path, skipped, lacks_best } = place?;
        let skipped =
            skipped.into_iter().map(|(path, reason)| SkippedCheckpoint { path: path.into(), reason }).collect();
        let path = PathBuf::from(path);
        let file = read_model_bytes(file, &path, cancel)?;
        let mut checkpoint = Self::of(path, file, Vec::new(), skipped)?;
        checkpoint.origin.lacks_best = lacks_best;
        Ok(checkpoint)
    }
}
