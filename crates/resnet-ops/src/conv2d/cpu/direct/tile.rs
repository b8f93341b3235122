//! The micro-kernel of forward and input gradient: a few pixels, the rows, times one or two vectors of channels.

use crate::conv2d::cpu::target::Target;
use crate::simd::{kernel, Simd, LANES};

/// Most rows of a tile on any instruction set.
pub(super) const MOST_ROWS: usize = 12;

/// Source values that a tile takes at a time.
pub(super) const VALUES: usize = 8;

/// A kernel tap, or a run of taps, of a region.
pub(super) struct Tap {
    /// Floats from a row's place in the source to its first source value.
    pub(super) x: usize,
    /// Floats from a block's weights to the first weight.
    pub(super) w: usize,
    /// Source values that lie next to each other here: 16 channels, or taps of a kernel row in a plain input.
    pub(super) depth: usize,
}

/// Pixels of a region for one or two blocks of target channels.
pub(super) struct Tile<'a> {
    /// The first block of source channels of each row's image, at the pixel that tap offsets count from.
    pub(super) x: [*const f32; MOST_ROWS],
    /// Each row's place in the target, for the first block of target channels.
    pub(super) y: [usize; MOST_ROWS],
    pub(super) target: Target<'a>,
    pub(super) taps: &'a [Tap],
    /// Blocks of source channels.
    pub(super) blocks: usize,
    pub(super) x_block: usize,
    pub(super) w: *const f32,
    pub(super) w_block: usize,
    /// Floats between the vectors of a tile, in weights and target.
    pub(super) w_vector: usize,
    pub(super) y_vector: usize,
    pub(super) bias: *const f32,
    /// What is brought to the second-level cache meanwhile, so many lines at a time: weights that come next.
    pub(super) next: *const f32,
    pub(super) next_lines: usize,
}

kernel! {
    /// Rows and vectors of the largest tile.
    pub(super) fn largest<S>() -> (usize, usize) {
        (S::ROWS, S::VECTORS)
    }
}

kernel! {
    /// Computes the first `rows` rows of a tile. Sizes that an instruction set has no registers for are compiled away.
    pub(super) fn run<S>(tile: &Tile, rows: usize, vectors: usize) {
        macro_rules! pick {
            ($($rows:literal)*) => {
                match (rows, vectors) {
                    // SAFETY: whoever makes a tile points its rows at pixels of the activations.
                    $(($rows, 1) if S::ROWS >= $rows => unsafe { sum::<S, $rows, 1>(tile) },)*
                    // SAFETY: as above.
                    $(($rows, 2) if S::ROWS >= $rows && S::VECTORS >= 2 => unsafe { sum::<S, $rows, 2>(tile) },)*
                    _ => unreachable!("a tile of {rows} rows and {vectors} vectors"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// For each row, sums += source values · their weights, of so many neighbours; then goes on to the next ones. Written out, so that
/// places are constants: to work out each would take as many instructions as the products.
macro_rules! add_values {
    ($sums:ident += $x:ident * $w:ident, $pitch:expr, $($value:literal)*) => {{
        $(
            let weights = vectors::<S, VECTORS>($w.add($value * LANES), $pitch);
            for row in 0..ROWS {
                S::add_scaled::<VECTORS, $value>(&mut $sums[row], $x[row], &weights);
            }
            S::load_later();
        )*
        const COUNT: usize = [$($value),*].len();
        for row in 0..ROWS {
            $x[row] = $x[row].add(COUNT);
        }
        $w = $w.add(COUNT * LANES);
    }};
}

/// Starts to bring a source value to the second-level cache.
pub(super) fn prefetch(p: *const f32) {
    crate::simd::Portable::prefetch_far(p);
}

#[inline(always)]
unsafe fn sum<S: Simd, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: rows are pixels of the activations, taps stay inside the source, and the weights hold `blocks` blocks of
    // every tap for each vector: so it was laid out when the convolution was prepared.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        let mut next = tile.next;
        for row in 0..ROWS {
            for v in 0..VECTORS {
                sums[row][v] = S::load(tile.bias.add(v * LANES));
                // In time for the sums.
                tile.target.prefetch::<S>(tile.y[row] + v * tile.y_vector);
            }
        }
        for block in 0..tile.blocks {
            for tap in tile.taps {
                let mut w = tile.w.add(block * tile.w_block + tap.w);
                let mut x = [std::ptr::null(); ROWS];
                for row in 0..ROWS {
                    x[row] = tile.x[row].add(block * tile.x_block + tap.x);
                }
                let mut left = tap.depth;
                while left >= VALUES {
                    for _ in 0..tile.next_lines {
                        S::prefetch_far(next);
                        next = next.wrapping_add(LANES);
                    }
                    add_values!(sums += x * w, tile.w_vector, 0 1 2 3 4 5 6 7);
                    left -= VALUES;
                }
                if left >= 4 {
                    add_values!(sums += x * w, tile.w_vector, 0 1 2 3);
                    left -= 4;
                }
                while left > 0 {
                    add_values!(sums += x * w, tile.w_vector, 0);
                    left -= 1;
                }
            }
        }
        tile.target.write::<S, ROWS, VECTORS>(&tile.y, tile.y_vector, sums);
    }
}

/// The weights of one source channel.
#[inline(always)]
unsafe fn vectors<S: Simd, const VECTORS: usize>(w: *const f32, pitch: usize) -> [S::V; VECTORS] {
    // SAFETY: as in `sum`.
    unsafe {
        let mut vectors = [S::splat(0.0); VECTORS];
        for v in 0..VECTORS {
            vectors[v] = S::load(w.add(v * pitch));
        }
        vectors
    }
}
