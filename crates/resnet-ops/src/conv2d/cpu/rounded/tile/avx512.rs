//! AVX512_BF16's `vdpbf16ps` and AVX512_VNNI's `vpdpbusd`: 14 rows times two vectors of sums in registers.
//!
//! ```text
//!   for each step, for each pair of depths:
//!     2 vectors of B                        14 rows of A, each word, of two depths or four, in all lanes
//!     ┌──────────────┬──────────────┐       ┌────┐
//!     │ b0b1 │ b0b1 …│ b0b1 │ b0b1 …│   ×   │a0a1│ …    →  28 sums += a0·b0 + a1·b1
//!     └──────────────┴──────────────┘       └────┘
//! ```
//!
//! A sum waits six cycles for its next product, and two are begun in a cycle: twelve sums or more keep a core busy.

use super::{Sink, Step, Tile, ROW};
use crate::simd::{Avx512, Simd};
use std::arch::x86_64::*;

pub(super) const ROWS: usize = 14;

/// Computes a tile. Compiled once for each number of rows.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn run<K: Sink, const INT8: bool>(tile: &Tile, sink: &K) {
    macro_rules! pick {
        ($($rows:literal)*) => {
            match (tile.rows, tile.vectors) {
                // SAFETY: the caller grants the rows of each step, and what is written.
                $(($rows, 1) => unsafe { sink.take::<Avx512, $rows, 1>(0, sums::<INT8, $rows, 1>(tile)) },)*
                // SAFETY: as above.
                $(($rows, 2) => unsafe { sink.take::<Avx512, $rows, 2>(0, sums::<INT8, $rows, 2>(tile)) },)*
                (rows, vectors) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// sums += the word `OFFSET` bytes from `a` · vectors. Written out, because LLVM would load the words of all rows first and then lack
/// registers for the sums.
macro_rules! add {
    ($name:ident, $instruction:literal) => {
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $name<const OFFSET: usize, const VECTORS: usize>(
            sums: &mut [__m512; VECTORS],
            a: *const f32,
            vectors: &[__m512; VECTORS],
        ) {
            // Only its type matters: it tells the register's size.
            let _word: __m512;
            // SAFETY: reads one word, which the caller grants, and touches nothing but registers else.
            unsafe {
                if let ([sum0, sum1, ..], [vector0, vector1, ..]) = (&mut sums[..], &vectors[..]) {
                    std::arch::asm!(
                        "vbroadcastss {word}, dword ptr [{a} + {offset}]",
                        concat!($instruction, " {sum0}, {word}, {vector0}"),
                        concat!($instruction, " {sum1}, {word}, {vector1}"),
                        word = out(zmm_reg) _word,
                        a = in(reg) a,
                        offset = const OFFSET,
                        sum0 = inout(zmm_reg) *sum0,
                        sum1 = inout(zmm_reg) *sum1,
                        vector0 = in(zmm_reg) *vector0,
                        vector1 = in(zmm_reg) *vector1,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                } else {
                    std::arch::asm!(
                        "vbroadcastss {word}, dword ptr [{a} + {offset}]",
                        concat!($instruction, " {sum}, {word}, {vector}"),
                        word = out(zmm_reg) _word,
                        a = in(reg) a,
                        offset = const OFFSET,
                        sum = inout(zmm_reg) sums[0],
                        vector = in(zmm_reg) vectors[0],
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
            }
        }
    };
}
add!(add_bf16, "vdpbf16ps");
add!(add_int8, "vpdpbusd");

#[inline(always)]
unsafe fn sums<const INT8: bool, const ROWS: usize, const VECTORS: usize>(tile: &Tile) -> [[__m512; VECTORS]; ROWS] {
    // SAFETY: see `Tile`.
    unsafe {
        let mut sums = [[Avx512::splat(0.0); VECTORS]; ROWS];
        let mut next = tile.next;
        for &Step { a, b } in tile.steps {
            next.ask();
            let (mut a, mut b) = (tile.a.add(a), tile.b.add(b));
            for _ in 0..ROW {
                let mut vectors = [Avx512::splat(0.0); VECTORS];
                for v in 0..VECTORS {
                    vectors[v] = Avx512::load(b.add(v * tile.b_vector));
                }
                macro_rules! each {
                    ($($row:literal)*) => {$(
                        if $row < ROWS {
                            const OFFSET: usize = $row * ROW * size_of::<f32>();
                            match INT8 {
                                true => add_int8::<OFFSET, VECTORS>(&mut sums[$row % ROWS], a, &vectors),
                                false => add_bf16::<OFFSET, VECTORS>(&mut sums[$row % ROWS], a, &vectors),
                            }
                        }
                    )*};
                }
                each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
                (a, b) = (a.add(1), b.add(ROW));
            }
        }
        sums
    }
}
