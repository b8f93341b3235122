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
mod grouped;
mod pack;
mod regions;
mod target;
mod tile;
mod weights;
mod winograd;

pub(super) use grouped::Grouped;
pub(super) use winograd::Winograd;

use super::{Conv2d, Epilogue, NormBehind, Pass, Shape};
use crate::batch_norm::cpu::{plane, Summands};
use crate::executor::Cpu;
use crate::layout::{self, LANES};
use crate::{Buffer, Result, View, ViewMut};
use border::Bordered;
use candle_core::bail;
use regions::{Axis, Region};
use std::ops::Range;
use target::{Behind, Target};
use tile::{Tap, Tile, MOST_ROWS};
use winograd::Way;

/// Weights that fit the caches beside the images: below, all blocks of an image are worked out while it is at hand.
const CACHED_WEIGHTS: usize = 128 * 1024;
/// Floats of source that the strips of larger weights go over in turn: part of a last-level cache.
const SHARED_SOURCE: usize = 1024 * 1024;
/// Floats of source and target that a task works on: half of a second-level cache of 512 KiB.
const CACHED_IMAGES: usize = 64 * 1024;

/// What depends on the shape alone.
pub(super) struct Direct {
    forward: Sweep,
    bordered: Option<Bordered>,
    input_gradient: Option<Sweep>,
    weights: weights::Plan,
}

/// One way through the convolution: from a source activation to a target activation.
pub(super) struct Sweep {
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

/// Where things are in an activation.
#[derive(Clone, Copy)]
pub(super) struct Map {
    /// Floats between neighbouring pixels.
    pixel: usize,
    /// Floats between neighbouring lines.
    line: usize,
    /// Floats between neighbouring blocks of channels.
    block: usize,
    /// Floats between neighbouring images.
    image: usize,
}

impl Map {
    fn blocked(channels: usize, [h, w]: [usize; 2]) -> Self {
        let block = h * w * LANES;
        Self { pixel: LANES, line: w * LANES, block, image: layout::blocks(channels) * block }
    }

    fn plain(channels: usize, [h, w]: [usize; 2]) -> Self {
        Self { pixel: 1, line: w, block: 0, image: channels * h * w }
    }
}

impl Direct {
    pub(super) fn new(cpu: &Cpu, shape: &Shape) -> Self {
        let largest = tile::largest(cpu.isa);
        let forward = Sweep::forward(shape, largest);
        let input_gradient = (!shape.plain_input).then(|| Sweep::input_gradient(shape, largest));
        let weights = weights::Plan::new(shape, &forward);
        let bordered = Bordered::new(shape, &forward, largest);
        Self { forward, bordered, input_gradient, weights }
    }

    pub(super) fn packed_len(&self, pass: Pass) -> usize {
        // After the weights comes the bias, in whole blocks.
        self.sweep(pass).map_or(0, |sweep| sweep.spans.len() * (sweep.span * sweep.pair + LANES))
    }

    pub(super) fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match pass {
            Pass::Forward => self.bordered.as_ref().map_or(0, |bordered| bordered.scratch_len(n)),
            Pass::InputGradient => 0,
            Pass::WeightGradient => self.weights.scratch_len(n),
        }
    }

    /// None for the input gradient of a plain input, and for the weight gradient.
    fn sweep(&self, pass: Pass) -> Option<&Sweep> {
        match pass {
            Pass::Forward => Some(&self.forward),
            Pass::InputGradient => self.input_gradient.as_ref(),
            Pass::WeightGradient => None,
        }
    }
}

impl Sweep {
    fn forward(shape: &Shape, largest: (usize, usize)) -> Self {
        let axes = Axis::both(shape, Axis::forward);
        let target = Map::blocked(shape.out_channels, shape.output());
        let taps = shape.kernel[0] * shape.kernel[1];
        if shape.plain_input {
            let source = Map::plain(shape.in_channels, shape.input);
            let (pair, spans) = (shape.in_channels * taps * LANES, vec![0..1; layout::blocks(shape.out_channels)]);
            return Self::new(axes, source, target, spans, pair, largest, |y, x| plain_taps(shape, y, x));
        }
        let source = Map::blocked(shape.in_channels, shape.input);
        let spans = group_spans(shape.out_channels, shape.in_channels, shape.groups);
        let pair = taps * LANES * LANES;
        Self::new(axes, source, target, spans, pair, largest, |y, x| blocked_taps(shape, &source, y, x))
    }

    fn input_gradient(shape: &Shape, largest: (usize, usize)) -> Self {
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
}

/// For each block of `targets` channels, the blocks of `sources` channels that its groups see.
fn group_spans(targets: usize, sources: usize, groups: usize) -> Vec<Range<usize>> {
    let (target_width, source_width) = (targets / groups, sources / groups);
    let span = |block: usize| {
        let last = (block * LANES + LANES).min(targets) - 1;
        let (first_group, last_group) = (block * LANES / target_width, last / target_width);
        first_group * source_width / LANES..layout::blocks((last_group + 1) * source_width)
    };
    (0..layout::blocks(targets)).map(span).collect()
}

fn blocked_taps(shape: &Shape, source: &Map, y: &Axis, x: &Axis) -> Vec<Tap> {
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
fn plain_taps(shape: &Shape, y: &Axis, x: &Axis) -> Vec<Tap> {
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

pub(super) fn pack(cpu: &Cpu, conv: &Conv2d, n: usize, pass: Pass, params: View, packed: &mut Buffer) -> Result<()> {
    if let Some(grouped) = &conv.grouped {
        grouped.pack(cpu, pass, params.slice()?, packed.slice_mut()?);
        return Ok(());
    }
    let direct = conv.direct();
    if let Some(winograd) = conv.winograd(n) {
        winograd.pack(cpu, &conv.shape, pass, params.slice()?, packed.slice_mut()?);
    } else if let Some(sweep) = direct.sweep(pass) {
        let packed = &mut packed.slice_mut::<f32>()?[..direct.packed_len(pass)];
        pack::pack(cpu, &conv.shape, sweep, pass, params.slice()?, packed);
    }
    Ok(())
}

pub(super) fn forward(
    cpu: &Cpu,
    conv: &Conv2d,
    n: usize,
    x: &Buffer,
    params: View,
    packed: &Buffer,
    scratch: &mut Buffer,
    y: &mut Buffer,
    epilogue: Epilogue,
) -> Result<()> {
    let [height, width] = conv.shape.output();
    let planes = n * layout::blocks(conv.shape.out_channels);
    let Epilogue { shortcut, relu, moments } = epilogue;
    let moments = moments.map(|moments| PlaneSums::new(moments, planes)).transpose()?;
    let behind = moments.as_ref().map(|moments| {
        // SAFETY: a plane is complete once.
        |index: usize, y: &mut [f32]| plane::moments(cpu.isa, y, unsafe { moments.of(index) })
    });
    let behind = behind.as_ref().map(|behind| behind as Behind);
    let target = Target::new(y, [planes, height * width * LANES], shortcut, relu, behind)?;
    let (source, packed) = (x.slice()?, packed.slice()?);
    if let Some(grouped) = &conv.grouped {
        grouped.outputs(cpu, Pass::Forward, n, source, packed, target);
    } else if let Some(winograd) = conv.winograd(n) {
        let (shape, params) = (&conv.shape, params.slice()?);
        let way = Way { pass: Pass::Forward, n, source, shape, params, packed, target };
        winograd.outputs(cpu, &way, scratch.slice_mut()?);
    } else if let Some(bordered) = conv.direct().bordered.as_ref().filter(|bordered| bordered.takes(n)) {
        let scratch = scratch.slice_mut()?;
        bordered.surround(n, source, scratch);
        run(cpu, &bordered.sweep, n, scratch, packed, target);
    } else {
        run(cpu, &conv.direct().forward, n, source, packed, target);
    }
    Ok(())
}

pub(super) fn input_gradient(
    cpu: &Cpu,
    conv: &Conv2d,
    n: usize,
    dy: &Buffer,
    params: View,
    packed: &Buffer,
    scratch: &mut Buffer,
    dx: &mut Buffer,
    accumulate: bool,
    norm: Option<NormBehind>,
) -> Result<()> {
    if conv.shape.plain_input {
        bail!("convolution: a plain input has no gradient");
    }
    let [height, width] = conv.shape.input;
    let planes = n * layout::blocks(conv.shape.in_channels);
    let norm = norm.map(|NormBehind { op, x, params, saved, y, sums }| -> Result<_> {
        Ok((Summands::new(op, n, x, params, saved, y)?, PlaneSums::new(sums, planes)?))
    });
    let norm = norm.transpose()?;
    let behind = norm.as_ref().map(|(summands, sums)| {
        // SAFETY: a plane is complete once.
        |index: usize, dx: &mut [f32]| summands.sum(cpu.isa, index, dx, unsafe { sums.of(index) })
    });
    let behind = behind.as_ref().map(|behind| behind as Behind);
    let mut target = Target::new(dx, [planes, height * width * LANES], None, false, behind)?;
    if accumulate {
        target = target.adding();
    }
    let (source, packed) = (dy.slice()?, packed.slice()?);
    if let Some(grouped) = &conv.grouped {
        grouped.outputs(cpu, Pass::InputGradient, n, source, packed, target);
    } else if let Some(winograd) = conv.winograd(n) {
        let (shape, params) = (&conv.shape, params.slice()?);
        let way = Way { pass: Pass::InputGradient, n, source, shape, params, packed, target };
        winograd.outputs(cpu, &way, scratch.slice_mut()?);
    } else if let Some(sweep) = conv.direct().sweep(Pass::InputGradient) {
        run(cpu, sweep, n, source, packed, target);
    }
    Ok(())
}

pub(super) fn weight_gradient(
    cpu: &Cpu,
    conv: &Conv2d,
    n: usize,
    x: &Buffer,
    dy: &Buffer,
    scratch: &mut Buffer,
    mut grads: ViewMut,
    skip_bias: bool,
) -> Result<()> {
    if let Some(grouped) = &conv.grouped {
        let (scratch, grads) = (scratch.slice_mut()?, grads.slice_mut()?);
        grouped.weight_gradient(cpu, n, x.slice()?, dy.slice()?, scratch, grads, skip_bias);
        return Ok(());
    }
    let direct = conv.direct();
    let (x, dy) = (&x.slice()?[..n * direct.forward.source.image], &dy.slice()?[..n * direct.forward.target.image]);
    if let Some(winograd) = conv.winograd(n) {
        let (weights, bias) = grads.slice_mut()?.split_at_mut(conv.shape.weight_len());
        winograd.weights(cpu, &conv.shape, n, x, dy, scratch.slice_mut()?, weights);
        weights::bias_gradients(cpu, &conv.shape, n, dy, bias, skip_bias);
        return Ok(());
    }
    let scratch = &mut scratch.slice_mut()?[..direct.scratch_len(Pass::WeightGradient, n)];
    weights::run(cpu, &conv.shape, direct, n, x, dy, scratch, grads.slice_mut()?, skip_bias);
    Ok(())
}

/// Computes every target pixel of `n` images.
fn run(cpu: &Cpu, sweep: &Sweep, n: usize, source: &[f32], packed: &[f32], target: Target) {
    if n == 0 {
        return;
    }
    let source = &source[..n * sweep.source.image];
    let blocks = sweep.spans.len();
    let (weights, bias) =
        packed[..blocks * (sweep.span * sweep.pair + LANES)].split_at(blocks * sweep.span * sweep.pair);

    let chunk = (CACHED_IMAGES / (sweep.source.image + sweep.target.image)).max(1);
    let (chunks, strips) = (n.div_ceil(chunk), sweep.strips());
    // Strip after strip over some chunks, so that a strip's weights are at hand and the chunks not far.
    let turn = if weights.len() <= CACHED_WEIGHTS {
        1
    } else {
        (SHARED_SOURCE / (chunk * sweep.source.image)).clamp(1, chunks)
    };
    cpu.pool.run(chunks * strips, |task| {
        let first = task / (turn * strips) * turn;
        let (place, turn) = (task - first * strips, turn.min(chunks - first));
        let (strip, chunk) = (place / turn, first + place % turn);
        let images = n * chunk / chunks..n * (chunk + 1) / chunks;
        for (block, vectors) in sweep.strip(strip) {
            let work = Work { cpu, sweep, source, target, weights, bias, block, vectors };
            work.run(images.clone());
            target.complete(images.clone().flat_map(|image| (0..vectors).map(move |v| image * blocks + block + v)));
        }
    });
}

/// Two f64 for each lane of a plane, which the plane's task writes.
struct PlaneSums {
    start: *mut f64,
    planes: usize,
}

// SAFETY: whoever calls `of` gives each task its own planes.
unsafe impl Sync for PlaneSums {}

impl PlaneSums {
    const LEN: usize = 2 * LANES;

    fn new(sums: &mut Buffer, planes: usize) -> Result<Self> {
        Ok(Self { start: sums.slice_mut::<f64>()?[..planes * Self::LEN].as_mut_ptr(), planes })
    }

    /// # Safety
    /// No two live references may be of the same plane.
    #[allow(clippy::mut_from_ref)]
    unsafe fn of(&self, plane: usize) -> &mut [f64] {
        assert!(plane < self.planes);
        // SAFETY: the plane's sums lie in the memory and, by the caller's promise, are not shared.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(plane * Self::LEN), Self::LEN) }
    }
}

/// Memory that tasks write at places of their own.
struct Shared(*mut f32);

// SAFETY: whoever calls `at` gives each task its own part.
unsafe impl Sync for Shared {}

impl Shared {
    fn start(&self) -> *mut f32 {
        self.0
    }

    unsafe fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: the caller stays inside the memory.
        unsafe { self.0.add(offset) }
    }
}

/// All pixels of some images for one or two blocks of target channels.
struct Work<'a> {
    cpu: &'a Cpu,
    sweep: &'a Sweep,
    source: &'a [f32],
    target: Target<'a>,
    weights: &'a [f32],
    bias: &'a [f32],
    block: usize,
    vectors: usize,
}

impl Work<'_> {
    fn run(&self, images: Range<usize>) {
        for region in &self.sweep.regions {
            if region.taps.is_empty() && self.target.accumulates() {
                continue;
            }
            let pixels = images.len() * region.y.count * region.x.count;
            let tiles = pixels.div_ceil(self.sweep.rows);
            let mut places = region.places(images.clone(), self.sweep.source.image, self.sweep.target.image);
            for index in 0..tiles {
                let rows = pixels * (index + 1) / tiles - pixels * index / tiles;
                self.tile(region, rows, &mut places);
            }
        }
    }

    /// Computes the next `rows` pixels.
    fn tile(&self, region: &Region, rows: usize, places: &mut impl Iterator<Item = (usize, usize)>) {
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
        for (row, (source, target)) in places.take(rows).enumerate() {
            tile.x[row] = self.source[source + span.start * sweep.source.block..].as_ptr();
            tile.y[row] = target + self.block * sweep.target.block;
        }
        tile::run(self.cpu.isa, &tile, rows, self.vectors);
    }
}
