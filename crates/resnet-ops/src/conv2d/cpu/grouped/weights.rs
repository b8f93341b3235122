//! The weight gradient: for each tap, spread source pixels times output gradients, summed over pixels and images.
//!
//! ```text
//!   tile: the taps of a kernel row × 4 or 8 channels of the group, summed in registers over the pixels of a
//!   patch that stays in the first-level cache, added to a partial sum; one spread pixel serves all taps of the row
//! ```
//!
//! The work is cut into channel blocks and fixed blocks of images with partial sums of their own, which are added in order
//! when they are brought to (out, in / groups, height, width).

use super::columns::{Columns, TapRun};
use super::{pack, Grouped, WIDEST};
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::call::WeightGradient;
use crate::conv2d::cpu::axis::reach;
use crate::conv2d::cpu::bias::bias_gradients;
use crate::conv2d::cpu::blocking::Patches;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::{kernel, Part, Simd};
use crate::Result;
use std::ops::Range;

/// Columns in the middle of a line, with no tap missing, that are worth a loop of their own.
const LONG: usize = 8;

/// What depends on the shape alone.
pub(super) struct GroupedWeightGradient {
    pub(super) patches: Patches,
    /// Each kernel row that meets the input, the output lines that do so, and the input line of the first of them.
    rows: Vec<(usize, Range<usize>, usize)>,
}

impl GroupedWeightGradient {
    pub(super) fn new(shape: &ConvShape) -> Self {
        let [height, columns] = shape.output();
        // The patch and the next one, which is prefetched meanwhile.
        let line = 2 * (shape.stride[0] * shape.input[1] + columns) * LANES;
        let patches = Patches::new(height, line, blocked::blocks(shape.out_channels));
        let row = |row: usize| reach(shape, 0, row).map(|(lines, source)| (row, lines, source));
        let rows = (0..shape.kernel[0]).filter_map(row).collect();
        Self { patches, rows }
    }
}

pub(super) fn run(cpu: &Cpu, grouped: &Grouped, call: WeightGradient) -> Result<()> {
    let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
    let Grouped { shape, forward: sweep, .. } = grouped;
    let (x, dy) = (&x.slice()?[..n * sweep.source.image], &dy.slice()?[..n * sweep.target.image]);
    let scratch = &mut scratch.slice_mut::<f32>()?[..grouped.scratch_len(Pass::WeightGradient, n)];
    let (weights, bias) = grads.into_slice()?.split_at_mut(shape.weight_len());
    let (image_blocks, block_sums) = (grouped.weight_gradient.patches.image_blocks(n), grouped.vectors() * LANES);
    cpu.pool.chunks_mut(scratch, block_sums, |task, sums| {
        let (image_block, block) = (task / grouped.blocks(), task % grouped.blocks());
        let images = n * image_block / image_blocks..n * (image_block + 1) / image_blocks;
        sums.fill(0.0);
        let pair_sums = block_sums / grouped.span;
        for (source, sums) in grouped.sources(block).zip(sums.chunks_exact_mut(pair_sums)) {
            let pair = Pair {
                grouped,
                x: &x[source * grouped.forward.source.block..],
                dy: &dy[block * grouped.forward.target.block..],
            };
            add_images(cpu.isa, &pair, images.clone(), sums);
        }
    });
    let per_output = shape.weight_len() / shape.out_channels;
    let scratch = &*scratch;
    cpu.pool.chunks_mut(weights, LANES * per_output, |block, weights| {
        pack::each(grouped, Pass::WeightGradient, block, |place, weight| {
            let sums = (0..image_blocks).map(|i| scratch[(i * grouped.blocks() + block) * block_sums + place]);
            weights[weight - block * LANES * per_output] = sums.sum();
        });
    });
    bias_gradients(cpu, shape, n, dy, bias, skip_bias);
    Ok(())
}

/// A block of source and one of output channels, in the first image of the batch.
struct Pair<'a> {
    grouped: &'a Grouped,
    x: &'a [f32],
    dy: &'a [f32],
}

/// Pixels of some images whose products are added to a tile's sums. Steps are of images, lines; counts likewise.
struct LinePatch<'a> {
    run: &'a TapRun,
    width: usize,
    x: *const f32,
    dy: *const f32,
    counts: [usize; 2],
    x_steps: [usize; 2],
    dy_steps: [usize; 2],
    /// Output columns.
    columns: usize,
    /// Floats from source pixels and output gradients to those to prefetch meanwhile.
    prefetch: [usize; 2],
    /// The sums of tap number 0, and floats to the next tap's.
    sums: *mut f32,
    sums_step: isize,
}

kernel! {
    /// Adds the products of some images to the sums of a pair of blocks.
    fn add_images<S>(pair: &Pair, images: Range<usize>, sums: &mut [f32]) {
        // SAFETY: a pair's activations and sums have the sizes of the convolution.
        unsafe {
            match pair.grouped.width.min(<S::Part as Part>::LANES) {
                1 => patches::<S, S::Part, 1>(pair, images, sums),
                8 => patches::<S, S::Part, 8>(pair, images, sums),
                16 => patches::<S, S::Part, 16>(pair, images, sums),
                _ => patches::<S, S::Part, 4>(pair, images, sums),
            }
        }
    }
}

#[inline(always)]
unsafe fn patches<S: Simd, P: Part, const SPREAD: usize>(pair: &Pair, images: Range<usize>, sums: &mut [f32]) {
    if SPREAD > P::LANES {
        unreachable!("a group wider than a register");
    }
    let Grouped { shape, width, forward, weight_gradient: cut, .. } = pair.grouped;
    let [height, columns] = shape.output();
    let [Columns { runs, .. }] = &forward.columns[..] else { unreachable!("one set of output columns") };
    let tap_sums = width * LANES;
    for first_image in images.clone().step_by(cut.patches.images) {
        let count = cut.patches.images.min(images.end - first_image);
        for top in (0..height).step_by(cut.patches.lines) {
            let next = |map, stride| cut.patches.to_next(top, map, stride);
            let prefetch = [next(&forward.source, shape.stride[0]), next(&forward.target, 1)];
            for (index, (row, reached, first_line)) in cut.rows.iter().enumerate() {
                let lines = reached.start.max(top)..reached.end.min(top + cut.patches.lines);
                if lines.is_empty() {
                    continue;
                }
                let source_line = first_line + (lines.start - reached.start) * shape.stride[0];
                for run in runs {
                    let x = first_image * forward.source.image + source_line * forward.source.line;
                    let dy = first_image * forward.target.image + lines.start * forward.target.line;
                    let mut patch = LinePatch {
                        run,
                        width: *width,
                        x: pair.x.as_ptr().wrapping_add(x).wrapping_offset(run.first * LANES as isize),
                        dy: pair.dy[dy..].as_ptr(),
                        counts: [count, lines.len()],
                        x_steps: [forward.source.image, shape.stride[0] * forward.source.line],
                        dy_steps: [forward.target.image, forward.target.line],
                        columns,
                        prefetch,
                        sums: sums[(row * shape.kernel[1] + run.tap) * tap_sums..].as_mut_ptr(),
                        sums_step: run.tap_step * tap_sums as isize,
                    };
                    // Of depthwise convolutions all of a vector: a register alone would wait for its own sums.
                    for lane in (0..LANES).step_by(if SPREAD == 1 { LANES } else { P::LANES }) {
                        // Eight channels where registers allow: spreading takes some too unless it gives all lanes the same.
                        let spare = P::SUMS >= 14 && P::LANES <= *width;
                        let at_once = if *width > 4 && (spare || run.taps == 1) { 8 } else { *width.min(&4) };
                        for first in (0..*width).step_by(at_once) {
                            // Pixels and gradients in turn: both at once are more than a core can wait for.
                            let turn = |row: usize| (lane, first, index) == (0, 0, row);
                            let turns = [turn(0), turn(cut.rows.len() / 2)];
                            patch.prefetch = [0, 1].map(|i| if turns[i] { prefetch[i] } else { 0 });
                            // SAFETY: the patch lies inside activations and sums.
                            unsafe {
                                match (at_once, LANES / P::LANES) {
                                    (1, 1) => taps::<S, P, SPREAD, 1>(&patch, lane, first),
                                    (1, 2) => taps::<S, P, SPREAD, 2>(&patch, lane, first),
                                    (1 | 4, _) => taps::<S, P, SPREAD, 4>(&patch, lane, first),
                                    _ => taps::<S, P, SPREAD, 8>(&patch, lane, first),
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Calls [`tile`] for as many taps as the patch's run has.
#[inline(always)]
unsafe fn taps<S: Simd, P: Part, const SPREAD: usize, const CHANNELS: usize>(
    patch: &LinePatch,
    lane: usize,
    first: usize,
) {
    let depthwise = SPREAD == 1;
    if depthwise && CHANNELS != LANES / P::LANES || !depthwise && CHANNELS < 4 {
        unreachable!("depthwise, the registers of a vector");
    }
    // SAFETY: see `LinePatch`.
    unsafe {
        match patch.run.taps {
            1 => tile::<S, P, SPREAD, 1, CHANNELS>(patch, lane, first),
            2 => tile::<S, P, SPREAD, 2, CHANNELS>(patch, lane, first),
            _ => tile::<S, P, SPREAD, WIDEST, CHANNELS>(patch, lane, first),
        }
    }
}

/// Adds a patch to the sums of `TAPS` taps, of the lanes from `lane` and of the channels `first..first + CHANNELS` of the
/// group; depthwise, of `CHANNELS` registers of lanes.
#[inline(always)]
unsafe fn tile<S: Simd, P: Part, const SPREAD: usize, const TAPS: usize, const CHANNELS: usize>(
    patch: &LinePatch,
    lane: usize,
    first: usize,
) {
    // Source columns number start..end are inside the line; those before `all` or from `partial` lack a tap.
    let (start, end) = (patch.run.inside.start, patch.run.inside.end.min(patch.columns + TAPS - 1));
    let all = start.max(TAPS - 1).min(end);
    let partial = end.min(patch.columns).max(all);
    // SAFETY: see `LinePatch`.
    unsafe {
        if partial - all < LONG {
            add::<S, P, SPREAD, TAPS, CHANNELS, true>(patch, lane, first, [start..end, 0..0]);
        } else {
            add::<S, P, SPREAD, TAPS, CHANNELS, true>(patch, lane, first, [start..all, partial..end]);
            add::<S, P, SPREAD, TAPS, CHANNELS, false>(patch, lane, first, [all..partial, 0..0]);
        }
    }
}

/// Adds the source columns of the given numbers; `EDGES` if some lack a tap.
#[inline(always)]
unsafe fn add<S: Simd, P: Part, const SPREAD: usize, const TAPS: usize, const CHANNELS: usize, const EDGES: bool>(
    patch: &LinePatch,
    lane: usize,
    first: usize,
    numbers: [Range<usize>; 2],
) {
    // SAFETY: see `LinePatch`.
    unsafe {
        let step = if SPREAD == 1 { P::LANES } else { LANES };
        let out = |tap: usize, channel: usize| {
            patch.sums.offset(tap as isize * patch.sums_step).add(first * LANES + channel * step + lane)
        };
        let mut sums = [[P::splat(0.0); CHANNELS]; TAPS];
        for tap in 0..TAPS {
            for channel in 0..CHANNELS {
                sums[tap][channel] = P::load(out(tap, channel));
            }
        }
        let x_step = patch.run.step * LANES;
        for image in 0..patch.counts[0] {
            for line in 0..patch.counts[1] {
                let x = patch.x.wrapping_add(
                    image * patch.x_steps[0] + line * patch.x_steps[1] + lane / patch.width * patch.width,
                );
                let dy = patch.dy.add(image * patch.dy_steps[0] + line * patch.dy_steps[1] + lane);
                for numbers in &numbers[..1 + usize::from(EDGES)] {
                    let (mut x, mut dy) =
                        (x.wrapping_add(numbers.start * x_step), dy.wrapping_add(numbers.start * LANES));
                    for number in numbers.clone() {
                        S::prefetch(x.wrapping_add(patch.prefetch[0]));
                        S::prefetch(dy.wrapping_add(patch.prefetch[1]));
                        let mut gradients = [P::splat(0.0); TAPS];
                        for channel in 0..CHANNELS {
                            let value = match SPREAD {
                                1 => P::load(x.wrapping_add(channel * P::LANES)),
                                _ => P::spread::<SPREAD>(x, first + channel),
                            };
                            for tap in 0..TAPS {
                                // All channels of a group have the same.
                                let reached = !EDGES || number >= tap && number - tap < patch.columns;
                                if reached && (SPREAD == 1 || channel == 0) {
                                    let lanes = if SPREAD == 1 { channel * P::LANES } else { 0 };
                                    gradients[tap] = P::load(dy.wrapping_sub(tap * LANES).wrapping_add(lanes));
                                }
                                sums[tap][channel] = P::fma(value, gradients[tap], sums[tap][channel]);
                            }
                            // LLVM would spread all channels first and then lack registers for the sums.
                            for tap in 0..TAPS {
                                P::pin(&mut sums[tap][channel]);
                            }
                        }
                        x = x.wrapping_add(x_step);
                        dy = dy.wrapping_add(LANES);
                    }
                }
            }
        }
        for tap in 0..TAPS {
            for channel in 0..CHANNELS {
                P::store(out(tap, channel), sums[tap][channel]);
            }
        }
    }
}
