//! Weights from (out, in / groups, height, width) to the order in which the micro-kernels read them, and back.
//!
//! Packed: \[block of target channels\]\[source block of its span\]\[tap\]\[16 source channels\]\[16 target channels\], then the
//! bias. For a plain input: \[block of target channels\]\[source channel\]\[tap\]\[16 target channels\], then the bias.
//! Pairs of channels in different groups, and lanes beyond the channels, are zero.

use super::RegionSweep;
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::bias::pack_bias;
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::kernel;
use std::mem::MaybeUninit;

pub(super) fn pack(cpu: &Cpu, shape: &ConvShape, sweep: &RegionSweep, pass: Pass, params: &[f32], packed: &mut [f32]) {
    let blocks = sweep.spans.len();
    let (weights, bias) = packed.split_at_mut(blocks * sweep.span * sweep.pair);
    pack_bias(shape, pass, params, bias);
    let weights = Disjoint::new(weights);
    cpu.pool.run(blocks * sweep.span, |task| {
        // In the order in which weights lie in the parameters.
        let (block, offset) = match pass {
            Pass::InputGradient => (task % blocks, task / blocks),
            Pass::Forward | Pass::WeightGradient => (task / sweep.span, task % sweep.span),
        };
        // SAFETY: each task has a pair of its own, all of which lie in `weights`.
        let pair = unsafe {
            std::slice::from_raw_parts_mut(weights.at((block * sweep.span + offset) * sweep.pair), sweep.pair)
        };
        let source = sweep.spans[block].start + offset;
        if source >= sweep.spans[block].end {
            return pair.fill(0.0);
        }
        let is_turned = pass == Pass::InputGradient;
        let (output, input) = if is_turned { (source, block) } else { (block, source) };
        if let Some(whole) = WholePair::of(shape, output, input) {
            return pack_whole(cpu.isa, &params[whole.first..], whole, is_turned, pair);
        }
        pair.fill(0.0);
        if is_turned {
            each(shape, output, input, |tap, input, output, weight| {
                pair[(tap * LANES + output) * LANES + input] = params[weight];
            });
        } else if shape.plain_input {
            each_plain(shape, output, |place, weight| pair[place] = params[weight]);
        } else {
            each(shape, output, input, |tap, input, output, weight| {
                pair[(tap * LANES + input) * LANES + output] = params[weight];
            });
        }
    });
}

/// Weights between a whole block of output and a whole one of input channels: in the parameters 16 rows of 16 · taps.
#[derive(Clone, Copy)]
pub(super) struct WholePair {
    /// Where the first row begins.
    pub(super) first: usize,
    /// From one row to the next.
    pitch: usize,
    taps: usize,
}

impl WholePair {
    /// Most taps, so that the weights of a pair lie on the stack.
    const MOST_TAPS: usize = 9;

    /// None where a channel is missing or of another group, and of larger kernels and plain inputs.
    pub(super) fn of(shape: &ConvShape, output_block: usize, input_block: usize) -> Option<Self> {
        let (input_width, output_width) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let taps = shape.kernel[0] * shape.kernel[1];
        let (output, input) = (output_block * LANES, input_block * LANES);
        let group = output / output_width;
        let inputs = group * input_width..(group + 1) * input_width;
        let is_whole = output + LANES <= (group + 1) * output_width
            && inputs.start <= input
            && input + LANES <= inputs.end
            && taps <= Self::MOST_TAPS
            && !shape.plain_input;
        is_whole.then(|| {
            let first = (output * input_width + input - inputs.start) * taps;
            Self { first, pitch: input_width * taps, taps }
        })
    }

    /// Floats from the first to beyond the last.
    fn len(self) -> usize {
        (LANES - 1) * self.pitch + LANES * self.taps
    }

    /// Where column `place` of the rows is in a pair that is packed for the forward pass.
    #[inline(always)]
    fn packed(self, place: usize) -> usize {
        (place % self.taps * LANES + place / self.taps) * LANES
    }
}

/// Weights of a tap between two blocks.
const TAP: usize = LANES * LANES;

#[repr(align(64))]
struct Aligned<T>(MaybeUninit<T>);

kernel! {
    /// Packs a whole pair; `is_turned` for the input gradient.
    fn pack_whole<S>(weights: &[f32], whole: WholePair, is_turned: bool, packed: &mut [f32]) {
        let WholePair { pitch, taps, .. } = whole;
        assert!(weights.len() >= whole.len() && packed.len() == taps * TAP && taps <= WholePair::MOST_TAPS);
        let (weights, packed) = (weights.as_ptr(), packed.as_mut_ptr());
        let mut columns = Aligned(MaybeUninit::<[f32; WholePair::MOST_TAPS * TAP]>::uninit());
        let columns = columns.0.as_mut_ptr().cast::<f32>();
        // SAFETY: as was just checked; a tap's vectors are 16.
        unsafe {
            match (taps, is_turned) {
                (1, true) => {
                    for output in 0..LANES {
                        S::store(packed.add(output * LANES), S::load(weights.add(output * pitch)));
                    }
                }
                (1, false) => S::transpose(weights, pitch, packed, LANES),
                _ => {
                    for part in 0..taps {
                        S::transpose(weights.add(part * LANES), pitch, columns.add(part * TAP), LANES);
                    }
                    if is_turned {
                        for tap in 0..taps {
                            S::transpose(columns.add(tap * LANES), taps * LANES, packed.add(tap * TAP), LANES);
                        }
                    } else {
                        for place in 0..taps * LANES {
                            S::store(packed.add(whole.packed(place)), S::load(columns.add(place * LANES)));
                        }
                    }
                }
            }
        }
    }
}

kernel! {
    /// Adds the sums of a whole pair in `parts`, so many floats apart, and writes them as weights.
    pub(super) fn unpack_whole<S>(sums: &[f32], parts: usize, step: usize, whole: WholePair, weights: &mut [f32]) {
        let WholePair { pitch, taps, .. } = whole;
        assert!(parts > 0 && weights.len() >= whole.len() && sums.len() >= (parts - 1) * step + taps * TAP);
        let mut columns = Aligned(MaybeUninit::<[f32; TAP]>::uninit());
        let columns = columns.0.as_mut_ptr().cast::<f32>();
        for part in 0..taps {
            // SAFETY: as was just checked.
            unsafe {
                for column in 0..LANES {
                    let sums = sums.as_ptr().add(whole.packed(part * LANES + column));
                    let mut sum = S::load(sums);
                    for i in 1..parts {
                        sum = S::add(sum, S::load(sums.add(i * step)));
                    }
                    S::store(columns.add(column * LANES), sum);
                }
                S::transpose(columns, LANES, weights.as_mut_ptr().add(part * LANES), pitch);
            }
        }
    }
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
