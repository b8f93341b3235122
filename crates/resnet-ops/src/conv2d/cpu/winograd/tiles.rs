//! Between activations and points: the transforms of whole tiles, 16 channels at a time.
//!
//! ```text
//!   activation (block of 16 channels)            planes: one per point of the tile
//!   ┌───┬───┬───┐   tile: a window of the          point 0:  [block][tile][16]
//!   │ 0 │ 1 │ 2 │   source, outputs of the         point 1:  [block][tile][16]
//!   ├───┼───┼───┤  target  ──────────────▶           …
//!   │ 3 │ 4 │ 5 │   pixels beyond the edges        a line more than a plane needs lies between planes, or the
//!   └───┴───┴───┘   are zero, outputs dropped      many streams would fall on the same lines of the cache
//! ```

use super::form::{both, with_form, Form, Line, Size, Transform, MOST_SIDE};
use super::Disjoint;
use crate::algorithm::Pass;
use crate::conv2d::cpu::target::Target;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::{kernel, Simd, LANES};
use std::ops::Range;

/// How maps are cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    pub(super) size: Size,
    /// Height and width.
    input: [usize; 2],
    output: [usize; 2],
    /// Tiles down and across.
    down: usize,
    across: usize,
}

/// A map, and the windows that tiles are on it.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    height: usize,
    width: usize,
    /// Pixels from one to the next.
    step: usize,
    /// Pixels by which they begin before.
    before: usize,
}

impl Tiling {
    pub(super) fn new(size: Size, shape: &ConvShape) -> Self {
        let output = shape.output();
        let [down, across] = output.map(|pixels| pixels.div_ceil(size.outputs()));
        Self { size, input: shape.input, output, down, across }
    }

    pub(super) fn per_image(&self) -> usize {
        self.down * self.across
    }

    fn on_input(&self, before: usize) -> Windows {
        let [height, width] = self.input;
        Windows { height, width, step: self.size.outputs() * self.size.stride(), before }
    }

    fn on_output(&self, before: usize) -> Windows {
        let [height, width] = self.output;
        Windows { height, width, step: self.size.outputs(), before }
    }

    /// What a pass reads; the weight gradient, beside it, [`Tiling::gradients`].
    pub(super) fn source(&self, pass: Pass) -> Windows {
        match (pass, self.size) {
            (Pass::InputGradient, Size::Whole | Size::Strided) => self.on_output(0),
            (Pass::InputGradient, Size::Four | Size::Six) => self.on_output(1),
            (Pass::Forward | Pass::WeightGradient, Size::Whole) => self.on_input(0),
            (Pass::Forward | Pass::WeightGradient, Size::Four | Size::Six | Size::Strided) => self.on_input(1),
        }
    }

    /// What a pass other than the weight gradient writes.
    pub(super) fn target(&self, pass: Pass) -> Windows {
        match pass {
            Pass::InputGradient => self.on_input(0),
            Pass::Forward | Pass::WeightGradient => self.on_output(0),
        }
    }

    /// Output gradients, as the weight gradient reads them.
    pub(super) fn gradients(&self) -> Windows {
        self.on_output(0)
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

impl Windows {
    /// Floats of a block of channels of an image.
    pub(super) fn block(&self) -> usize {
        self.height * self.width * LANES
    }

    /// Prefetches a tile's share of the map that comes next.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, map: *const f32, tile: usize) {
        let share = self.step * self.step;
        for line in 0..share {
            S::prefetch(map.wrapping_add((tile * share + line) * LANES));
        }
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

/// Tiles of a task.
const TILES_OF_TASK: usize = 36;

/// Has all blocks of some tiles taken to planes, on all threads.
pub(super) fn spread(
    cpu: &Cpu,
    of: usize,
    tiles: &Range<usize>,
    planes: Planes,
    transform: impl Fn(&Blocks, &Range<usize>, Planes) + Sync,
) {
    // SAFETY: the caller gives the planes away until all tasks are done.
    let start = unsafe { Disjoint::from_start(planes.start) };
    let shares = tiles.len().div_ceil(TILES_OF_TASK);
    let (point, pitch) = (planes.point, planes.block);
    cpu.pool.run(shares * of, |task| {
        let (share, block) = (task / of, task % of);
        let [first, end] = [share, share + 1].map(|share| tiles.len() * share / shares);
        // SAFETY: each task has a block and tiles of its own.
        let start = unsafe { start.at(block * pitch + first * LANES) };
        let blocks = Blocks { of, range: block..block + 1 };
        transform(&blocks, &(tiles.start + first..tiles.start + end), Planes { start, point, block: pitch });
    });
}

/// Pixels that do not exist.
static NOTHING: Zeros = Zeros([0.0; LANES]);

#[repr(align(64))]
struct Zeros([f32; LANES]);

kernel! {
    /// Some tiles of what a pass reads, to points.
    pub(super) fn source<S>(
        tiling: &Tiling,
        pass: Pass,
        source: *const f32,
        blocks: &Blocks,
        tiles: &Range<usize>,
        planes: Planes,
    ) {
        let windows = tiling.source(pass);
        // SAFETY: the caller's source has these tiles and blocks, and the planes room for them.
        unsafe {
            with_form!(tiling.size, F => match pass {
                Pass::InputGradient => read::<S, <F as Form>::BackInput>(tiling, windows, source, blocks, tiles, planes),
                Pass::Forward | Pass::WeightGradient => {
                    read::<S, <F as Form>::Input>(tiling, windows, source, blocks, tiles, planes)
                }
            })
        }
    }
}

kernel! {
    /// A dy Aᵀ of some tiles of `source`, for the weight gradient.
    pub(super) fn gradient<S>(tiling: &Tiling, source: *const f32, blocks: &Blocks, tiles: &Range<usize>, planes: Planes) {
        let windows = tiling.gradients();
        // SAFETY: the caller's source has these tiles and blocks, and the planes room for them.
        unsafe {
            with_form!(tiling.size, F => read::<S, <F as Form>::Gradient>(tiling, windows, source, blocks, tiles, planes))
        }
    }
}

#[inline(always)]
unsafe fn read<S: Simd, T: Transform>(
    tiling: &Tiling,
    windows: Windows,
    source: *const f32,
    blocks: &Blocks,
    tiles: &Range<usize>,
    planes: Planes,
) {
    let Windows { height, width, step, before } = windows;
    // SAFETY: pixels inside the map are read from it, others from `NOTHING`.
    unsafe {
        for (image, part, place) in tiling.images(tiles) {
            for block in blocks.range.clone() {
                let map = source.add((image * blocks.of + block) * windows.block());
                let mut target = planes.start.add((block - blocks.range.start) * planes.block + place * LANES);
                for tile in part.clone() {
                    windows.prefetch::<S>(map.wrapping_add(windows.block()), tile);
                    let (y, x) = (tile / tiling.across * step, tile % tiling.across * step);
                    // The rows' first pixels, and floats between their pixels.
                    let mut rows = [(NOTHING.0.as_ptr(), 0); MOST_SIDE];
                    for i in 0..T::FROM {
                        if (before..height + before).contains(&(y + i)) {
                            rows[i] = (map.add((y + i - before) * width * LANES), LANES);
                        }
                    }
                    let column = |j: usize| {
                        let mut line = [S::splat(0.0); MOST_SIDE];
                        if (before..width + before).contains(&(x + j)) {
                            for i in 0..T::FROM {
                                line[i] = S::load(rows[i].0.add((x + j - before) * rows[i].1));
                            }
                        }
                        line
                    };
                    both::<S, T>(column, |i, line| {
                        for j in 0..T::TO {
                            S::store(target.add((i * T::TO + j) * planes.point), line[j]);
                        }
                    });
                    target = target.add(LANES);
                }
            }
        }
    }
}

kernel! {
    /// Some tiles of what a pass writes, from points, with bias, which begins with the first of all blocks.
    pub(super) fn target<S>(
        tiling: &Tiling,
        pass: Pass,
        planes: Planes,
        blocks: &Blocks,
        tiles: &Range<usize>,
        bias: *const f32,
        target: Target,
    ) {
        let windows = tiling.target(pass);
        // SAFETY: the caller's target has these tiles and blocks, and the planes hold them.
        unsafe {
            with_form!(tiling.size, F => match pass {
                Pass::InputGradient => {
                    write::<S, <F as Form>::BackOutput>(tiling, windows, planes, blocks, tiles, bias, target)
                }
                Pass::Forward | Pass::WeightGradient => {
                    write::<S, <F as Form>::Output>(tiling, windows, planes, blocks, tiles, bias, target)
                }
            })
        }
    }
}

#[inline(always)]
unsafe fn write<S: Simd, T: Transform>(
    tiling: &Tiling,
    windows: Windows,
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
                let map = (image * blocks.of + block) * windows.block();
                let mut source = planes.start.add((block - blocks.range.start) * planes.block + place * LANES);
                let bias = S::load(bias.add(block * LANES));
                for tile in part.clone() {
                    let (y, x) = (tile / tiling.across * windows.step, tile % tiling.across * windows.step);
                    let (height, width) = (windows.height - y, windows.width - x);
                    let first = map + (y * windows.width + x) * LANES;
                    let column = |j: usize| {
                        let mut line: Line<S> = [S::splat(0.0); MOST_SIDE];
                        for i in 0..T::FROM {
                            line[i] = S::load(source.add((i * T::FROM + j) * planes.point));
                        }
                        line
                    };
                    both::<S, T>(column, |i, line| {
                        for j in 0..T::TO {
                            if i < height && j < width {
                                let pixel = first + (i * windows.width + j) * LANES;
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
