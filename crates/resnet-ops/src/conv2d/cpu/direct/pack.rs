//! Weights from (out, in / groups, height, width) to the order in which the micro-kernels read them, and back.
//!
//! Packed: \[block of target channels\]\[source block of its span\]\[tap\]\[16 source channels\]\[16 target channels\], then the
//! bias. For a plain input: \[block of target channels\]\[source channel\]\[tap\]\[16 target channels\], then the bias.
//! Pairs of channels in different groups, and lanes beyond the channels, are zero.

use super::RegionSweep;
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::bias::pack_bias;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;

pub(super) fn pack(cpu: &Cpu, shape: &ConvShape, sweep: &RegionSweep, pass: Pass, params: &[f32], packed: &mut [f32]) {
    let blocks = sweep.spans.len();
    let (weights, bias) = packed.split_at_mut(blocks * sweep.span * sweep.pair);
    pack_bias(shape, pass, params, bias);
    cpu.pool.chunks_mut(weights, sweep.pair, |index, pair| {
        let (block, source) = (index / sweep.span, index % sweep.span + sweep.spans[index / sweep.span].start);
        pair.fill(0.0);
        if source >= sweep.spans[block].end {
            return;
        }
        match pass {
            Pass::InputGradient => each(shape, source, block, |tap, input, output, weight| {
                pair[(tap * LANES + output) * LANES + input] = params[weight];
            }),
            Pass::Forward | Pass::WeightGradient if shape.plain_input => {
                each_plain(shape, block, |place, weight| pair[place] = params[weight]);
            }
            Pass::Forward | Pass::WeightGradient => each(shape, block, source, |tap, input, output, weight| {
                pair[(tap * LANES + input) * LANES + output] = params[weight];
            }),
        }
    });
}

/// Calls `visit(tap, lane of input, lane of output, index into the weights)` for the weights between a block of input
/// and a block of output channels.
#[inline(always)]
pub(super) fn each(
    shape: &ConvShape,
    output_block: usize,
    input_block: usize,
    mut visit: impl FnMut(usize, usize, usize, usize),
) {
    let (input_width, output_width) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let taps = shape.kernel[0] * shape.kernel[1];
    let first_input = input_block * LANES;
    for output_lane in 0..LANES.min(shape.out_channels - output_block * LANES) {
        let output = output_block * LANES + output_lane;
        let group = output / output_width * input_width;
        let inputs = first_input.max(group)..(first_input + LANES).min(group + input_width);
        for input in inputs {
            let weight = (output * input_width + input - group) * taps;
            for tap in 0..taps {
                visit(tap, input - first_input, output_lane, weight + tap);
            }
        }
    }
}

/// Calls `visit(place in the packed block, index into the weights)` for the weights of a block of output channels that
/// reads a plain input.
#[inline(always)]
pub(super) fn each_plain(shape: &ConvShape, output_block: usize, mut visit: impl FnMut(usize, usize)) {
    let (input_width, output_width) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let taps = shape.kernel[0] * shape.kernel[1];
    for lane in 0..LANES.min(shape.out_channels - output_block * LANES) {
        let output = output_block * LANES + lane;
        let first = output / output_width * input_width * taps;
        for place in 0..input_width * taps {
            visit((first + place) * LANES + lane, output * input_width * taps + place);
        }
    }
}
