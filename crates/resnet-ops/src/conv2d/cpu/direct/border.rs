//! Few small images, with a border of zeros instead of regions.
//!
//! ```text
//!   regions of a 3x3 map           bordered
//!   ┌─┬─┬─┐                        0 0 0 0 0
//!   ├─┼─┼─┤   9 regions, whose     0 x x x 0   1 region, which reads each tap's weights once, and in their
//!   ├─┼─┼─┤   taps together are    0 x x x 0   order: products with zeros are fewer than what regions
//!   └─┴─┴─┘   read 49 times        0 … … … 0   wait for weights
//! ```

use super::{Region, RegionSweep};
use crate::blocked::{self, LANES};
use crate::conv2d::shape::ConvShape;

/// What a tile waits for its sums, in rows, measured on AVX-512.
const FEWEST_ROWS: usize = 4;
/// What a region waits for each vector of a tap's weights that come from memory, likewise.
const WEIGHTS: usize = 4;
/// Floats of weights that come from the caches every time.
const CACHED: usize = 512 * 1024;
/// More images fill the regions' tiles.
const MOST_IMAGES: usize = 12;

/// A forward sweep over images with a border.
pub(super) struct Bordered {
    pub(super) sweep: RegionSweep,
    /// Blocks of an image.
    blocks: usize,
    input: [usize; 2],
    padding: [usize; 2],
    /// Up to how many images it is the one to take.
    most_images: usize,
}

impl Bordered {
    /// None if it never is the one to take.
    pub(super) fn new(shape: &ConvShape, regions: &RegionSweep, largest: (usize, usize)) -> Option<Self> {
        if shape.plain_input || shape.padding == [0; 2] {
            return None;
        }
        let size = [0, 1].map(|i| shape.input[i] + 2 * shape.padding[i]);
        let sweep = RegionSweep::forward(&ConvShape { input: size, padding: [0; 2], ..shape.clone() }, largest);
        let waiting = if shape.weight_len() > CACHED { WEIGHTS * regions.vectors } else { 0 };
        let pays = |n: &usize| cost(&sweep, *n, waiting) <= cost(regions, *n, waiting);
        let most_images = (1..=MOST_IMAGES).take_while(pays).last()?;
        let blocks = blocked::blocks(shape.in_channels);
        Some(Self { sweep, blocks, input: shape.input, padding: shape.padding, most_images })
    }

    pub(super) fn takes(&self, n: usize) -> bool {
        n <= self.most_images
    }

    pub(super) fn scratch_len(&self, n: usize) -> usize {
        n.min(self.most_images) * self.sweep.source.image
    }

    /// Copies `n` images into the middle of zeros.
    pub(super) fn surround(&self, n: usize, source: &[f32], bordered: &mut [f32]) {
        let ([height, width], [top, left]) = (self.input, self.padding);
        let line = (width + 2 * left) * LANES;
        let planes = source.chunks_exact(height * width * LANES).take(n * self.blocks);
        for (plane, target) in planes.zip(bordered.chunks_exact_mut((height + 2 * top) * line)) {
            target.fill(0.0);
            let lines = target.chunks_exact_mut(line).skip(top);
            for (pixels, target) in plane.chunks_exact(width * LANES).zip(lines) {
                target[left * LANES..][..width * LANES].copy_from_slice(pixels);
            }
        }
    }
}

/// What a pair of blocks costs in a sweep over `n` images, in rows, where a region waits for so many for each tap.
fn cost(sweep: &RegionSweep, n: usize, waiting: usize) -> usize {
    let region = |region: &Region| {
        let pixels = n * region.y.count * region.x.count;
        region.taps.len() * (pixels.max(FEWEST_ROWS * pixels.div_ceil(sweep.rows)) + waiting)
    };
    sweep.regions.iter().map(region).sum()
}
