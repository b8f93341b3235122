//! How direct and grouped kernels cut their work into tasks, so that what is used again is still in a cache. Sums are cut by fixed
//! sizes, never by the number of threads, so that their bits do not depend on it.

use super::map::Map;

/// Floats of weights that fit the caches beside the images: below, all blocks of an image are worked out while it is at hand.
pub(super) const CACHED_WEIGHTS: usize = 128 * 1024;
/// Floats of source that the strips of larger weights go over in turn: part of a last-level cache.
pub(super) const SHARED_SOURCE: usize = 1024 * 1024;
/// Floats of source and target that a task works on: half of a second-level cache of 512 KiB.
pub(super) const CACHED_IMAGES: usize = 64 * 1024;

/// Tasks of a weight gradient to aim for, so that many threads have something to do.
const TASKS: usize = 32;
/// Floats of source and output gradient that a patch may have: three quarters of a 32 KiB first-level cache.
const PATCH: usize = 6 * 1024;

/// How a weight gradient's sums go over images: patch by patch, in blocks of images with partial sums of their own.
pub(super) struct Patches {
    /// Output lines of an image.
    height: usize,
    /// Output lines of a patch, and images if those are all lines.
    pub(super) lines: usize,
    pub(super) images: usize,
    /// Most blocks of images.
    image_blocks: usize,
}

impl Patches {
    /// `height` is the output's lines, `line` the floats of source and gradient that one of them takes, `tasks` the number of tasks
    /// into which the channels are cut: if those are few, the images are cut into blocks too.
    pub(super) fn new(height: usize, line: usize, tasks: usize) -> Self {
        let lines = (PATCH / line).clamp(1, height);
        let images = if lines == height { (PATCH / (line * height)).max(1) } else { 1 };
        Self { height, lines, images, image_blocks: TASKS.div_ceil(tasks) }
    }

    /// Floats of a map from what the patch of the lines from `top` on has of it to what the next one has: lines further down, or the
    /// first of other images. `stride` is the map's lines for one of the output.
    pub(super) fn to_next(&self, top: usize, map: &Map, stride: usize) -> usize {
        if top + self.lines < self.height {
            self.lines * stride * map.line
        } else {
            (self.images * map.image).saturating_sub(top * stride * map.line)
        }
    }

    /// Blocks of images with partial sums of their own; a rule of shape and batch, so that the bits are too.
    pub(super) fn image_blocks(&self, n: usize) -> usize {
        self.image_blocks.min(n.div_ceil(self.images.max(4))).max(1)
    }
}
