//! The weight gradient: for each tap, source values times output gradients, summed over pixels and images.
//!
//! ```text
//!   tile: 8 source channels (or the taps of a kernel row in a plain input) × 2 vectors of 16 output channels,
//!   summed in registers over the pixels of a patch that stays in the first-level cache, added to a partial sum
//! ```
//!
//! The work is cut into pairs of channel blocks and, where those are few, fixed blocks of images with partial sums of
//! their own, which are added in order when they are brought to (out, in / groups, height, width).

use super::pack::{self, WholePair};
use super::{Direct, RegionSweep};
use crate::blocked::LANES;
use crate::conv2d::call::WeightGradient;
use crate::conv2d::cpu::axis::{reach, Axis};
use crate::conv2d::cpu::bias::bias_gradients;
use crate::conv2d::cpu::blocking::{Patches, SHARED_SOURCE};
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::{kernel, Simd};
use crate::Result;
use std::ops::Range;

/// What depends on the shape alone.
pub(super) struct DirectWeightGradient {
    jobs: Vec<TapJob>,
    /// Floats of partial sums for all pairs of channel blocks.
    sums: usize,
    /// Tasks that the channels give.
    strips: usize,
    patches: Patches,
    /// Whether a patch has the next one brought near meanwhile: a kernel of one tap multiplies each value too little to wait for it too.
    brings_next: bool,
}

/// Fewest pixels of a map that a patch asks ahead for: in smaller ones asking takes longer than waiting.
const ASKED_AHEAD: usize = 16;

/// The output pixels that meet some taps, which lie next to each other in source and partial sum.
struct TapJob {
    /// Rows of the tile: source channels, or taps.
    rows: usize,
    /// Floats from a block's partial sum to the job's first.
    sum: usize,
    /// Output coordinates, down and across.
    y: Range<usize>,
    x: Range<usize>,
    /// Floats from an image's (and block's) source to what the first of these pixels meets.
    source: usize,
}

impl DirectWeightGradient {
    pub(super) fn new(shape: &ConvShape, forward: &RegionSweep) -> Self {
        let [height, width] = shape.output();
        let sums = forward.spans.len() * forward.span * forward.pair;
        let strips = forward.strips() * forward.span;
        let line = shape.stride[0] * forward.source.line + forward.vectors * width * LANES;
        let jobs = if shape.plain_input { plain_jobs(shape) } else { blocked_jobs(shape, forward) };
        let brings_next = jobs.len() == 1 && height * width >= ASKED_AHEAD;
        Self { jobs, sums, strips, patches: Patches::new(height, line, strips), brings_next }
    }

    pub(super) fn scratch_len(&self, n: usize) -> usize {
        self.patches.image_blocks(n) * self.sums
    }
}

fn blocked_jobs(shape: &ConvShape, forward: &RegionSweep) -> Vec<TapJob> {
    let mut jobs = Vec::new();
    for r in 0..shape.kernel[0] {
        for s in 0..shape.kernel[1] {
            let (Some((y, line)), Some((x, pixel))) = (reach(shape, 0, r), reach(shape, 1, s)) else { continue };
            let sum = (r * shape.kernel[1] + s) * LANES * LANES;
            let source = line * forward.source.line + pixel * forward.source.pixel;
            jobs.push(TapJob { rows: LANES, sum, y, x, source });
        }
    }
    jobs
}

fn plain_jobs(shape: &ConvShape) -> Vec<TapJob> {
    let [h, w] = shape.input;
    let [ys, xs] = Axis::both(shape, Axis::forward);
    let mut jobs = Vec::new();
    for channel in 0..shape.in_channels {
        for r in 0..shape.kernel[0] {
            for y in &ys {
                let Some(&(_, line)) = y.taps.iter().find(|tap| tap.0 == r) else { continue };
                for x in &xs {
                    let Some(&(s, pixel)) = x.taps.first() else { continue };
                    let sum = ((channel * shape.kernel[0] + r) * shape.kernel[1] + s) * LANES;
                    jobs.push(TapJob {
                        rows: x.taps.len(),
                        sum,
                        y: y.target.0..y.target.0 + y.count,
                        x: x.target.0..x.target.0 + x.count,
                        source: (channel * h + line) * w + pixel,
                    });
                }
            }
        }
    }
    jobs
}

pub(super) fn run(cpu: &Cpu, direct: &Direct, call: WeightGradient) -> Result<()> {
    let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
    let Direct { shape, forward: sweep, weight_gradient: cut, .. } = direct;
    let (x, dy) = (&x.slice()?[..n * sweep.source.image], &dy.slice()?[..n * sweep.target.image]);
    let scratch = &mut scratch.slice_mut()?[..cut.scratch_len(n)];
    let (weights, bias) = grads.into_slice()?.split_at_mut(shape.weight_len());
    let image_blocks = cut.patches.image_blocks(n);
    let sums = Disjoint::new(scratch);
    // Many strips take turns with a few images that they all read.
    let turn = if image_blocks > 1 { n } else { (SHARED_SOURCE / sweep.source.image).clamp(1, n) };
    for first in (0..n).step_by(turn) {
        let turn = turn.min(n - first);
        cpu.pool.run(image_blocks * cut.strips, |task| {
            let (image_block, strip) = (task / cut.strips, task % cut.strips);
            let images = first + turn * image_block / image_blocks..first + turn * (image_block + 1) / image_blocks;
            for (block, vectors) in sweep.strip(strip / sweep.span) {
                let task = PairTask { cpu, shape, cut, sweep, x, dy, block, offset: strip % sweep.span, vectors };
                // SAFETY: tasks have image blocks and pairs of channel blocks of their own, and `scratch` holds them all.
                unsafe { task.run(images.clone(), sums.at(image_block * cut.sums), first > 0) };
            }
        });
    }
    unpack(cpu, shape, cut, sweep, image_blocks, scratch, weights);
    bias_gradients(cpu, shape, n, dy, bias, skip_bias);
    Ok(())
}

/// The partial sums between one block of source channels and one or two blocks of output channels.
struct PairTask<'a> {
    cpu: &'a Cpu,
    shape: &'a ConvShape,
    cut: &'a DirectWeightGradient,
    sweep: &'a RegionSweep,
    x: &'a [f32],
    dy: &'a [f32],
    block: usize,
    /// Which block of the span.
    offset: usize,
    vectors: usize,
}

impl PairTask<'_> {
    /// Writes the partial sums, or adds to them if `accumulate`.
    unsafe fn run(&self, images: Range<usize>, sums: *mut f32, accumulate: bool) {
        let (cut, sweep) = (self.cut, self.sweep);
        let vector = sweep.span * sweep.pair;
        // SAFETY: the caller gives this task its part of the partial sums.
        let sums = unsafe { sums.add(self.block * vector + self.offset * sweep.pair) };
        if !accumulate {
            for v in 0..self.vectors {
                // SAFETY: as above; a pair's partial sum has `pair` floats.
                unsafe { std::slice::from_raw_parts_mut(sums.add(v * vector), sweep.pair) }.fill(0.0);
            }
        }
        let source_block = sweep.spans[self.block].start + self.offset;
        if source_block >= sweep.spans[self.block].end {
            return;
        }
        let [oh, ow] = self.shape.output();
        let stride = self.shape.stride[0];
        for first_image in images.clone().step_by(cut.patches.images) {
            let count = cut.patches.images.min(images.end - first_image);
            let x = &self.x[first_image * sweep.source.image + source_block * sweep.source.block..];
            let dy = &self.dy[first_image * sweep.target.image + self.block * sweep.target.block..];
            for top in (0..oh).step_by(cut.patches.lines) {
                let next = |map, stride| cut.patches.to_next(top, map, stride);
                let next = [next(&sweep.source, stride), next(&sweep.target, 1)];
                for job in &cut.jobs {
                    let lines = job.y.start.max(top)..job.y.end.min(top + cut.patches.lines);
                    if lines.is_empty() {
                        continue;
                    }
                    let source = job.source + (lines.start - job.y.start) * stride * sweep.source.line;
                    let patch = Patch {
                        x: x[source..].as_ptr(),
                        dy: dy[(lines.start * ow + job.x.start) * LANES..].as_ptr(),
                        counts: [count, lines.len(), job.x.len()],
                        x_steps: [
                            sweep.source.image,
                            stride * sweep.source.line,
                            self.shape.stride[1] * sweep.source.pixel,
                        ],
                        dy_steps: [sweep.target.image, ow * LANES, LANES],
                        dy_vector: sweep.target.block,
                        next,
                        brings_next: cut.brings_next,
                        // SAFETY: the job's part of a pair's partial sum.
                        sums: unsafe { sums.add(job.sum) },
                        sums_vector: vector,
                    };
                    patch_tiles(self.cpu.isa, &patch, job.rows, self.vectors);
                }
            }
        }
    }
}

/// Pixels of some images whose products are added to a tile's sums. Steps and counts are of images, lines, pixels.
struct Patch {
    x: *const f32,
    dy: *const f32,
    counts: [usize; 3],
    x_steps: [usize; 3],
    dy_steps: [usize; 3],
    dy_vector: usize,
    /// Floats from source and gradients to those that the next patch begins with.
    next: [usize; 2],
    /// Whether it has those brought near meanwhile.
    brings_next: bool,
    sums: *mut f32,
    sums_vector: usize,
}

/// What of the next patch a tile asks for.
const NOTHING: usize = 0;
const SOURCE: usize = 1;
const GRADIENTS: usize = 2;

/// Most rows of a tile: more would not share the loads of output gradients any better.
const MOST_ROWS: usize = 8;

kernel! {
    fn patch_tiles<S>(patch: &Patch, rows: usize, vectors: usize) {
        let tiles = rows.div_ceil(S::ROWS.min(MOST_ROWS));
        for index in 0..tiles {
            let (first, end) = (rows * index / tiles, rows * (index + 1) / tiles);
            macro_rules! pick {
                ($next:ident: $($rows:literal)*) => {
                    match (end - first, vectors) {
                        // SAFETY: `PairTask::run` made the patch from pixels inside the activations.
                        $(($rows, 1) if S::ROWS >= $rows => unsafe { tile::<S, $rows, 1, $next>(patch, first) },)*
                        // SAFETY: as above.
                        $(($rows, 2) if S::ROWS >= $rows && S::VECTORS >= 2 => unsafe { tile::<S, $rows, 2, $next>(patch, first) },)*
                        (rows, _) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
                    }
                };
            }
            match index {
                0 if patch.brings_next => pick!(SOURCE: 1 2 3 4 5 6 7 8),
                1 if patch.brings_next => pick!(GRADIENTS: 1 2 3 4 5 6 7 8),
                _ => pick!(NOTHING: 1 2 3 4 5 6 7 8),
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize, const NEXT: usize>(patch: &Patch, first: usize) {
    // SAFETY: see `Patch`; the rows `first..first + ROWS` follow each other in source and partial sum.
    unsafe {
        let out = patch.sums.add(first * LANES);
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        for row in 0..ROWS {
            for v in 0..VECTORS {
                sums[row][v] = S::load(out.add(row * LANES + v * patch.sums_vector));
            }
        }
        let [images, lines, pixels] = patch.counts;
        for image in 0..images {
            for line in 0..lines {
                let mut x = patch.x.add(first + image * patch.x_steps[0] + line * patch.x_steps[1]);
                let mut dy = patch.dy.add(image * patch.dy_steps[0] + line * patch.dy_steps[1]);
                for _ in 0..pixels {
                    let mut gradients = [S::splat(0.0); VECTORS];
                    if NEXT == SOURCE {
                        S::prefetch(x.wrapping_add(patch.next[0]));
                    }
                    for v in 0..VECTORS {
                        if NEXT == GRADIENTS {
                            S::prefetch(dy.wrapping_add(patch.next[1] + v * patch.dy_vector));
                        }
                        gradients[v] = S::load(dy.add(v * patch.dy_vector));
                    }
                    for row in 0..ROWS {
                        S::add_scaled::<VECTORS, 0>(&mut sums[row], x.add(row), &gradients);
                    }
                    x = x.wrapping_add(patch.x_steps[2]);
                    dy = dy.wrapping_add(patch.dy_steps[2]);
                }
            }
        }
        for row in 0..ROWS {
            for v in 0..VECTORS {
                S::store(out.add(row * LANES + v * patch.sums_vector), sums[row][v]);
            }
        }
    }
}

/// Adds the partial sums of the image blocks, in order, and writes them as (out, in / groups, height, width).
fn unpack(
    cpu: &Cpu,
    shape: &ConvShape,
    cut: &DirectWeightGradient,
    sweep: &RegionSweep,
    image_blocks: usize,
    sums: &[f32],
    weights: &mut [f32],
) {
    let per_output = shape.weight_len() / shape.out_channels;
    cpu.pool.chunks_mut(weights, LANES * per_output, |block, weights| {
        let first = block * LANES * per_output;
        let total = |place: usize| (0..image_blocks).map(|i| sums[i * cut.sums + place]).sum::<f32>();
        let span = &sweep.spans[block];
        for source in span.clone() {
            let pair = (block * sweep.span + source - span.start) * sweep.pair;
            if let Some(whole) = WholePair::of(shape, block, source) {
                let weights = &mut weights[whole.first - first..];
                pack::unpack_whole(cpu.isa, &sums[pair..], image_blocks, cut.sums, whole, weights);
            } else if shape.plain_input {
                pack::each_plain(shape, block, |place, weight| weights[weight - first] = total(pair + place));
            } else {
                pack::each(shape, block, source, |tap, input, output, weight| {
                    weights[weight - first] = total(pair + (tap * LANES + input) * LANES + output);
                });
            }
        }
    });
}
