//! Weights from (out, in, height, width) to steps of rounded pairs, and the sums of their gradients back.
//!
//! Packed: \[block of targets\]\[32 sources\]\[tap\]\[16 pairs of sources\]\[16 targets\]\[2\], then the bias in f32. What is beyond the
//! channels is zero. Gradients: \[block of outputs\]\[tap\]\[input\]\[16 outputs\], in f32.

use super::round::rounding;
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::cpu::bias::pack_bias;
use crate::conv2d::cpu::rounded::axis::ends;
use crate::conv2d::cpu::rounded::tile::{ROW, STEP};
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::{kernel, Simd};
use crate::Bf16Products;

/// Channels of a step.
pub(in crate::conv2d::cpu::rounded) const DEPTHS: usize = 32;

pub(super) fn packed_len(shape: &ConvShape, pass: Pass) -> usize {
    let [source, target] = ends(shape, pass);
    blocked::blocks(target) * (source.div_ceil(DEPTHS) * shape.kernel[0] * shape.kernel[1] * STEP + LANES)
}

/// Writes the weights that forward or input gradient reads, and the bias.
pub(super) fn pack(
    cpu: &Cpu,
    products: Bf16Products,
    shape: &ConvShape,
    pass: Pass,
    params: &[f32],
    packed: &mut [f32],
) {
    let ([source, target], taps) = (ends(shape, pass), shape.kernel[0] * shape.kernel[1]);
    let packed = &mut packed[..packed_len(shape, pass)];
    let (weights, bias) = packed.split_at_mut(packed_len(shape, pass) - blocked::blocks(target) * LANES);
    pack_bias(shape, pass, params, bias);
    let (parts, pitch) = (source.div_ceil(DEPTHS), shape.in_channels * taps);
    cpu.pool.chunks_mut(weights, taps * STEP, |index, steps| {
        let (target_block, part) = (index / parts, index % parts);
        let targets = target_block * LANES..((target_block + 1) * LANES).min(target);
        let sources = part * DEPTHS..((part + 1) * DEPTHS).min(source);
        let (outputs, inputs) = match pass {
            Pass::InputGradient => (sources, targets),
            Pass::Forward | Pass::WeightGradient => (targets, sources),
        };
        let params =
            &params[outputs.start * pitch + inputs.start * taps..][..(outputs.len() - 1) * pitch + inputs.len() * taps];
        let weights = Weights { start: params.as_ptr(), pitch, taps, outputs: outputs.len(), inputs: inputs.len() };
        // SAFETY: the weights of these channels are there, and as many steps as there are taps.
        unsafe {
            match pass {
                Pass::InputGradient => to_inputs(products, &weights, steps.as_mut_ptr()),
                Pass::Forward | Pass::WeightGradient => to_outputs(products, &weights, steps.as_mut_ptr()),
            }
        }
    });
}

/// Weights between some outputs and inputs.
struct Weights {
    start: *const f32,
    /// Floats from an output's to the next one's; those of an input are `taps` on end.
    pitch: usize,
    taps: usize,
    outputs: usize,
    inputs: usize,
}

impl Weights {
    /// Those between an output and all inputs, and zeros up to `N`; copied to `room` if they are not so on end.
    #[inline(always)]
    unsafe fn row<const N: usize>(&self, output: usize, tap: usize, room: &mut [f32; N]) -> *const f32 {
        let start = self.start.wrapping_add(output * self.pitch + tap);
        if self.taps == 1 && self.inputs == N && output < self.outputs {
            return start;
        }
        room.fill(0.0);
        if output < self.outputs {
            for input in 0..self.inputs {
                // SAFETY: the caller grants the weights.
                room[input] = unsafe { *start.add(input * self.taps) };
            }
        }
        room.as_ptr()
    }
}

rounding! {
    /// Writes steps from up to 32 inputs to up to 16 outputs.
    fn to_outputs<R>(weights: &Weights, steps: *mut f32) {
        let (mut room, mut rows) = ([0f32; DEPTHS], [0f32; LANES * ROW]);
        for tap in 0..weights.taps {
            // SAFETY: the caller grants weights and steps.
            unsafe {
                for output in 0..LANES {
                    let row = weights.row(output, tap, &mut room);
                    R::join(row, row.add(LANES), rows[output * ROW..].as_mut_ptr());
                }
                R::Lanes::transpose(rows.as_ptr(), ROW, steps.add(tap * STEP), ROW);
            }
        }
    }
}

rounding! {
    /// Writes steps from up to 32 outputs to up to 16 inputs.
    fn to_inputs<R>(weights: &Weights, steps: *mut f32) {
        let mut room = [[0f32; LANES]; 2];
        for tap in 0..weights.taps {
            for pair in 0..DEPTHS / 2 {
                let [first, second] = &mut room;
                // SAFETY: the caller grants weights and steps.
                unsafe {
                    let (first, second) = (weights.row(2 * pair, tap, first), weights.row(2 * pair + 1, tap, second));
                    R::weave(first, second, steps.add(tap * STEP + pair * ROW));
                }
            }
        }
    }
}

/// Writes gradients of weights from their sums, in which every tap has `rows` inputs.
pub(super) fn unpack(cpu: &Cpu, shape: &ConvShape, rows: usize, sums: &[f32], weights: &mut [f32]) {
    let (taps, inputs) = (shape.kernel[0] * shape.kernel[1], shape.in_channels);
    cpu.pool.chunks_mut(weights, LANES * inputs * taps, |block, weights| {
        let sums = &sums[block * taps * rows * LANES..][..taps * rows * LANES];
        unpack_block(cpu.isa, sums, taps, weights, inputs);
    });
}

kernel! {
    /// Those of a block of outputs.
    fn unpack_block<S>(sums: &[f32], taps: usize, weights: &mut [f32], inputs: usize) {
        let (rows, outputs) = (sums.len() / taps, weights.len() / (inputs * taps));
        let mut turned = [0f32; LANES * LANES];
        for (tap, sums) in sums.chunks_exact(rows).enumerate() {
            for (block, sums) in sums.chunks_exact(LANES * LANES).enumerate() {
                let (first, count) = (block * LANES, LANES.min(inputs - block * LANES));
                // SAFETY: 16 rows of 16 sums; so many weights of each output.
                unsafe {
                    if taps == 1 && outputs == LANES && count == LANES {
                        S::transpose(sums.as_ptr(), LANES, weights[first..].as_mut_ptr(), inputs);
                        continue;
                    }
                    S::transpose(sums.as_ptr(), LANES, turned.as_mut_ptr(), LANES);
                }
                for output in 0..outputs {
                    for input in 0..count {
                        weights[(output * inputs + first + input) * taps + tap] = turned[output * LANES + input];
                    }
                }
            }
        }
    }
}
