//! AMX's `tdpbf16ps` and `tdpbusd`: 32 rows times 32 columns of sums, four tiles of 16 x 16.
//!
//! ```text
//!              B: tmm6   tmm7                 tiles are 16 rows of 64 bytes: of A 16 rows x 32 depths, of B 16 pairs of
//!   A:  tmm4      tmm0   tmm1                 depths x 16 columns, of C 16 rows x 16 sums
//!       tmm5      tmm2   tmm3                 a step: four loads, four products
//! ```
//!
//! Sums go through a buffer of 4 KiB, from which the sink takes those of rows that count. No machine has run this yet; all around it is
//! the model's, too.

use super::{Sink, Step, Tile, ROW};
use crate::blocked::LANES;
use crate::simd::{Avx512, Simd};
use std::arch::asm;
use std::mem::{offset_of, MaybeUninit};

/// Two tiles of 16.
pub(super) const ROWS: usize = 32;

/// Floats of a tile of sums.
const SUMS: usize = 16 * LANES;

/// Sizes of the eight tiles: palette 1, then bytes of a row and rows of each.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const WHOLE: Configuration = {
    let (mut row_bytes, mut rows, mut tile) = ([0; 16], [0; 16], 0);
    while tile < 8 {
        (row_bytes[tile], rows[tile]) = (64, 16);
        tile += 1;
    }
    Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// The thread's tiles, configured while it lives: without, their instructions fault, and with, each switch of threads takes longer.
pub(super) struct Configured(std::marker::PhantomData<*const ()>);

impl Configured {
    /// Products by AMX exist only where the machine has it.
    pub(super) fn new() -> Self {
        // SAFETY: reads the 64 bytes of a configuration that palette 1 allows; what was in the thread's tiles nobody needs.
        unsafe {
            asm!(
                "ldtilecfg [{configuration}]",
                configuration = in(reg) &WHOLE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        Self(std::marker::PhantomData)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: gives the thread's tiles back, which were configured here.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}

/// Sums up all steps in one block of instructions, as the compiler keeps nothing in tiles from one block to the next. `$second`,
/// `$product` and `$store` are what the second 16 rows add to it.
macro_rules! sum_up {
    ($instruction:literal, $tile:ident, $sums:ident, [$($second:literal),*], [$($product:literal),*], [$($store:literal),*]) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {left}, {left}",
            "jz 3f",
            "2:",
            "mov {a}, qword ptr [{step}]",
            "mov {b}, qword ptr [{step} + 8]",
            "lea {a}, [{a_start} + 4*{a}]",
            "lea {b}, [{b_start} + 4*{b}]",
            "tileloadd tmm4, [{a} + 1*{row}]",
            "tileloadd tmm6, [{b} + 1*{row}]",
            "add {b}, {b_vector}",
            "tileloadd tmm7, [{b} + 1*{row}]",
            concat!($instruction, " tmm0, tmm4, tmm6"),
            concat!($instruction, " tmm1, tmm4, tmm7"),
            $($second,)*
            $(concat!($instruction, $product),)*
            "add {step}, 16",
            "dec {left}",
            "jnz 2b",
            "3:",
            "tilestored [{sums} + 1*{row}], tmm0",
            "tilestored [{sums} + 1*{row} + 1024], tmm1",
            $($store,)*
            a = out(reg) _,
            b = out(reg) _,
            a_start = in(reg) $tile.a,
            b_start = in(reg) $tile.b,
            // Of a single block of columns the second half is the first once more, and nobody reads it.
            b_vector = in(reg) if $tile.vectors == 1 { 0 } else { $tile.b_vector * size_of::<f32>() },
            step = inout(reg) $tile.steps.as_ptr() => _,
            left = inout(reg) $tile.steps.len() => _,
            sums = in(reg) $sums,
            row = in(reg) ROW * size_of::<f32>(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

// What the instructions below take for granted.
const _: () = {
    assert!(
        size_of::<Configuration>() == 64
            && offset_of!(Configuration, row_bytes) == 16
            && offset_of!(Configuration, rows) == 48
    );
    assert!(size_of::<Step>() == 16 && offset_of!(Step, a) == 0 && offset_of!(Step, b) == 8 && size_of::<usize>() == 8);
    assert!(SUMS * size_of::<f32>() == 1024);
};

/// Computes a tile; the thread's tiles must be [`Configured`].
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn run<K: Sink, const INT8: bool>(tile: &Tile, sink: &K) {
    let mut next = tile.next;
    tile.steps.iter().for_each(|_| next.ask());
    let mut sums = MaybeUninit::<[[[f32; SUMS]; 2]; 2]>::uninit();
    let start = sums.as_mut_ptr().cast::<f32>();
    // SAFETY: the caller grants the rows and those beyond the last one up to a whole tile, and the steps; the buffer holds four tiles.
    unsafe {
        macro_rules! rows {
            ($instruction:literal) => {
                if tile.rows <= 16 {
                    sum_up!($instruction, tile, start, [], [], []);
                } else {
                    sum_up!(
                        $instruction,
                        tile,
                        start,
                        ["tileloadd tmm5, [{a} + 1*{row} + 1024]"],
                        [" tmm2, tmm5, tmm6", " tmm3, tmm5, tmm7"],
                        ["tilestored [{sums} + 1*{row} + 2048], tmm2", "tilestored [{sums} + 1*{row} + 3072], tmm3"]
                    );
                }
            };
        }
        match INT8 {
            true => rows!("tdpbusd"),
            false => rows!("tdpbf16ps"),
        }
    }
    for row in 0..tile.rows {
        // SAFETY: the tiles of this row were stored; what is written is the caller's.
        unsafe {
            let first = start.add(row / 16 * 2 * SUMS + row % 16 * LANES);
            match tile.vectors {
                1 => sink.take::<Avx512, 1, 1>(row, [[Avx512::load(first)]]),
                2 => sink.take::<Avx512, 1, 2>(row, [[Avx512::load(first), Avx512::load(first.add(SUMS))]]),
                vectors => unreachable!("a tile of {vectors} vectors"),
            }
        }
    }
}
