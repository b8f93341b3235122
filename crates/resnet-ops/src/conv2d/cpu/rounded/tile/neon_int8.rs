//! NEON's dot products of signed bytes, `sdot`: 5 rows times the four quarters of a vector of sums in registers of 128 bits.
//!
//! ```text
//!   four words of each row: 5 registers     for each of the words, 16 columns of B: 4 registers     →  20 sums, of 32 registers
//! ```

use super::{vector_by_vector, Sink, Step, Tile, ROW};
use crate::simd::{Neon, Simd};
use std::arch::aarch64::*;
use std::arch::asm;

pub(super) const ROWS: usize = 5;

/// Computes a tile, vector by vector.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run<K: Sink>(tile: &Tile, sink: &K) {
    // SAFETY: the caller grants the rows of each step, and what is written.
    unsafe { vector_by_vector!(Neon, tile, sink, 1 2 3 4 5) }
}

/// sums += word `INDEX` of `a` · quarters.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add<const INDEX: usize>(sums: &mut [int32x4_t; 4], a: int8x16_t, quarters: &[int8x16_t; 4]) {
    for quarter in 0..4 {
        // SAFETY: touches nothing but registers.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {quarter:v}.16b, {a:v}.4b[{index}]",
                sum = inout(vreg) sums[quarter],
                quarter = in(vreg) quarters[quarter],
                // An element of any register, unlike that of 16 bits.
                a = in(vreg) a,
                index = const INDEX,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
}

#[inline(always)]
unsafe fn sums<const ROWS: usize>(tile: &Tile, vector: usize) -> [<Neon as Simd>::V; ROWS] {
    // SAFETY: see `Tile`.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; ROWS];
        let mut next = tile.next;
        for &Step { a, b } in tile.steps {
            if vector == 0 {
                next.ask();
            }
            let (mut a, mut b) = (tile.a.add(a), tile.b.add(b + vector * tile.b_vector));
            for _ in 0..ROW / 4 {
                let mut words = [vdupq_n_s8(0); ROWS];
                for row in 0..ROWS {
                    words[row] = vld1q_s8(a.add(row * ROW).cast());
                }
                macro_rules! each {
                    ($($word:literal)*) => {$(
                        let mut quarters = [vdupq_n_s8(0); 4];
                        for quarter in 0..4 {
                            quarters[quarter] = vld1q_s8(b.add($word * ROW + quarter * 4).cast());
                        }
                        for row in 0..ROWS {
                            add::<$word>(&mut sums[row], words[row], &quarters);
                        }
                    )*};
                }
                each!(0 1 2 3);
                (a, b) = (a.add(4), b.add(4 * ROW));
            }
        }
        let mut lanes = [Neon::splat(0.0); ROWS];
        for row in 0..ROWS {
            for quarter in 0..4 {
                lanes[row][quarter] = vreinterpretq_f32_s32(sums[row][quarter]);
            }
        }
        lanes
    }
}
