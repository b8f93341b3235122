//! Between activations and points: the transforms of whole tiles, 16 channels at a time.
//!
//! ```text
//!   activation (block of 16 channels)            planes: one per point of the tile
//!   ┌───┬───┬───┐   tile: m x m outputs,           point 0:  [block][tile][16]
//!   │ 0 │ 1 │ 2 │   (m + 2)² pixels                point 1:  [block][tile][16]
//!   ├───┼───┼───┤  ───────────────────────▶          …
//!   │ 3 │ 4 │ 5 │   pixels beyond the edges        a line more than a plane needs lies between planes, or the
//!   └───┴───┴───┘   are zero, outputs dropped      25 or 36 streams would fall on the same lines of the cache
//! ```

use super::super::target::Target;
use super::form::{both, Form, Four, Line, Three, MOST_SIDE};
use crate::simd::{kernel, Simd, LANES};
use std::ops::Range;

/// Which transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Four,
    Three,
}

impl Size {
    /// Outputs of a tile along one side.
    pub(super) fn outputs(self) -> usize {
        match self {
            Self::Four => Four::OUTPUTS,
            Self::Three => Three::OUTPUTS,
        }
    }

    /// Products of a tile for a pair of channels.
    pub(super) fn points(self) -> usize {
        (self.outputs() + 2).pow(2)
    }
}

/// How maps are cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    pub(super) size: Size,
    height: usize,
    width: usize,
    /// Tiles down and across.
    down: usize,
    across: usize,
}

impl Tiling {
    pub(super) fn new(size: Size, [height, width]: [usize; 2]) -> Self {
        let m = size.outputs();
        Self { size, height, width, down: height.div_ceil(m), across: width.div_ceil(m) }
    }

    pub(super) fn per_image(&self) -> usize {
        self.down * self.across
    }

    /// Floats of a block of channels of an image.
    pub(super) fn block(&self) -> usize {
        self.height * self.width * LANES
    }

    /// The parts of a range of tiles by image: the image, its tiles, and the place of the first in the range.
    fn images(&self, tiles: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
        let (tiles, per_image) = (tiles.clone(), self.per_image());
        (tiles.start / per_image..tiles.end.div_ceil(per_image)).map(move |image| {
            let first = image * per_image;
            let (start, end) = (tiles.start.max(first), tiles.end.min(first + per_image));
            (image, start - first..end - first, start - tiles.start)
        })
    }
}

/// The points of some tiles: where those of the first block and tile begin, and floats between neighbours.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) start: *mut f32,
    pub(super) point: usize,
    pub(super) block: usize,
}

impl Planes {
    /// Floats of a plane of `tiles` tiles in `blocks` blocks.
    pub(super) fn plane(blocks: usize, tiles: usize) -> usize {
        blocks * tiles * LANES + LANES
    }
}

/// Blocks of an activation, and which of them are at hand: planes begin with the first of these.
#[derive(Clone)]
pub(super) struct Blocks {
    pub(super) of: usize,
    pub(super) range: Range<usize>,
}

/// Pixels that do not exist.
static NOTHING: Zeros = Zeros([0.0; LANES]);

#[repr(align(64))]
struct Zeros([f32; LANES]);

kernel! {
    /// Bᵀ d B of some tiles of `source`.
    pub(super) fn input<S>(tiling: &Tiling, source: *const f32, blocks: &Blocks, tiles: &Range<usize>, planes: Planes) {
        // SAFETY: the caller's source has these tiles and blocks, and the planes room for them.
        unsafe {
            match tiling.size {
                Size::Four => input_of::<S, Four>(tiling, source, blocks, tiles, planes),
                Size::Three => input_of::<S, Three>(tiling, source, blocks, tiles, planes),
            }
        }
    }
}

#[inline(always)]
unsafe fn input_of<S: Simd, F: Form>(
    tiling: &Tiling,
    source: *const f32,
    blocks: &Blocks,
    tiles: &Range<usize>,
    planes: Planes,
) {
    // SAFETY: pixels inside the map are read from it, others from `NOTHING`.
    unsafe {
        for (image, part, place) in tiling.images(tiles) {
            for block in blocks.range.clone() {
                let map = source.add((image * blocks.of + block) * tiling.block());
                let mut target = planes.start.add((block - blocks.range.start) * planes.block + place * LANES);
                for tile in part.clone() {
                    ahead::<S, F>(map.wrapping_add(tiling.block()), tile);
                    let (y, x) = (tile / tiling.across * F::OUTPUTS, tile % tiling.across * F::OUTPUTS);
                    // The rows' first pixels, and floats between their pixels.
                    let mut rows = [(NOTHING.0.as_ptr(), 0); MOST_SIDE];
                    for i in 0..F::SIDE {
                        if (1..=tiling.height).contains(&(y + i)) {
                            rows[i] = (map.add((y + i - 1) * tiling.width * LANES), LANES);
                        }
                    }
                    let column = |j: usize| {
                        let mut line = [S::splat(0.0); MOST_SIDE];
                        if (1..=tiling.width).contains(&(x + j)) {
                            for i in 0..F::SIDE {
                                line[i] = S::load(rows[i].0.add((x + j - 1) * rows[i].1));
                            }
                        }
                        line
                    };
                    both::<S, F::Input>(column, |i, line| {
                        for j in 0..F::SIDE {
                            S::store(target.add((i * F::SIDE + j) * planes.point), line[j]);
                        }
                    });
                    target = target.add(LANES);
                }
            }
        }
    }
}

/// Prefetches a tile's share of a map that is next in turn.
#[inline(always)]
fn ahead<S: Simd, F: Form>(map: *const f32, tile: usize) {
    let share = F::OUTPUTS * F::OUTPUTS;
    for line in 0..share {
        S::prefetch(map.wrapping_add((tile * share + line) * LANES));
    }
}

kernel! {
    /// A dy Aᵀ of some tiles of `source`.
    pub(super) fn gradient<S>(tiling: &Tiling, source: *const f32, blocks: &Blocks, tiles: &Range<usize>, planes: Planes) {
        // SAFETY: the caller's source has these tiles and blocks, and the planes room for them.
        unsafe {
            match tiling.size {
                Size::Four => gradient_of::<S, Four>(tiling, source, blocks, tiles, planes),
                Size::Three => gradient_of::<S, Three>(tiling, source, blocks, tiles, planes),
            }
        }
    }
}

#[inline(always)]
unsafe fn gradient_of<S: Simd, F: Form>(
    tiling: &Tiling,
    source: *const f32,
    blocks: &Blocks,
    tiles: &Range<usize>,
    planes: Planes,
) {
    // SAFETY: only pixels inside the map are read.
    unsafe {
        for (image, part, place) in tiling.images(tiles) {
            for block in blocks.range.clone() {
                let map = source.add((image * blocks.of + block) * tiling.block());
                let mut target = planes.start.add((block - blocks.range.start) * planes.block + place * LANES);
                for tile in part.clone() {
                    ahead::<S, F>(map.wrapping_add(tiling.block()), tile);
                    let (y, x) = (tile / tiling.across * F::OUTPUTS, tile % tiling.across * F::OUTPUTS);
                    let height = (tiling.height - y).min(F::OUTPUTS);
                    let width = (tiling.width - x).min(F::OUTPUTS);
                    let first = map.add((y * tiling.width + x) * LANES);
                    let column = |j: usize| {
                        let mut line = [S::splat(0.0); MOST_SIDE];
                        if j < width {
                            for i in 0..F::OUTPUTS {
                                if i < height {
                                    line[i] = S::load(first.add((i * tiling.width + j) * LANES));
                                }
                            }
                        }
                        line
                    };
                    both::<S, F::Gradient>(column, |i, line| {
                        for j in 0..F::SIDE {
                            S::store(target.add((i * F::SIDE + j) * planes.point), line[j]);
                        }
                    });
                    target = target.add(LANES);
                }
            }
        }
    }
}

kernel! {
    /// Writes Aᵀ m A of some tiles to `target`, with bias, which begins with the first of all blocks.
    pub(super) fn output<S>(
        tiling: &Tiling,
        planes: Planes,
        blocks: &Blocks,
        tiles: &Range<usize>,
        bias: *const f32,
        target: Target,
    ) {
        // SAFETY: the caller's target has these tiles and blocks, and the planes hold them.
        unsafe {
            match tiling.size {
                Size::Four => output_of::<S, Four>(tiling, planes, blocks, tiles, bias, target),
                Size::Three => output_of::<S, Three>(tiling, planes, blocks, tiles, bias, target),
            }
        }
    }
}

#[inline(always)]
unsafe fn output_of<S: Simd, F: Form>(
    tiling: &Tiling,
    planes: Planes,
    blocks: &Blocks,
    tiles: &Range<usize>,
    bias: *const f32,
    target: Target,
) {
    // SAFETY: only pixels inside the map are written.
    unsafe {
        for (image, part, place) in tiling.images(tiles) {
            for block in blocks.range.clone() {
                let map = (image * blocks.of + block) * tiling.block();
                let mut source = planes.start.add((block - blocks.range.start) * planes.block + place * LANES);
                let bias = S::load(bias.add(block * LANES));
                for tile in part.clone() {
                    ahead::<S, F>(target.place(map + tiling.block()), tile);
                    let (y, x) = (tile / tiling.across * F::OUTPUTS, tile % tiling.across * F::OUTPUTS);
                    let height = (tiling.height - y).min(F::OUTPUTS);
                    let width = (tiling.width - x).min(F::OUTPUTS);
                    let first = map + (y * tiling.width + x) * LANES;
                    let column = |j: usize| {
                        let mut line: Line<S> = [S::splat(0.0); MOST_SIDE];
                        for i in 0..F::SIDE {
                            line[i] = S::load(source.add((i * F::SIDE + j) * planes.point));
                        }
                        line
                    };
                    both::<S, F::Output>(column, |i, line| {
                        for j in 0..F::OUTPUTS {
                            if i < height && j < width {
                                let pixel = first + (i * tiling.width + j) * LANES;
                                target.write::<S, 1, 1>(&[pixel], 0, [[S::add(line[j], bias)]]);
                            }
                        }
                    });
                    source = source.add(LANES);
                }
            }
        }
    }
}
