//! The micro-kernel of forward and input gradient: a row of pixels times one or two vectors of channels.

use crate::simd::{kernel, Simd, LANES};
use crate::Isa;

/// A kernel tap, or a run of taps, relative to the row's first pixel.
pub(super) struct Tap {
    /// Floats from the row's start to the first source value.
    pub(super) x: usize,
    /// Floats from a block's weights to the first weight.
    pub(super) w: usize,
    /// Source values that lie next to each other here: 16 channels, or taps of a kernel row in a plain input.
    pub(super) depth: usize,
}

/// What the rows of a tile are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsAlong {
    /// Pixels across.
    X,
    /// Pixels down.
    Y,
    /// The same pixel of several images.
    Images,
}

impl RowsAlong {
    /// Pixels side by side share cache lines with the next tap, so they go first where they fill a tile at least by half.
    pub(super) fn of(across: usize, down: usize, max_rows: usize) -> Self {
        let fills = |count: usize| 2 * tile_rows(count, max_rows) > max_rows;
        match (fills(across), fills(down)) {
            (true, _) => Self::X,
            (_, true) => Self::Y,
            _ => Self::Images,
        }
    }
}

/// A line of target pixels, all of which sum the same taps.
pub(super) struct Rows<'a> {
    pub(super) x: *const f32,
    pub(super) y: *mut f32,
    /// Floats between rows.
    pub(super) x_pitch: usize,
    pub(super) y_pitch: usize,
    pub(super) count: usize,
    /// Blocks of source channels.
    pub(super) blocks: usize,
    pub(super) x_block: usize,
    pub(super) w: *const f32,
    pub(super) w_block: usize,
    /// Floats between the vectors of a tile.
    pub(super) w_vector: usize,
    pub(super) y_vector: usize,
    pub(super) taps: &'a [Tap],
    pub(super) bias: *const f32,
    /// Adds to `y` instead of starting from the bias.
    pub(super) accumulate: bool,
}

/// Accumulators of 16 lanes that the instruction set has room for.
pub(super) fn accumulators(isa: Isa) -> usize {
    accumulators_of(isa)
}

kernel! {
    fn accumulators_of<S>() -> usize {
        S::ACCUMULATORS
    }
}

/// Rows of the tallest tile when `count` rows are cut into as few and as even tiles as `max_rows` allows.
fn tile_rows(count: usize, max_rows: usize) -> usize {
    count.div_ceil(count.div_ceil(max_rows).max(1))
}

/// Computes the rows, `vectors` (1 or 2) blocks of target channels at once, in tiles of at most `max_rows`.
pub(super) fn run(isa: Isa, rows: &Rows, vectors: usize, max_rows: usize) {
    let tiles = rows.count.div_ceil(max_rows);
    all_tiles(isa, rows, vectors, tiles);
}

kernel! {
    fn all_tiles<S>(rows: &Rows, vectors: usize, tiles: usize) {
        for index in 0..tiles {
            let (first, end) = (rows.count * index / tiles, rows.count * (index + 1) / tiles);
            // SAFETY: `Rows` describes pixels of the activations, and `end` is at most their count.
            unsafe { tile_of::<S>(rows, first, end - first, vectors) }
        }
    }
}

/// Picks the tile's size; arms that an instruction set has no accumulators for are compiled away.
#[inline(always)]
unsafe fn tile_of<S: Simd>(rows: &Rows, first: usize, count: usize, vectors: usize) {
    macro_rules! pick {
        ($($size:literal)*) => {
            match (count, vectors) {
                $(($size, 2) if S::ACCUMULATORS >= 2 * $size => unsafe { tile::<S, $size, 2>(rows, first) },)*
                $(($size, 1) if S::ACCUMULATORS >= $size && $size <= 14 => unsafe { tile::<S, $size, 1>(rows, first) },)*
                _ => unreachable!("a tile of {count} rows and {vectors} vectors"),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(rows: &Rows, first: usize) {
    // SAFETY: rows `first..first + ROWS` are pixels of the activations, taps stay inside the source, and the weights hold
    // `blocks` blocks of every tap for each vector: so it was laid out when the convolution was prepared.
    unsafe {
        let y = rows.y.add(first * rows.y_pitch);
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        for row in 0..ROWS {
            for v in 0..VECTORS {
                sums[row][v] = if rows.accumulate {
                    S::load(y.add(row * rows.y_pitch + v * rows.y_vector))
                } else {
                    S::load(rows.bias.add(v * LANES))
                };
            }
        }
        let (mut x, mut w) = (rows.x.add(first * rows.x_pitch), rows.w);
        for _ in 0..rows.blocks {
            for tap in rows.taps {
                let (x, w) = (x.add(tap.x), w.add(tap.w));
                if tap.depth == LANES {
                    for c in 0..LANES {
                        step::<S, ROWS, VECTORS>(&mut sums, x.add(c), rows.x_pitch, w.add(c * LANES), rows.w_vector);
                    }
                } else {
                    for c in 0..tap.depth {
                        step::<S, ROWS, VECTORS>(&mut sums, x.add(c), rows.x_pitch, w.add(c * LANES), rows.w_vector);
                    }
                }
            }
            x = x.add(rows.x_block);
            w = w.add(rows.w_block);
        }
        for row in 0..ROWS {
            for v in 0..VECTORS {
                S::store(y.add(row * rows.y_pitch + v * rows.y_vector), sums[row][v]);
            }
        }
    }
}

/// One source value of each row times the vectors of weights that it meets.
#[inline(always)]
unsafe fn step<S: Simd, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[S::V; VECTORS]; ROWS],
    x: *const f32,
    x_pitch: usize,
    w: *const f32,
    w_vector: usize,
) {
    // SAFETY: as in `tile`.
    unsafe {
        let mut weights = [S::splat(0.0); VECTORS];
        for v in 0..VECTORS {
            weights[v] = S::load(w.add(v * w_vector));
        }
        for row in 0..ROWS {
            let value = S::splat(*x.add(row * x_pitch));
            for v in 0..VECTORS {
                sums[row][v] = S::fma(value, weights[v], sums[row][v]);
            }
        }
    }
}
