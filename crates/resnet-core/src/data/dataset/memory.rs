//! What a data set's images take in memory.

use super::{Dataset, Images};
use std::sync::Arc;

/// Images in memory, which data sets share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageMemory {
    /// Tells them from all others as long as a data set holds them.
    pub address: usize,
    /// What they take; of picture files, what they come to take when those are kept that were read.
    pub bytes: usize,
}

impl Dataset {
    /// The memory of its images, which clones and parts of it share.
    pub fn memory(&self) -> Vec<ImageMemory> {
        let bytes = match &*self.images {
            Images::Arrays { pixels, .. } => pixels.bytes(),
            Images::Pictures(pictures) => pictures.most_kept(),
            Images::Parts(parts) => return parts.iter().flat_map(Self::memory).collect(),
        };
        vec![ImageMemory { address: Arc::as_ptr(&self.images) as usize, bytes }]
    }
}
