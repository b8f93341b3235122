//! Models of AMX's `tdpbf16ps` and `tdpbusd`, row by row, as Intel describes them.

use super::{Sink, Tile, ROW, STEP, VECTORS};
use crate::blocked::LANES;
use crate::simd::{Portable, Simd};

/// Two tiles of 16.
pub(super) const ROWS: usize = 32;

/// How a step's products are added to the sums of a row.
pub(super) trait Multiply {
    fn multiply(a: &[f32], b: &[f32], sums: &mut [f32; LANES]);
}

pub(super) unsafe fn run<K: Sink, M: Multiply>(tile: &Tile, sink: &K) {
    let mut next = tile.next;
    tile.steps.iter().for_each(|_| next.ask());
    for row in 0..tile.rows {
        let mut sums = [[0f32; LANES]; VECTORS];
        for step in tile.steps {
            for v in 0..tile.vectors {
                // SAFETY: the caller grants the rows of each step.
                let (a, b) = unsafe {
                    let a = tile.a.add(step.a + row * ROW);
                    let b = tile.b.add(step.b + v * tile.b_vector);
                    (std::slice::from_raw_parts(a, ROW), std::slice::from_raw_parts(b, STEP))
                };
                M::multiply(a, b, &mut sums[v]);
            }
        }
        // SAFETY: every machine runs it; what is written is the caller's.
        unsafe {
            let vectors = sums.map(|sums| Portable::load(sums.as_ptr()));
            match tile.vectors {
                1 => sink.take::<Portable, 1, 1>(row, [[vectors[0]]]),
                2 => sink.take::<Portable, 1, 2>(row, [vectors]),
                vectors => unreachable!("a tile of {vectors} vectors"),
            }
        }
    }
}

/// Of each pair of depths the first products are summed by themselves, and so are the second ones; then both sums are added to the tile.
pub(super) struct Bf16;

impl Multiply for Bf16 {
    fn multiply(a: &[f32], b: &[f32], sums: &mut [f32; LANES]) {
        let mut halves = [[0f32; LANES]; 2];
        for (a, b) in a.iter().zip(b.chunks_exact(ROW)) {
            let a = split(*a);
            for lane in 0..LANES {
                let b = split(b[lane]);
                // Products of two bf16 are exact, so this rounds once, as the instruction does.
                halves[0][lane] += a[0] * b[0];
                halves[1][lane] += a[1] * b[1];
            }
        }
        for lane in 0..LANES {
            sums[lane] += halves[0][lane] + halves[1][lane];
        }
    }
}

/// Unsigned bytes times signed ones, to integers in the places of sums.
pub(super) struct Int8;

impl Multiply for Int8 {
    fn multiply(a: &[f32], b: &[f32], sums: &mut [f32; LANES]) {
        let mut totals = sums.map(|sum| sum.to_bits() as i32);
        for (a, b) in a.iter().zip(b.chunks_exact(ROW)) {
            for byte in 0..4 {
                let a = i32::from((a.to_bits() >> (8 * byte)) as u8);
                for lane in 0..LANES {
                    totals[lane] += a * i32::from((b[lane].to_bits() >> (8 * byte)) as i8);
                }
            }
        }
        *sums = totals.map(|total| f32::from_bits(total as u32));
    }
}

/// The two numbers of a word.
fn split(word: f32) -> [f32; 2] {
    [f32::from_bits(word.to_bits() << 16), f32::from_bits(word.to_bits() & 0xffff_0000)]
}
