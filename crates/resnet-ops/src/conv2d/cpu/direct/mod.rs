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
mod tile;
mod weights;

use super::axis::Axis;
use super::blocking::{CACHED_IMAGES, CACHED_WEIGHTS, SHARED_SOURCE};
use super::call::OutputsCall;
use super::map::Map;
use super::target::Target;
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::call::WeightGradient;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::Result;
use border::Bordered;
use regions::Region;
use std::ops::Range;
use tile::{Tap, Tile, MOST_ROWS};
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

    /// Strips that the blocks of target channels are cut into, as many blocks in each as a tile can cover.
    fn strips(&self) -> usize {
        self.spans.len().div_ceil(self.vectors)
    }

    /// The tiles' parts of a strip, as first block and number of blocks: those of one tile must see the same source blocks.
    fn strip(&self, strip: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let first = strip * self.vectors;
        let blocks = &self.spans[first..(first + self.vectors).min(self.spans.len())];
        let parts = blocks.chunk_by(|a, b| a == b);
        parts.scan(first, |next, part| Some((std::mem::replace(next, *next + part.len()), part.len())))
    }

    /// Computes every target pixel of `n` images.
    fn run(&self, cpu: &Cpu, n: usize, source: &[f32], packed: &[f32], target: Target) {
        if n == 0 {
            return;
        }
        let source = &source[..n * self.source.image];
        let blocks = self.spans.len();
        let (weights, bias) =
            packed[..blocks * (self.span * self.pair + LANES)].split_at(blocks * self.span * self.pair);

        let chunk = (CACHED_IMAGES / (self.source.image + self.target.image)).max(1);
        let (chunks, strips) = (n.div_ceil(chunk), self.strips());
        // Strip after strip over some chunks, so that a strip's weights are at hand and the chunks not far.
        let turn = if weights.len() <= CACHED_WEIGHTS {
            1
        } else {
            (SHARED_SOURCE / (chunk * self.source.image)).clamp(1, chunks)
        };
        cpu.pool.run(chunks * strips, |task| {
            let first = task / (turn * strips) * turn;
            let (place, turn) = (task - first * strips, turn.min(chunks - first));
            let (strip, chunk) = (place / turn, first + place % turn);
            let images = n * chunk / chunks..n * (chunk + 1) / chunks;
            for (block, vectors) in self.strip(strip) {
                let task = RegionTask { cpu, sweep: self, source, target, weights, bias, block, vectors };
                task.run(images.clone());
                target.complete(images.clone().flat_map(|image| (0..vectors).map(move |v| image * blocks + block + v)));
            }
        });
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

/// All pixels of some images for one or two blocks of target channels.
struct RegionTask<'a> {
    cpu: &'a Cpu,
    sweep: &'a RegionSweep,
    source: &'a [f32],
    target: Target<'a>,
    weights: &'a [f32],
    bias: &'a [f32],
    block: usize,
    vectors: usize,
}

impl RegionTask<'_> {
    fn run(&self, images: Range<usize>) {
        for region in &self.sweep.regions {
            if region.taps.is_empty() && self.target.accumulates() {
                continue;
            }
            let pixels = images.len() * region.y.count * region.x.count;
            let tiles = pixels.div_ceil(self.sweep.rows);
            let mut offsets = region.offsets(images.clone(), self.sweep.source.image, self.sweep.target.image);
            for index in 0..tiles {
                let rows = pixels * (index + 1) / tiles - pixels * index / tiles;
                self.tile(region, rows, &mut offsets);
            }
        }
    }

    /// Computes the next `rows` pixels.
    fn tile(&self, region: &Region, rows: usize, offsets: &mut impl Iterator<Item = (usize, usize)>) {
        let sweep = self.sweep;
        let span = &sweep.spans[self.block];
        let mut tile = Tile {
            x: [std::ptr::null(); MOST_ROWS],
            y: [0; MOST_ROWS],
            target: self.target,
            taps: &region.taps,
            blocks: span.len(),
            x_block: sweep.source.block,
            w: self.weights[self.block * sweep.span * sweep.pair..].as_ptr(),
            w_block: sweep.pair,
            w_vector: sweep.span * sweep.pair,
            y_vector: sweep.target.block,
            bias: self.bias[self.block * LANES..].as_ptr(),
        };
        for (row, (source, target)) in offsets.take(rows).enumerate() {
            tile.x[row] = self.source[source + span.start * sweep.source.block..].as_ptr();
            tile.y[row] = target + self.block * sweep.target.block;
        }
        tile::run(self.cpu.isa, &tile, rows, self.vectors);
    }
}
