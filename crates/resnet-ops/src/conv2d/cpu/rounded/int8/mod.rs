//! Inference with operands that are bytes.

pub(super) mod bytes;

pub use bytes::quantize_row;

use super::choice;
use super::operands::Operands;
use super::outputs::OutputSweep;
use crate::algorithm::Pass;
use crate::conv2d::cpu::call::OutputsCall;
use crate::conv2d::shape::{ConvShape, InputRange};
use crate::executor::Cpu;
use bytes::Quantizer;

/// What depends on the shape and the input's range.
pub(in crate::conv2d) struct Int8 {
    shape: ConvShape,
    quantizer: Quantizer,
    threads: usize,
    forward: OutputSweep,
}

impl Int8 {
    /// None where it is not defined or not to be used.
    pub(in crate::conv2d::cpu) fn new(cpu: &Cpu, shape: &ConvShape, range: InputRange) -> Option<Self> {
        let products = cpu.int8_products()?;
        if !choice::takes_bytes(cpu, products, shape) {
            return None;
        }
        let quantizer = Quantizer::new(range, products.is_signed());
        let operands = Operands::Int8 { products, isa: cpu.isa, quantizer };
        let forward = OutputSweep::new(shape, Pass::Forward, operands);
        Some(Self { shape: shape.clone(), quantizer, threads: cpu.pool.threads(), forward })
    }

    pub(in crate::conv2d::cpu) fn packed_len(&self) -> usize {
        bytes::packed_len(&self.shape)
    }

    pub(in crate::conv2d::cpu) fn scratch_len(&self, n: usize) -> usize {
        self.forward.scratch_len(self.threads, n)
    }

    /// Writes the weights, the bias and what sums are multiplied by.
    pub(in crate::conv2d::cpu) fn pack(&self, cpu: &Cpu, params: &[f32], packed: &mut [f32]) {
        bytes::pack(cpu, &self.shape, self.quantizer, params, packed);
    }

    /// Computes every output pixel.
    pub(in crate::conv2d::cpu) fn outputs(&self, cpu: &Cpu, call: &OutputsCall, scratch: &mut [f32]) {
        self.forward.run(cpu, call, scratch);
    }
}
