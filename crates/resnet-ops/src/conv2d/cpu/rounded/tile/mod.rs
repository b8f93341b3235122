//! The micro-kernels: sums of a few rows times one or two blocks of 16 columns.
//!
//! ```text
//!                       B: 16 pairs of depths x 16 columns          one step: 32 depths of bf16
//!                          ┌────────────────┐
//!   A: rows of 32 depths   │ b0b1 │ b0b1 │ …│
//!      ┌─────────────┐     └────────────────┘
//!      │ a0a1 a2a3 … │ ×      16 such rows        →  C: rows x 16 sums of f32
//!      └─────────────┘
//! ```
//!
//! A row of A, and of B, is a row of words, each two numbers of bf16 (see [`round`](super::bf16)) or four bytes (see [`int8`](super::int8):
//! 64 depths a step, sums are integers); rows follow each other. A list of steps says where those of each step begin: kernel places times
//! blocks of channels, or blocks of pixels. All sums begin with zero.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod model;
#[cfg(target_arch = "aarch64")]
mod neon_bf16;
#[cfg(target_arch = "aarch64")]
mod neon_int8;

use super::prefetch::Share;
use crate::blocked::LANES;
use crate::simd::Simd;
use crate::{Bf16Products, Int8Products};

/// Words of a row.
pub(super) const ROW: usize = LANES;

/// Words of a step of B.
pub(super) const STEP: usize = 16 * ROW;

/// Blocks of columns that a tile has at most.
pub(super) const VECTORS: usize = 2;

/// Rows that may be read beyond a tile's last one.
pub(super) const SLACK: usize = 32;

/// Where a step begins, in words.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Step {
    pub(super) a: usize,
    pub(super) b: usize,
}

/// A tile's operands.
pub(super) struct Tile<'a> {
    /// The first row; there may be garbage beyond the last one, but there must be [`SLACK`] rows.
    pub(super) a: *const f32,
    pub(super) b: *const f32,
    /// Words from a block of columns to the next.
    pub(super) b_vector: usize,
    pub(super) steps: &'a [Step],
    pub(super) rows: usize,
    pub(super) vectors: usize,
    /// What each step asks for.
    pub(super) next: Share,
}

/// What is added up, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    Bf16(Bf16Products),
    Int8(Int8Products),
}

/// What becomes of sums: f32, or of bytes the bits of integers of 32.
///
/// # Safety
/// As for [`Simd`].
pub(super) trait Sink {
    /// Takes those of the rows from `first` on.
    unsafe fn take<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        first: usize,
        sums: [[S::V; VECTORS]; ROWS],
    );
}

/// Has a sink take a tile whose vectors are computed one after the other, by the `sums` of so many rows.
macro_rules! vector_by_vector {
    ($simd:ident, $tile:ident, $sink:ident, $($rows:literal)*) => {
        match $tile.rows {
            $($rows => {
                let first = sums::<$rows>($tile, 0);
                if $tile.vectors == 1 {
                    return $sink.take::<$simd, $rows, 1>(0, first.map(|sums| [sums]));
                }
                let second = sums::<$rows>($tile, 1);
                let mut both = [[$simd::splat(0.0); 2]; $rows];
                for row in 0..$rows {
                    both[row] = [first[row], second[row]];
                }
                $sink.take::<$simd, $rows, 2>(0, both);
            })*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
#[allow(unused_imports, reason = "only some architectures have such kernels")]
use vector_by_vector;

/// Most rows of a tile.
pub(super) fn most_rows(products: Products) -> usize {
    match products {
        Products::Bf16(Bf16Products::Model) | Products::Int8(Int8Products::Model) => model::ROWS,
        #[cfg(target_arch = "x86_64")]
        Products::Int8(Int8Products::Avx2) => avx2::ROWS,
        #[cfg(target_arch = "x86_64")]
        Products::Bf16(Bf16Products::Avx512) | Products::Int8(Int8Products::Avx512) => avx512::ROWS,
        #[cfg(target_arch = "x86_64")]
        Products::Bf16(Bf16Products::Amx) | Products::Int8(Int8Products::Amx) => amx::ROWS,
        #[cfg(target_arch = "aarch64")]
        Products::Bf16(Bf16Products::Neon) => neon_bf16::ROWS,
        #[cfg(target_arch = "aarch64")]
        Products::Int8(Int8Products::Neon) => neon_int8::ROWS,
        #[allow(unreachable_patterns)]
        Products::Bf16(_) | Products::Int8(_) => unreachable!("another architecture's instruction set"),
    }
}

/// What a thread holds while it works on tiles.
pub(super) struct Ready {
    #[cfg(target_arch = "x86_64")]
    _tiles: Option<amx::Configured>,
}

impl Ready {
    pub(super) fn new(products: Products) -> Self {
        #[cfg(not(target_arch = "x86_64"))]
        let _ = products;
        Self {
            #[cfg(target_arch = "x86_64")]
            _tiles: matches!(products, Products::Bf16(Bf16Products::Amx) | Products::Int8(Int8Products::Amx))
                .then(amx::Configured::new),
        }
    }
}

/// Computes a tile.
///
/// # Safety
/// Its rows and steps must be there, and what the sink writes must be nobody else's.
pub(super) unsafe fn run<K: Sink>(products: Products, _: &Ready, tile: &Tile, sink: &K) {
    // SAFETY: products other than the models exist only where the machine was found to have them; the rest is the caller's.
    unsafe {
        match products {
            Products::Bf16(Bf16Products::Model) => model::run::<K, model::Bf16>(tile, sink),
            Products::Int8(Int8Products::Model) => model::run::<K, model::Int8>(tile, sink),
            #[cfg(target_arch = "x86_64")]
            Products::Int8(Int8Products::Avx2) => avx2::run(tile, sink),
            #[cfg(target_arch = "x86_64")]
            Products::Bf16(Bf16Products::Avx512) => avx512::run::<K, false>(tile, sink),
            #[cfg(target_arch = "x86_64")]
            Products::Int8(Int8Products::Avx512) => avx512::run::<K, true>(tile, sink),
            #[cfg(target_arch = "x86_64")]
            Products::Bf16(Bf16Products::Amx) => amx::run::<K, false>(tile, sink),
            #[cfg(target_arch = "x86_64")]
            Products::Int8(Int8Products::Amx) => amx::run::<K, true>(tile, sink),
            #[cfg(target_arch = "aarch64")]
            Products::Bf16(Bf16Products::Neon) => neon_bf16::run(tile, sink),
            #[cfg(target_arch = "aarch64")]
            Products::Int8(Int8Products::Neon) => neon_int8::run(tile, sink),
            #[allow(unreachable_patterns)]
            Products::Bf16(_) | Products::Int8(_) => unreachable!("another architecture's instruction set"),
        }
    }
}
