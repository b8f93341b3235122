//! Few small images, with a border of zeros instead of regions.
//!
//! ```text
//!   regions of a 3x3 map           bordered
//!   ┌─┬─┬─┐                        0 0 0 0 0
//!   ├─┼─┼─┤   9 tiles of 1 row     0 x x x 0   1 tile of 9 rows: products with zeros are fewer
//!   ├─┼─┼─┤   for 1 image          0 x x x 0   than what short tiles wait for weights
//!   └─┴─┴─┘                        0 … … … 0
//! ```

use super::{Region, RegionSweep};
use crate::blocked::{self, LANES};
use crate::conv2d::shape::ConvShape;

/// A tile waits for its sums as long as for so many rows, measured on AVX-512.
const FEWEST_ROWS: usize = 4;
/// A region waits for a tap's weights as long as for so many rows for each vector, where they come from beyond a core's own caches.
const WEIGHTS: usize = 4;
/// Floats of a core's own caches.
const OWN: usize = 512 * 1024;
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
        let size = [0, 1].map(|i| shape.input[i] + 2 * shape.padding[i]);
        let sweep = RegionSweep::forward(&ConvShape { input: size, padding: [0; 2], ..shape.clone() }, largest);
        let waiting = if shape.weight_len() > OWN { WEIGHTS * regions.vectors } else { 0 };
        let pays = |n: &usize| cost(&sweep, *n, waiting) <= cost(regions, *n, waiting);
        let most_images = (1..=MOST_IMAGES).take_while(pays).last()?;
        let blocks = blocked::blocks(shape.in_channels);
        (!shape.plain_input).then_some(Self { sweep, blocks, input: shape.input, padding: shape.padding, most_images })
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

/// What a pair of blocks costs in a sweep over `n` images, in rows.
fn cost(sweep: &RegionSweep, n: usize, waiting: usize) -> usize {
    let region = |region: &Region| {
        let pixels = n * region.y.count * region.x.count;
        region.taps.len() * (pixels.max(FEWEST_ROWS * pixels.div_ceil(sweep.rows)) + waiting)
    };
    sweep.regions.iter().map(region).sum()
}
