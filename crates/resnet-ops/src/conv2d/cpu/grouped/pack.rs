//! Weights from (out, in / groups, height, width) to the order in which the tiles read them, and back.
//!
//! Packed: \[block of target channels\]\[source block that it sees\]\[tap\]\[channel of the group in that block\]\[16 target
//! channels\], then the bias. Lanes beyond the channels are zero.

use super::Grouped;
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::bias::pack_bias;
use crate::executor::Cpu;

pub(super) fn pack(cpu: &Cpu, grouped: &Grouped, pass: Pass, params: &[f32], packed: &mut [f32]) {
    let shape = &grouped.shape;
    let block_weights = grouped.vectors() * LANES;
    let (weights, bias) = packed.split_at_mut(grouped.blocks() * block_weights);
    pack_bias(shape, pass, params, bias);
    cpu.pool.chunks_mut(weights, block_weights, |block, packed| {
        packed.fill(0.0);
        each(grouped, pass, block, |place, weight| packed[place] = params[weight]);
    });
}

/// Calls `visit(place in the packed block, index into the weights)` for the weights of a block of target channels.
#[inline(always)]
pub(super) fn each(grouped: &Grouped, pass: Pass, block: usize, mut visit: impl FnMut(usize, usize)) {
    let shape = &grouped.shape;
    let taps = shape.kernel[0] * shape.kernel[1];
    let group = shape.in_channels / shape.groups;
    for lane in 0..LANES.min(shape.out_channels - block * LANES) {
        let target = block * LANES + lane;
        for source in 0..group {
            let weight = match pass {
                Pass::Forward | Pass::WeightGradient => target * group + source,
                Pass::InputGradient => (target / group * group + source) * group + target % group,
            };
            let (source_block, j) = (source / LANES, source % LANES);
            for tap in 0..taps {
                visit(((source_block * taps + tap) * grouped.width + j) * LANES + lane, weight * taps + tap);
            }
        }
    }
}
