//! Grouped convolution without a loop over groups, for groups of 1 (depthwise), 4, 8, 16 or, with AVX-512, 32 channels, as
//! many in as out.
//!
//! A vector of 16 output channels holds 16, 4, 2 or 1 groups, or half of one. Each lane sums over the channels of its own
//! group, so the source pixel is spread: every lane gets channel j of its group, for one j after the other. One spread pixel
//! serves all taps of a kernel row, each of which takes it to another column of the tile:
//!
//! ```text
//!   source pixel  a b c d | e f g h | …      (groups of 4)
//!   spread, j=1   b b b b | f f f f | …   ×  weights of (kernel row, j), one vector per tap
//!                                         →  added to columns q+1, q, q−1 of the tile
//!   tile: up to 14 columns of a target line, of 1, 2 or 4 images (12 with AVX2, 8 elsewhere), sums in registers
//! ```
//!
//! Each output element is summed in one order (source blocks, kernel rows, channels of the group, taps) whatever tile or
//! thread it falls to.

mod columns;
mod pack;
mod tile;
mod weights;

use super::axis::Axis;
use super::blocking::CACHED_IMAGES;
use super::call::OutputsCall;
use super::map::Map;
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::call::WeightGradient;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::{Isa, Result};
use columns::Columns;
use std::ops::Range;
use tile::BlockTask;
use weights::GroupedWeightGradient;

/// Widest kernel: a tile checks the columns of two taps on each side for padding.
const WIDEST: usize = 3;

/// What depends on the shape alone.
pub(in crate::conv2d) struct Grouped {
    shape: ConvShape,
    /// Channels that a lane sums over in a source block: those of its group, at most 16.
    width: usize,
    /// Source blocks that a target block sees.
    span: usize,
    forward: LineSweep,
    input_gradient: LineSweep,
    weight_gradient: GroupedWeightGradient,
}

/// A pass from a source activation to a target activation, line by line.
struct LineSweep {
    source: Map,
    target: Map,
    lines: Vec<Axis>,
    columns: Vec<Columns>,
}

impl Grouped {
    /// None if the shape is not for these kernels.
    pub(in crate::conv2d::cpu) fn new(cpu: &Cpu, shape: &ConvShape) -> Option<Self> {
        let group = shape.in_channels / shape.groups;
        // Of 32 channels, direct kernels waste nothing either, and with fewer registers they are faster on small maps.
        let widths: &[usize] = if cpu.isa == Isa::Avx512 { &[1, 4, 8, 16, 32] } else { &[1, 4, 8, 16] };
        let suits = widths.contains(&group)
            && shape.groups > 1
            && shape.in_channels == shape.out_channels
            && !shape.plain_input
            && shape.kernel[1] <= WIDEST
            && shape.padding[1] < shape.kernel[1];
        if !suits {
            return None;
        }
        let [input, output] = [shape.input, shape.output()].map(|size| Map::blocked(shape.in_channels, size));
        let [lines, _] = Axis::both(shape, Axis::forward);
        let forward = LineSweep { source: input, target: output, lines, columns: Columns::forward(shape) };
        let [lines, _] = Axis::both(shape, Axis::input_gradient);
        let input_gradient =
            LineSweep { source: output, target: input, lines, columns: Columns::input_gradient(shape) };
        let (width, span) = (group.min(LANES), blocked::blocks(group));
        let weight_gradient = GroupedWeightGradient::new(shape);
        Some(Self { shape: shape.clone(), width, span, forward, input_gradient, weight_gradient })
    }

    pub(in crate::conv2d::cpu) fn packed_len(&self, pass: Pass) -> usize {
        match pass {
            // After the weights comes the bias, in whole blocks.
            Pass::Forward | Pass::InputGradient => self.blocks() * (self.vectors() + 1) * LANES,
            Pass::WeightGradient => 0,
        }
    }

    pub(in crate::conv2d::cpu) fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match pass {
            Pass::Forward | Pass::InputGradient => 0,
            Pass::WeightGradient => {
                self.weight_gradient.patches.image_blocks(n) * self.blocks() * self.vectors() * LANES
            }
        }
    }

    fn blocks(&self) -> usize {
        blocked::blocks(self.shape.out_channels)
    }

    /// Vectors of weights for a block of target channels.
    fn vectors(&self) -> usize {
        self.span * self.shape.kernel[0] * self.shape.kernel[1] * self.width
    }

    /// The source blocks that a target block sees.
    fn sources(&self, block: usize) -> Range<usize> {
        let first = block / self.span * self.span;
        first..first + self.span
    }

    /// Writes the weights that a pass other than the weight gradient reads, and the bias.
    pub(super) fn pack(&self, cpu: &Cpu, pass: Pass, params: &[f32], packed: &mut [f32]) {
        match pass {
            Pass::Forward | Pass::InputGradient => {
                pack::pack(cpu, self, pass, params, &mut packed[..self.packed_len(pass)]);
            }
            Pass::WeightGradient => {}
        }
    }

    /// Computes every target pixel.
    pub(super) fn outputs(&self, cpu: &Cpu, call: &OutputsCall) {
        let OutputsCall { pass, n, source, params: _, packed, target } = *call;
        if n == 0 {
            return;
        }
        let sweep = match pass {
            Pass::Forward => &self.forward,
            Pass::InputGradient => &self.input_gradient,
            Pass::WeightGradient => unreachable!("it writes no activation"),
        };
        let source = &source[..n * sweep.source.image];
        let (blocks, block_weights) = (self.blocks(), self.vectors() * LANES);
        let (weights, bias) = packed[..self.packed_len(pass)].split_at(blocks * block_weights);
        // Whole tiles of four images.
        let chunk = (CACHED_IMAGES / (sweep.source.block * self.span + sweep.target.block)).max(1).next_multiple_of(4);
        let chunks = n.div_ceil(chunk);
        cpu.pool.run(chunks * blocks, |task| {
            let (chunk_index, block) = (task / blocks, task % blocks);
            let first = chunk_index * chunk;
            let images = first..(first + chunk).min(n);
            let task = BlockTask {
                sweep,
                width: self.width,
                span: self.span,
                kernel: self.shape.kernel,
                source: &source[self.sources(block).start * sweep.source.block..],
                target,
                block: block * sweep.target.block,
                weights: &weights[block * block_weights..][..block_weights],
                bias: &bias[block * LANES..][..LANES],
            };
            tile::run(cpu.isa, &task, images.clone());
            target.complete(images.map(|image| image * blocks + block));
        });
    }

    /// Writes the gradients of weights and bias.
    pub(super) fn weight_gradient(&self, cpu: &Cpu, call: WeightGradient) -> Result<()> {
        weights::run(cpu, self, call)
    }
}
