//! How sweeps whose operands are rounded to bf16 differ from those whose operands are bytes.

use super::bf16::round;
use super::int8::bytes::{self, Quantizer, BLOCKS};
use super::tile::Products;
use crate::{Bf16Products, Int8Products, Isa};

/// What operands are rounded to.
#[derive(Clone, Copy)]
pub(super) enum Operands {
    Bf16(Bf16Products),
    /// The source to bytes as the quantiser says, by kernels of `isa`; weights output by output.
    Int8 {
        products: Int8Products,
        isa: Isa,
        quantizer: Quantizer,
    },
}

impl Operands {
    pub(super) fn products(self) -> Products {
        match self {
            Self::Bf16(products) => Products::Bf16(products),
            Self::Int8 { products, .. } => Products::Int8(products),
        }
    }

    /// Blocks of 16 channels of a row.
    pub(super) fn blocks(self) -> usize {
        match self {
            Self::Bf16(_) => 2,
            Self::Int8 { .. } => BLOCKS,
        }
    }

    /// A word of what stands for zero.
    pub(super) fn zero(self) -> f32 {
        match self {
            Self::Bf16(_) => 0.0,
            Self::Int8 { quantizer, .. } => quantizer.zero_word(),
        }
    }

    /// Rounds the channels of each of `count` pixels, `pixel` floats apart, to rows; a block that is not there is null.
    ///
    /// # Safety
    /// Pixels and rows must be there.
    pub(super) unsafe fn round(self, blocks: [*const f32; BLOCKS], pixel: usize, count: usize, rows: *mut f32) {
        match self {
            // SAFETY: the caller's.
            Self::Bf16(products) => unsafe { round::pixels(products, [blocks[0], blocks[1]], pixel, count, rows) },
            Self::Int8 { isa, quantizer, .. } => bytes::pixels(isa, quantizer, blocks, pixel, count, rows),
        }
    }
}
