//! Where things are in an activation.

use crate::blocked::{self, LANES};

/// Distances in an activation.
#[derive(Clone, Copy)]
pub(super) struct Map {
    /// Floats between neighbouring pixels.
    pub(super) pixel: usize,
    /// Floats between neighbouring lines.
    pub(super) line: usize,
    /// Floats between neighbouring blocks of channels.
    pub(super) block: usize,
    /// Floats between neighbouring images.
    pub(super) image: usize,
}

impl Map {
    pub(super) fn blocked(channels: usize, [h, w]: [usize; 2]) -> Self {
        let block = h * w * LANES;
        Self { pixel: LANES, line: w * LANES, block, image: blocked::blocks(channels) * block }
    }

    pub(super) fn plain(channels: usize, [h, w]: [usize; 2]) -> Self {
        Self { pixel: 1, line: w, block: 0, image: channels * h * w }
    }
}
