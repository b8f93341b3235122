//! AVX-VNNI's `vpdpbusd`: 6 rows times the two halves of a vector of sums in registers of 256 bits.

use super::{vector_by_vector, Sink, Step, Tile, ROW};
use crate::simd::{Avx2, Simd};
use std::arch::x86_64::*;

pub(super) const ROWS: usize = 6;

/// Computes a tile, vector by vector.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run<K: Sink>(tile: &Tile, sink: &K) {
    // SAFETY: the caller grants the rows of each step, and what is written.
    unsafe { vector_by_vector!(Avx2, tile, sink, 1 2 3 4 5 6) }
}

#[inline(always)]
unsafe fn sums<const ROWS: usize>(tile: &Tile, vector: usize) -> [<Avx2 as Simd>::V; ROWS] {
    // SAFETY: see `Tile`.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        let mut next = tile.next;
        for &Step { a, b } in tile.steps {
            if vector == 0 {
                next.ask();
            }
            let (mut a, mut b) = (tile.a.add(a), tile.b.add(b + vector * tile.b_vector));
            for _ in 0..ROW {
                let halves = [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(ROW / 2).cast())];
                for row in 0..ROWS {
                    let word = _mm256_castps_si256(_mm256_broadcast_ss(&*a.add(row * ROW)));
                    for half in 0..2 {
                        sums[row][half] = _mm256_dpbusd_avx_epi32(sums[row][half], word, halves[half]);
                    }
                }
                (a, b) = (a.add(1), b.add(ROW));
            }
        }
        let mut lanes = [Avx2::splat(0.0); ROWS];
        for row in 0..ROWS {
            lanes[row] = [_mm256_castsi256_ps(sums[row][0]), _mm256_castsi256_ps(sums[row][1])];
        }
        lanes
    }
}
