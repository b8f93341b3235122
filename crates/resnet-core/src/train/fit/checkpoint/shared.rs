//! A checkpoint on its way to ranks that do not see its folder.

use super::{Checkpoint, Origin};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::state_dict::read_model_bytes;
use crate::train::SkippedCheckpoint;
use resnet_ops::allocate;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// Where it was read, as it is told; the file's bytes follow on the next line.
#[derive(Serialize, Deserialize)]
struct Head {
    path: String,
    skipped: Vec<(String, String)>,
    lacks_best: bool,
}

impl Checkpoint {
    /// The checkpoint as bytes.
    ///
    /// # Errors
    /// `ERR_IO`, `ERR_OUT_OF_MEMORY`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Origin { path, skipped, lacks_best } = &self.origin;
        let told = |skipped: &SkippedCheckpoint| (skipped.path.to_string_lossy().into(), skipped.reason.clone());
        let skipped = skipped.iter().map(told).collect();
        let head = Head { path: path.to_string_lossy().into(), skipped, lacks_best: *lacks_best };
        let head = serde_json::to_string(&head).map_err(|error| Error::new(Code::Internal, error.to_string()))? + "\n";
        let io = |error: io::Error| Error::io("read", path, &error);
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len() as usize;
        let mut bytes = allocate::zeros(head.len() + len)?;
        bytes[..head.len()].copy_from_slice(head.as_bytes());
        file.read_exact(&mut bytes[head.len()..]).map_err(io)?;
        Ok(bytes)
    }

    /// What [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// `ERR_MODEL_FILE` if the file was changed meanwhile; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn from_bytes(bytes: &[u8], cancel: &Cancel) -> Result<Self> {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        let head = serde_json::from_slice(&bytes[..end]).map_err(|error| Error::new(Code::Internal, error.to_string()));
        let Head { path, skipped, lacks_best } = head?;
        let skipped =
            skipped.into_iter().map(|(path, reason)| SkippedCheckpoint { path: path.into(), reason }).collect();
        let path = PathBuf::from(path);
        let file = read_model_bytes(bytes.get(end + 1..).unwrap_or_default(), &path, cancel)?;
        let mut checkpoint = Self::of(path, file, skipped)?;
        checkpoint.origin.lacks_best = lacks_best;
        Ok(checkpoint)
    }
}
