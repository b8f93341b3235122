//! The two matrix products of a point.
//!
//! ```text
//!   outputs:  M (tiles x K) = V (tiles x C) · U (C x K)      weight gradient:  dU (C x K) += Vᵀ · D (tiles x K)
//!
//!     rows: up to 12 tiles                                     rows: up to 8 of a block's 16 channels
//!   ┌─────────────┐  × 2 vectors of K (AVX-512), or         ┌─────────────┐  × 2 vectors of K, or 6 x 1
//!   │ broadcast V │  6 x 1 (AVX2), summed in registers      │ broadcast V │  summed in registers over
//!   └─────────────┘  over up to 8 blocks of C               └─────────────┘  up to 128 tiles
//!
//!   16 KiB of U stay in the first-level cache for all rows, or 24 KiB of V and D for all rows of a block.
//! ```
//!
//! Every sum runs in one order (channels, or tiles, first to last), whatever rows and vectors it is worked out with: in runs of
//! 128, whose sums are then added up, which rounds less than one long run.

use super::prefetch::Prefetch;
use crate::simd::{kernel, Simd, LANES};

/// Blocks of C summed before the next rows' turn.
const DEPTH: usize = 8;
/// Tiles summed before the next rows' turn.
const LENGTH: usize = 128;
/// Most rows of a tile of the weight gradient: half a block of channels.
const MOST_ROWS: usize = 8;

/// For each of ROWS rows, sums += p\[row · pitch + offset\] · vectors. Written out row by row, so that offsets are constants
/// and one address serves all rows.
macro_rules! add_rows {
    ($sums:ident += $p:ident[row * $pitch:tt + $offset:literal] * $vectors:ident, $($row:literal)*) => {
        $(if $row < ROWS {
            S::add_scaled::<VECTORS, { $row * $pitch + $offset }>(&mut $sums[$row], $p, &$vectors);
        })*
    };
}

/// The product of one point for one or two blocks of K.
pub(super) struct OutputProduct {
    /// Rows of V: 16 channels of a tile, tiles next to each other, and floats between blocks of channels.
    pub(super) v: *const f32,
    pub(super) v_block: usize,
    pub(super) blocks: usize,
    /// U as \[channel\]\[block of K\]\[16\].
    pub(super) u: *const f32,
    /// The weights of the product that comes next.
    pub(super) next_u: *const f32,
    /// Rows of M, and floats between blocks of K.
    pub(super) m: *mut f32,
    pub(super) m_block: usize,
    pub(super) tiles: usize,
    /// What is prefetched meanwhile.
    pub(super) prefetch: Prefetch,
}

kernel! {
    /// M = V · U.
    pub(super) fn output<S>(product: &OutputProduct, vectors: usize) {
        let tiles = product.tiles.div_ceil(S::ROWS);
        for first_block in (0..product.blocks).step_by(DEPTH) {
            for index in 0..tiles {
                let (first, end) = (product.tiles * index / tiles, product.tiles * (index + 1) / tiles);
                macro_rules! pick {
                    ($($rows:literal)*) => {
                        match (end - first, vectors) {
                            $(($rows, 1) if S::ROWS >= $rows => {
                                // SAFETY: whoever makes a product gives it planes that hold its tiles and blocks.
                                unsafe { output_rows::<S, $rows, 1>(product, first_block, index, tiles) }
                            })*
                            $(($rows, 2) if S::ROWS >= $rows && S::VECTORS >= 2 => {
                                // SAFETY: as above.
                                unsafe { output_rows::<S, $rows, 2>(product, first_block, index, tiles) }
                            })*
                            (rows, _) => unreachable!("{rows} rows and {vectors} vectors"),
                        }
                    };
                }
                pick!(1 2 3 4 5 6 7 8 9 10 11 12)
            }
        }
    }
}

#[inline(always)]
unsafe fn output_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    product: &OutputProduct,
    first_block: usize,
    index: usize,
    tiles: usize,
) {
    let first = product.tiles * index / tiles;
    // SAFETY: see `output`.
    unsafe {
        let m = product.m.add(first * LANES);
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        let mut u = product.u.add(first_block * LANES * VECTORS * LANES);
        // The first rows prefetch the weights that come next in turn.
        let mut next = match (first, first_block + DEPTH < product.blocks) {
            (0, true) => u.wrapping_add(DEPTH * LANES * VECTORS * LANES),
            (0, false) => product.next_u,
            _ => u,
        };
        for block in first_block..(first_block + DEPTH).min(product.blocks) {
            let mut x = product.v.add(block * product.v_block + first * LANES);
            // The next block of channels, in time for its turn.
            for row in 0..ROWS {
                S::prefetch(x.wrapping_add(product.v_block + row * LANES));
            }
            product.prefetch.share(index * product.blocks + block, tiles * product.blocks).fetch::<S>();
            for _ in 0..LANES / 2 {
                for v in 0..2 * VECTORS {
                    S::prefetch(next.wrapping_add(v * LANES));
                }
                next = next.wrapping_add(2 * VECTORS * LANES);
                let even = vectors::<S, VECTORS>(u);
                add_rows!(sums += x[row * LANES + 0] * even, 0 1 2 3 4 5 6 7 8 9 10 11);
                S::load_later();
                let odd = vectors::<S, VECTORS>(u.add(VECTORS * LANES));
                add_rows!(sums += x[row * LANES + 1] * odd, 0 1 2 3 4 5 6 7 8 9 10 11);
                x = x.add(2);
                u = u.add(2 * VECTORS * LANES);
            }
        }
        if first_block > 0 {
            for row in 0..ROWS {
                for v in 0..VECTORS {
                    sums[row][v] = S::add(S::load(m.add(row * LANES + v * product.m_block)), sums[row][v]);
                }
            }
        }
        for row in 0..ROWS {
            for v in 0..VECTORS {
                S::store(m.add(row * LANES + v * product.m_block), sums[row][v]);
            }
        }
    }
}

/// Neighbouring vectors.
#[inline(always)]
unsafe fn vectors<S: Simd, const VECTORS: usize>(p: *const f32) -> [S::V; VECTORS] {
    // SAFETY: the caller grants them.
    unsafe {
        let mut vectors = [S::splat(0.0); VECTORS];
        for v in 0..VECTORS {
            vectors[v] = S::load(p.add(v * LANES));
        }
        vectors
    }
}

/// The product of one point between some blocks of C and some of K.
pub(super) struct WeightsProduct {
    /// Rows of V and D: 16 channels of a tile, tiles next to each other, and floats between blocks of channels.
    pub(super) v: *const f32,
    pub(super) v_block: usize,
    pub(super) v_blocks: usize,
    pub(super) d: *const f32,
    pub(super) d_block: usize,
    pub(super) d_blocks: usize,
    pub(super) tiles: usize,
    /// Sums as \[block of K\]\[block of C\]\[16 of C\]\[16 of K\], and floats between blocks of K.
    pub(super) u: *mut f32,
    pub(super) u_block: usize,
    /// Adds to the sums.
    pub(super) accumulate: bool,
    /// What is prefetched meanwhile.
    pub(super) prefetch: [Prefetch; 2],
}

kernel! {
    /// dU (+)= Vᵀ · D.
    pub(super) fn weights<S>(product: &WeightsProduct) {
        let tiles = LANES.div_ceil(S::ROWS.min(MOST_ROWS));
        let turns = product.tiles.div_ceil(LENGTH) * product.d_blocks.div_ceil(S::VECTORS) * product.v_blocks;
        let mut turn = 0;
        for first_tile in (0..product.tiles).step_by(LENGTH) {
            for d_block in (0..product.d_blocks).step_by(S::VECTORS) {
                let vectors = S::VECTORS.min(product.d_blocks - d_block);
                for v_block in 0..product.v_blocks {
                    for prefetch in &product.prefetch {
                        prefetch.share(turn, turns).fetch::<S>();
                    }
                    turn += 1;
                    for index in 0..tiles {
                        let (row, end) = (LANES * index / tiles, LANES * (index + 1) / tiles);
                        let part = RowsPart { first_tile, d_block, v_block, row };
                        macro_rules! pick {
                            ($($rows:literal)*) => {
                                match (end - row, vectors) {
                                    $(($rows, 1) if S::ROWS >= $rows => {
                                        // SAFETY: planes hold the tiles and blocks of a product.
                                        unsafe { weights_rows::<S, $rows, 1>(product, &part) }
                                    })*
                                    $(($rows, 2) if S::ROWS >= $rows && S::VECTORS >= 2 => {
                                        // SAFETY: as above.
                                        unsafe { weights_rows::<S, $rows, 2>(product, &part) }
                                    })*
                                    (rows, _) => unreachable!("{rows} rows and {vectors} vectors"),
                                }
                            };
                        }
                        pick!(1 2 3 4 5 6 7 8)
                    }
                }
            }
        }
    }
}

/// Some rows of one block of C, at one or two blocks of K, over some tiles.
struct RowsPart {
    first_tile: usize,
    d_block: usize,
    v_block: usize,
    /// The first row.
    row: usize,
}

#[inline(always)]
unsafe fn weights_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(product: &WeightsProduct, part: &RowsPart) {
    let RowsPart { first_tile, d_block, v_block, row: first } = *part;
    // SAFETY: see `weights`.
    unsafe {
        let u = product.u.add(d_block * product.u_block + (v_block * LANES + first) * LANES);
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        let mut x = product.v.add(v_block * product.v_block + first_tile * LANES + first);
        let mut d = product.d.add(d_block * product.d_block + first_tile * LANES);
        for _ in first_tile..(first_tile + LENGTH).min(product.tiles) {
            let mut gradients = [S::splat(0.0); VECTORS];
            for v in 0..VECTORS {
                gradients[v] = S::load(d.add(v * product.d_block));
            }
            // The next block of channels, in time for its turn.
            S::prefetch(x.wrapping_add(product.v_block));
            add_rows!(sums += x[row * 1 + 0] * gradients, 0 1 2 3 4 5 6 7);
            x = x.wrapping_add(LANES);
            d = d.wrapping_add(LANES);
        }
        if product.accumulate || first_tile > 0 {
            for row in 0..ROWS {
                for v in 0..VECTORS {
                    sums[row][v] = S::add(S::load(u.add(row * LANES + v * product.u_block)), sums[row][v]);
                }
            }
        }
        for row in 0..ROWS {
            for v in 0..VECTORS {
                S::store(u.add(row * LANES + v * product.u_block), sums[row][v]);
            }
        }
    }
}
