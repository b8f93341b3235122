//! NEON's products of matrices of bf16, `bfmmla`: 6 rows in pairs, times 16 columns in pairs, in registers of 128 bits.
//!
//! ```text
//!              two columns: 4 depths each     ┌───────────┐
//!   two rows:  ┌──────────────┐               │ c0 │ c0 … │      two words of four columns become two such
//!   4 depths   │ r0 r0 r0 r0  │       ×       │ c1 │ c1 … │      by taking them in turns; two words of two
//!   each       │ r1 r1 r1 r1  │               └───────────┘      rows, by putting one behind the other
//!              └──────────────┘  →  a sum of each: r0c0 r0c1 r1c0 r1c1
//! ```
//!
//! 24 registers of sums, of 32. No such processor has run this; an emulator has.

use super::{Sink, Step, Tile};
use crate::conv2d::cpu::rounded::round::ROW;
use crate::simd::{Neon, Simd};
use std::arch::aarch64::*;
use std::arch::asm;

pub(super) const ROWS: usize = 6;

/// Pairs of rows, the last one's second row maybe garbage.
const PAIRS: usize = ROWS / 2;

/// Computes a tile, vector by vector.
#[target_feature(enable = "neon,bf16")]
pub(super) unsafe fn run<K: Sink>(tile: &Tile, sink: &K) {
    macro_rules! pick {
        ($($rows:literal)*) => {
            match tile.rows {
                // SAFETY: the caller grants the rows of each step and one beyond, and what is written.
                $($rows => unsafe {
                    let first = sums::<{ ($rows + 1) / 2 }>(tile, 0);
                    if tile.vectors == 1 {
                        let mut rows = [[Neon::splat(0.0); 1]; $rows];
                        for row in 0..$rows {
                            rows[row] = [row_of(&first[row / 2], row % 2)];
                        }
                        return sink.take::<Neon, $rows, 1>(0, rows);
                    }
                    let second = sums::<{ ($rows + 1) / 2 }>(tile, 1);
                    let mut rows = [[Neon::splat(0.0); 2]; $rows];
                    for row in 0..$rows {
                        rows[row] = [&first, &second].map(|sums| row_of(&sums[row / 2], row % 2));
                    }
                    sink.take::<Neon, $rows, 2>(0, rows);
                },)*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    const { assert!(PAIRS == 3) };
    pick!(1 2 3 4 5 6)
}

/// One of the two rows of a pair's sums.
#[inline(always)]
fn row_of(sums: &[float32x4_t; 8], second: usize) -> <Neon as Simd>::V {
    let quarter = |index: usize| {
        // SAFETY: every arm64 machine has NEON.
        unsafe {
            let [left, right] = [sums[2 * index], sums[2 * index + 1]].map(|sums| vreinterpretq_f64_f32(sums));
            vreinterpretq_f32_f64(if second == 0 { vzip1q_f64(left, right) } else { vzip2q_f64(left, right) })
        }
    };
    [quarter(0), quarter(1), quarter(2), quarter(3)]
}

/// sum += rows · columns.
#[inline]
#[target_feature(enable = "neon,bf16")]
fn add(sum: &mut float32x4_t, rows: float32x4_t, columns: float32x4_t) {
    // SAFETY: touches nothing but registers.
    unsafe {
        asm!(
            "bfmmla {sum:v}.4s, {rows:v}.8h, {columns:v}.8h",
            sum = inout(vreg) *sum,
            rows = in(vreg) rows,
            columns = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// Sums of pairs of rows and pairs of columns.
#[inline(always)]
unsafe fn sums<const PAIRS: usize>(tile: &Tile, vector: usize) -> [[float32x4_t; 8]; PAIRS] {
    // SAFETY: see `Tile`.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 8]; PAIRS];
        let mut next = tile.next;
        for &Step { a, b } in tile.steps {
            if vector == 0 {
                next.ask();
            }
            let (mut a, mut b) = (tile.a.add(a), tile.b.add(b + vector * tile.b_vector));
            for _ in 0..ROW / 2 {
                let mut rows = [vdupq_n_f32(0.0); PAIRS];
                for pair in 0..PAIRS {
                    let [first, second] = [2 * pair, 2 * pair + 1].map(|row| vld1_f32(a.add(row * ROW)));
                    rows[pair] = vcombine_f32(first, second);
                }
                for quarter in 0..4 {
                    let (one, other) = (vld1q_f32(b.add(4 * quarter)), vld1q_f32(b.add(ROW + 4 * quarter)));
                    let columns = [vzip1q_f32(one, other), vzip2q_f32(one, other)];
                    for pair in 0..PAIRS {
                        add(&mut sums[pair][2 * quarter], rows[pair], columns[0]);
                        add(&mut sums[pair][2 * quarter + 1], rows[pair], columns[1]);
                    }
                }
                (a, b) = (a.add(2), b.add(2 * ROW));
            }
        }
        sums
    }
}
