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

use super::{vector_by_vector, Sink, Step, Tile, ROW};
use crate::simd::{Neon, Simd};
use std::arch::aarch64::*;
use std::arch::asm;

pub(super) const ROWS: usize = 6;

/// Computes a tile, vector by vector.
#[target_feature(enable = "neon,bf16")]
pub(super) unsafe fn run<K: Sink>(tile: &Tile, sink: &K) {
    // SAFETY: the caller grants the rows of each step and one beyond, and what is written.
    unsafe { vector_by_vector!(Neon, tile, sink, 1 2 3 4 5 6) }
}

#[inline(always)]
unsafe fn sums<const ROWS: usize>(tile: &Tile, vector: usize) -> [<Neon as Simd>::V; ROWS] {
    // SAFETY: the caller's.
    unsafe {
        let mut rows = [Neon::splat(0.0); ROWS];
        match ROWS {
            1 | 2 => split(&of_pairs::<1>(tile, vector), &mut rows),
            3 | 4 => split(&of_pairs::<2>(tile, vector), &mut rows),
            _ => split(&of_pairs::<3>(tile, vector), &mut rows),
        }
        rows
    }
}

/// Rows of the sums of pairs.
#[inline(always)]
fn split(pairs: &[[float32x4_t; 8]], rows: &mut [<Neon as Simd>::V]) {
    for (row, target) in rows.iter_mut().enumerate() {
        for (quarter, target) in target.iter_mut().enumerate() {
            let sums = &pairs[row / 2][2 * quarter..];
            // SAFETY: every arm64 machine has NEON.
            *target = unsafe {
                let [left, right] = [vreinterpretq_f64_f32(sums[0]), vreinterpretq_f64_f32(sums[1])];
                vreinterpretq_f32_f64(if row % 2 == 0 { vzip1q_f64(left, right) } else { vzip2q_f64(left, right) })
            };
        }
    }
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

/// Sums of pairs of rows, of which the last row may be garbage, and pairs of columns.
#[inline(always)]
unsafe fn of_pairs<const PAIRS: usize>(tile: &Tile, vector: usize) -> [[float32x4_t; 8]; PAIRS] {
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
