//! Direct convolution on blocked activations, by region.
//!
//! Pixels whose windows touch the same kernel taps form a rectangle, a region: the interior, the edges, the corners; for the
//! input gradient of a strided convolution, one set of them per phase of the stride. Within a region every pixel sums the same
//! list of taps, none of which falls on padding, so one micro-kernel serves forward and input gradient of any shape:
//!
//! ```text
//!            rows: up to 12 pixels of a region, from as many lines and images as it takes
//!   taps ×   ┌──────────────┐
//!   channels │ broadcast x  │ × 2 vectors of weights  →  24 sums in registers (AVX-512; half as many elsewhere)
//!            └──────────────┘
//! ```
//!
//! Each output element is summed in one order (channel blocks, taps, channels) whatever tile or thread it falls to.

mod border;
mod pack;
mod regions;
mod tasks;
mod tile;
mod weights;

use super::axis::Axis;
use super::call::OutputsCall;
use super::map::Map;
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::call::WeightGradient;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::Result;
use border::Bordered;
use regions::Region;
use std::ops::Range;
use tile::Tap;
use weights::DirectWeightGradient;

/// What depends on the shape alone.
pub(in crate::conv2d) struct Direct {
    shape: ConvShape,
    forward: RegionSweep,
    bordered: Option<Bordered>,
    input_gradient: Option<RegionSweep>,
    weight_gradient: DirectWeightGradient,
}

/// A pass from a source activation to a target activation, region by region.
struct RegionSweep {
    regions: Vec<Region>,
    source: Map,
    target: Map,
    /// For each block of target channels, the blocks of source channels that reach it.
    spans: Vec<Range<usize>>,
    /// The longest of `spans`; packed weights have this many source blocks for each target block.
    span: usize,
    /// Floats of packed weights for a pair of blocks.
    pair: usize,
    /// Most pixels, and blocks of target channels, that a tile covers.
    rows: usize,
    vectors: usize,
}

impl Direct {
    pub(in crate::conv2d::cpu) fn new(cpu: &Cpu, shape: &ConvShape) -> Self {
        let largest = tile::largest(cpu.isa);
        let forward = RegionSweep::forward(shape, largest);
        let input_gradient = (!shape.plain_input).then(|| RegionSweep::input_gradient(shape, largest));
        let weight_gradient = DirectWeightGradient::new(shape, &forward);
        let bordered = Bordered::new(shape, &forward, largest);
        Self { shape: shape.clone(), forward, bordered, input_gradient, weight_gradient }
    }

    pub(in crate::conv2d::cpu) fn packed_len(&self, pass: Pass) -> usize {
        // After the weights comes the bias, in whole blocks.
        self.sweep(pass).map_or(0, |sweep| sweep.spans.len() * (sweep.span * sweep.pair + LANES))
    }

    pub(in crate::conv2d::cpu) fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match pass {
            Pass::Forward => self.bordered.as_ref().map_or(0, |bordered| bordered.scratch_len(n)),
            Pass::InputGradient => 0,
            Pass::WeightGradient => self.weight_gradient.scratch_len(n),
        }
    }

    /// None for the input gradient of a plain input, and for the weight gradient.
    fn sweep(&self, pass: Pass) -> Option<&RegionSweep> {
        match pass {
            Pass::Forward => Some(&self.forward),
            Pass::InputGradient => self.input_gradient.as_ref(),
            Pass::WeightGradient => None,
        }
    }

    /// Writes the weights that a pass other than the weight gradient reads, and the bias.
    pub(in crate::conv2d::cpu) fn pack(&self, cpu: &Cpu, pass: Pass, params: &[f32], packed: &mut [f32]) {
        if let Some(sweep) = self.sweep(pass) {
            pack::pack(cpu, &self.shape, sweep, pass, params, &mut packed[..self.packed_len(pass)]);
        }
    }

    /// Computes every target pixel.
    pub(in crate::conv2d::cpu) fn outputs(&self, cpu: &Cpu, call: &OutputsCall, scratch: &mut [f32]) {
        let bordered = self.bordered.as_ref().filter(|bordered| call.pass == Pass::Forward && bordered.takes(call.n));
        if let Some(bordered) = bordered {
            bordered.surround(call.n, call.source, scratch);
            bordered.sweep.run(cpu, call.n, scratch, call.packed, call.target);
        } else {
            let sweep = self.sweep(call.pass).expect("a pass that writes an activation");
            sweep.run(cpu, call.n, call.source, call.packed, call.target);
        }
    }

    /// Writes the gradients of weights and bias.
    pub(in crate::conv2d::cpu) fn weight_gradient(&self, cpu: &Cpu, call: WeightGradient) -> Result<()> {
        weights::run(cpu, self, call)
    }
}

impl RegionSweep {
    fn forward(shape: &ConvShape, largest: (usize, usize)) -> Self {
        let axes = Axis::both(shape, Axis::forward);
        let target = Map::blocked(shape.out_channels, shape.output());
        let taps = shape.kernel[0] * shape.kernel[1];
        if shape.plain_input {
            let source = Map::plain(shape.in_channels, shape.input);
            let (pair, spans) = (shape.in_channels * taps * LANES, vec![0..1; blocked::blocks(shape.out_channels)]);
            return Self::new(axes, source, target, spans, pair, largest, |y, x| plain_taps(shape, y, x));
        }
        let source = Map::blocked(shape.in_channels, shape.input);
        let spans = group_spans(shape.out_channels, shape.in_channels, shape.groups);
        let pair = taps * LANES * LANES;
        Self::new(axes, source, target, spans, pair, largest, |y, x| blocked_taps(shape, &source, y, x))
    }

    fn input_gradient(shape: &ConvShape, largest: (usize, usize)) -> Self {
        let axes = Axis::both(shape, Axis::input_gradient);
        let source = Map::blocked(shape.out_channels, shape.output());
        let target = Map::blocked(shape.in_channels, shape.input);
        let spans = group_spans(shape.in_channels, shape.out_channels, shape.groups);
        let pair = shape.kernel[0] * shape.kernel[1] * LANES * LANES;
        Self::new(axes, source, target, spans, pair, largest, |y, x| blocked_taps(shape, &source, y, x))
    }

    fn new(
        axes: [Vec<Axis>; 2],
        source: Map,
        target: Map,
        spans: Vec<Range<usize>>,
        pair: usize,
        (rows, vectors): (usize, usize),
        taps: impl Fn(&Axis, &Axis) -> Vec<Tap>,
    ) -> Self {
        let [ys, xs] = &axes;
        let regions = ys
            .iter()
            .flat_map(|y| xs.iter().map(move |x| (y, x)))
            .map(|(y, x)| Region::new(y, x, &source, &target, taps(y, x)))
            .collect();
        let span = spans.iter().map(Range::len).max().unwrap_or(0);
        Self { regions, source, target, spans, span, pair, rows, vectors }
    }
}

/// For each block of `targets` channels, the blocks of `sources` channels that its groups see.
fn group_spans(targets: usize, sources: usize, groups: usize) -> Vec<Range<usize>> {
    let (target_width, source_width) = (targets / groups, sources / groups);
    let span = |block: usize| {
        let last = (block * LANES + LANES).min(targets) - 1;
        let (first_group, last_group) = (block * LANES / target_width, last / target_width);
        first_group * source_width / LANES..blocked::blocks((last_group + 1) * source_width)
    };
    (0..blocked::blocks(targets)).map(span).collect()
}

fn blocked_taps(shape: &ConvShape, source: &Map, y: &Axis, x: &Axis) -> Vec<Tap> {
    let mut taps = Vec::new();
    for &(r, line) in &y.taps {
        for &(s, pixel) in &x.taps {
            let weight = (r * shape.kernel[1] + s) * LANES * LANES;
            taps.push(Tap { x: line * source.line + pixel * source.pixel, w: weight, depth: LANES });
        }
    }
    taps
}

/// In a plain input, the taps of a kernel row lie next to each other, as channels do in a blocked one.
fn plain_taps(shape: &ConvShape, y: &Axis, x: &Axis) -> Vec<Tap> {
    let [h, w] = shape.input;
    let mut taps = Vec::new();
    let Some(&(s, pixel)) = x.taps.first() else { return taps };
    for channel in 0..shape.in_channels {
        for &(r, line) in &y.taps {
            let weight = ((channel * shape.kernel[0] + r) * shape.kernel[1] + s) * LANES;
            taps.push(Tap { x: (channel * h + line) * w + pixel, w: weight, depth: x.taps.len() });
        }
    }
    taps
}
