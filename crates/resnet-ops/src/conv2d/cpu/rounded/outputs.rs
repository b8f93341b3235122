//! Forward and input gradient.
//!
//! A task rounds a part of the source, some images or lines of one, to rows in a workspace of its thread, and goes through all targets of
//! it, strip by strip of two blocks:
//!
//! ```text
//!   source, f32                      workspace: a row is a pixel's channels               target, f32
//!   ┌ image ┐┌ image ┐ …   round     ┌ plane of every stride-th pixel, zeros around ┐     ┌───────┐
//!   │ lines ││       │     ─────▶    │ 0 p p p p │ 0 p p p p │ 0 …                 │     │       │
//!   └───────┘└───────┘               └───────────┼──────────────────────────────────┘     └───────┘
//!                                     tile: 5 to 32 rows on end         × weights of a strip  ─▶  sums, bias, shortcut, ReLU
//! ```
//!
//! Rows on the zeros between lines yield sums too, which are written to the next line's first pixel: its own row, later in the same tile,
//! writes over them. Each target is summed in one order (rows of channels, kernel places) whatever tile, part or thread it falls to.

use super::axis::{ends, Axis, Phase};
use super::int8::bytes::BLOCKS;
use super::operands::Operands;
use super::prefetch::Ahead;
use super::tile::{self, Ready, Sink, Step, Tile, ROW, SLACK, STEP, VECTORS};
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::cpu::call::OutputsCall;
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::cpu::map::Map;
use crate::conv2d::cpu::target::Target;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::Simd;
use std::ops::Range;

/// Rows of a part: 256 KiB, which a second-level cache holds beside the weights of a strip.
const PART: usize = 4096;
/// Fewest targets of a part, each of which reads all weights again.
const FEWEST_TARGETS: usize = 48;
/// Tasks to aim for, so that many threads have something to do.
const TASKS: usize = 16;

/// What depends on the shape alone.
pub(super) struct OutputSweep {
    axes: [Axis; 2],
    source: Map,
    target: Map,
    /// Blocks of 16 channels of the source, and of the target.
    sources: usize,
    targets: usize,
    /// Steps of a kernel place.
    depths: usize,
    kernel: [usize; 2],
    operands: Operands,
}

/// Images and lines that are computed at a time.
struct Part {
    images: Range<usize>,
    lines: Range<usize>,
}

/// How a batch is cut.
struct Cut {
    /// Groups of images, and parts that an image's lines are cut into.
    chunks: usize,
    parts: usize,
    /// Most rows of a part in batches of up to so many images.
    rows: usize,
}

/// Targets of a phase in a part.
struct Run {
    steps: Vec<Step>,
    /// Where the targets of rows go, from the first image on.
    places: Vec<usize>,
    /// First row in the workspace, first place, and number of rows.
    tiles: Vec<[usize; 3]>,
}

impl OutputSweep {
    pub(super) fn new(shape: &ConvShape, pass: Pass, operands: Operands) -> Self {
        let [source, target] = ends(shape, pass);
        let sizes = match pass {
            Pass::InputGradient => [shape.output(), shape.input],
            Pass::Forward | Pass::WeightGradient => [shape.input, shape.output()],
        };
        Self {
            axes: [0, 1].map(|axis| Axis::new(shape, pass, axis)),
            source: Map::blocked(source, sizes[0]),
            target: Map::blocked(target, sizes[1]),
            sources: blocked::blocks(source),
            targets: blocked::blocks(target),
            depths: blocked::blocks(source).div_ceil(operands.blocks()),
            kernel: shape.kernel,
            operands,
        }
    }

    fn planes(&self) -> usize {
        self.axes[0].planes * self.axes[1].planes
    }

    /// Rows of a plane of so many lines of targets.
    fn plane_rows(&self, lines: usize) -> usize {
        let [down, across] = &self.axes;
        (lines + down.reach) * across.pitch() + across.lead
    }

    fn image_rows(&self, lines: usize) -> usize {
        self.planes() * self.depths * self.plane_rows(lines)
    }

    fn cut(&self, n: usize) -> Cut {
        let lines = self.axes[0].count;
        let image = self.image_rows(lines);
        if image <= PART {
            let most = PART / image;
            return Cut { chunks: n.div_ceil(most), parts: 1, rows: n.min(most) * image };
        }
        // A part's lines read some that are another's, too.
        let fixed = self.image_rows(0);
        let of_line = self.image_rows(1) - fixed;
        let fit = (PART.saturating_sub(fixed) / of_line).max(FEWEST_TARGETS.div_ceil(self.axes[1].count));
        let parts = lines.div_ceil(fit.min(lines));
        Cut { chunks: n, parts, rows: self.image_rows(lines.div_ceil(parts)) }
    }

    pub(super) fn scratch_len(&self, threads: usize, n: usize) -> usize {
        threads * (self.cut(n).rows + SLACK) * ROW
    }

    /// Computes every target.
    pub(super) fn run(&self, cpu: &Cpu, call: &OutputsCall, scratch: &mut [f32]) {
        let cut = self.cut(call.n);
        let Cut { chunks, parts, rows } = cut;
        let workspace = (rows + SLACK) * ROW;
        let scratch = Disjoint::new(&mut scratch[..cpu.pool.threads() * workspace]);
        let strips = self.targets.div_ceil(VECTORS);
        // What is done with a plane wants all of it.
        let joined = if call.target.wants_planes() { parts } else { 1 };
        let units = chunks * parts / joined;
        let groups = TASKS.div_ceil(units.max(1)).min(strips);
        let part = |index: usize| {
            let (chunk, part) = (index / parts, index % parts);
            let (images, lines) = (call.n, self.axes[0].count);
            Part {
                images: images * chunk / chunks..images * (chunk + 1) / chunks,
                lines: lines * part / parts..lines * (part + 1) / parts,
            }
        };
        cpu.pool.run_on(units * groups, |thread, task| {
            let (unit, group) = (task / groups, task % groups);
            let strips = strips * group / groups..strips * (group + 1) / groups;
            // SAFETY: a thread has a workspace of its own.
            let rows = unsafe { scratch.at(thread * workspace) };
            let ready = Ready::new(self.operands.products());
            for index in 0..joined {
                let place = unit * joined + index;
                let (part, next) = (part(place), (groups == 1 && place + 1 < chunks * parts).then(|| part(place + 1)));
                let next = next.map(|next| self.stretches(call.source, &next)).unwrap_or_default();
                let task = PartTask { sweep: self, call, part: &part, rows };
                task.round();
                task.run(&ready, strips.clone(), index + 1 == joined, next);
            }
        });
    }
}

impl OutputSweep {
    /// What of the source a part reads.
    fn stretches<'a>(&self, source: &'a [f32], Part { images, lines }: &Part) -> Vec<&'a [f32]> {
        let down = &self.axes[0];
        if lines.len() == down.count {
            return vec![&source[images.start * self.source.image..images.end * self.source.image]];
        }
        let coordinate = |line: usize| (line.saturating_sub(down.lead) * down.step).min(down.source);
        let (start, end) = (coordinate(lines.start), coordinate(lines.end + down.reach));
        let blocks = images.clone().flat_map(|image| (0..self.sources).map(move |block| (image, block)));
        let stretch = |(image, block)| {
            let first = image * self.source.image + block * self.source.block;
            &source[first + start * self.source.line..first + end * self.source.line]
        };
        blocks.map(stretch).collect()
    }
}

/// A part of the targets, for some strips.
struct PartTask<'a> {
    sweep: &'a OutputSweep,
    call: &'a OutputsCall<'a>,
    part: &'a Part,
    rows: *mut f32,
}

impl PartTask<'_> {
    /// Rows of an image's plane.
    fn plane_rows(&self) -> usize {
        self.sweep.plane_rows(self.part.lines.len())
    }

    /// The first row of an image's plane.
    fn plane(&self, plane: usize, depth: usize, image: usize) -> usize {
        ((plane * self.sweep.depths + depth) * self.part.images.len() + image) * self.plane_rows()
    }

    /// Rounds what of the source the part reads.
    fn round(&self) {
        let (sweep, Part { images, lines }) = (self.sweep, self.part);
        let [down, across] = &sweep.axes;
        let (pitch, lead) = (across.pitch(), across.lead);
        let (stored_blocks, zero) = (sweep.operands.blocks(), sweep.operands.zero());
        for (plane, depth) in (0..sweep.planes()).flat_map(|plane| (0..sweep.depths).map(move |depth| (plane, depth))) {
            let (line_plane, pixel_plane) = (plane / across.planes, plane % across.planes);
            let (first_pixel, pixels) = (pixel_plane * sweep.source.pixel, across.stored(pixel_plane));
            // Lines without anything between them are as one.
            let is_whole = [down, across].iter().all(|axis| axis.step == 1 && axis.lead + axis.reach == 0);
            let joined = if is_whole && pixels == pitch { lines.len().max(1) } else { 1 };
            for image in images.clone() {
                let first = self.plane(plane, depth, image - images.start);
                let block = image * sweep.source.image + depth * stored_blocks * sweep.source.block;
                for line in (0..lines.len() + down.reach).step_by(joined) {
                    // SAFETY: the workspace holds all planes, each with so many lines and the zeros after the last one.
                    let row = unsafe { self.rows.add((first + line * pitch) * ROW) };
                    let there = (lines.start + line).checked_sub(down.lead);
                    let there = there.map(|line| line_plane + line * down.step);
                    let there = there.filter(|&line| line < down.source && pixels > 0);
                    let zeros = |from: usize, to: usize| {
                        // SAFETY: as above.
                        unsafe { std::slice::from_raw_parts_mut(row.add(from * ROW), (to - from) * ROW) }.fill(zero);
                    };
                    let Some(there) = there else {
                        zeros(0, pitch);
                        continue;
                    };
                    zeros(0, lead);
                    let start = block + there * sweep.source.line + first_pixel;
                    let mut blocks = [std::ptr::null(); BLOCKS];
                    let there = stored_blocks.min(sweep.sources - depth * stored_blocks);
                    for (index, block) in blocks[..there].iter_mut().enumerate() {
                        *block = self.call.source[start + index * sweep.source.block..].as_ptr();
                    }
                    // SAFETY: so many pixels of the line are stored, each `step` from the last.
                    unsafe {
                        let (step, rows) = (across.step * sweep.source.pixel, row.add(lead * ROW));
                        sweep.operands.round(blocks, step, joined * pixels, rows);
                    }
                    zeros(lead + pixels, pitch);
                }
                let end = first + (lines.len() + down.reach) * pitch;
                // SAFETY: as above.
                unsafe { std::slice::from_raw_parts_mut(self.rows.add(end * ROW), lead * ROW) }.fill(zero);
            }
        }
    }

    /// Computes the targets of some strips; if the part is an image's last one, their planes are complete. `next` is asked for meanwhile.
    fn run(&self, ready: &Ready, strips: Range<usize>, last: bool, next: Vec<&[f32]>) {
        let (sweep, images) = (self.sweep, &self.part.images);
        let runs = self.runs();
        let steps: usize = runs.iter().map(|run| run.tiles.len() * run.steps.len()).sum();
        let mut ahead = Ahead::new(next, strips.len() * steps);
        let per_block = sweep.depths * sweep.kernel[0] * sweep.kernel[1] * STEP;
        let (weights, ends) = self.call.packed.split_at(sweep.targets * per_block);
        let (bias, of_integers) = ends.split_at(sweep.targets * LANES);
        for strip in strips {
            let block = strip * VECTORS;
            let vectors = VECTORS.min(sweep.targets - block);
            let target = self.call.target.shifted(images.start * sweep.target.image + block * sweep.target.block);
            for Run { steps, places, tiles } in &runs {
                for &[row, place, rows] in tiles {
                    let next = ahead.share(steps.len());
                    let (b, b_vector) = (weights[block * per_block..].as_ptr(), per_block);
                    // SAFETY: the workspace holds all rows and some more.
                    let tile = Tile { a: unsafe { self.rows.add(row * ROW) }, b, b_vector, steps, rows, vectors, next };
                    let (places, bias) = (&places[place..][..rows], bias[block * LANES..].as_ptr());
                    let of_integers = match sweep.operands {
                        Operands::Bf16(_) => None,
                        Operands::Int8 { .. } => {
                            Some([0, sweep.targets].map(|at| of_integers[(at + block) * LANES..].as_ptr()))
                        }
                    };
                    let sink = Outputs { target, places, block: sweep.target.block, bias, of_integers };
                    // SAFETY: as above; the part's targets are this task's.
                    unsafe { tile::run(sweep.operands.products(), ready, &tile, &sink) };
                }
            }
            if last {
                let planes = |image: usize| (0..vectors).map(move |v| image * sweep.targets + block + v);
                self.call.target.complete(images.clone().flat_map(planes));
            }
        }
    }

    /// The targets of each phase, down and across.
    fn runs(&self) -> Vec<Run> {
        let [down, across] = &self.sweep.axes;
        let phases = down.phases.iter().flat_map(|below| across.phases.iter().map(move |beside| [below, beside]));
        let phases = phases.filter(|[below, beside]| {
            let taps = below.taps.len() * beside.taps.len();
            taps > 0 || !self.call.target.accumulates()
        });
        phases.map(|phase| self.phase(phase)).collect()
    }

    fn phase(&self, [below, beside]: [&Phase; 2]) -> Run {
        let (sweep, Part { images, lines }) = (self.sweep, self.part);
        let ([down, across], Map { line, pixel, image, .. }) = (&sweep.axes, sweep.target);
        let pitch = across.pitch();
        let mut steps = Vec::with_capacity(sweep.depths * below.taps.len() * beside.taps.len());
        for depth in 0..sweep.depths {
            for r in &below.taps {
                for s in &beside.taps {
                    let plane = self.plane(r.plane * across.planes + s.plane, depth, 0);
                    let place = (depth * sweep.kernel[0] + r.tap) * sweep.kernel[1] + s.tap;
                    steps.push(Step { a: (plane + r.offset * pitch + s.offset) * ROW, b: place * STEP });
                }
            }
        }

        // An image's last lines may be another phase's alone.
        let count = below.count.clamp(lines.start, lines.end) - lines.start;
        let mut places = Vec::with_capacity(images.len() * count * pitch);
        for index in 0..images.len() {
            for row in 0..count * pitch {
                // Beyond a line's end, what is written there is written over by the next line, which may be the next image's.
                let (line_by, pixel_by) =
                    if row % pitch < beside.count { (row / pitch, row % pitch) } else { (row / pitch + 1, 0) };
                let (index, line_by) = (index + line_by / count, line_by % count);
                let line_by = below.first + (lines.start + line_by) * down.target_step;
                let pixel_by = beside.first + pixel_by * across.target_step;
                places.push(index * image + line_by * line + pixel_by * pixel);
            }
        }

        let (of_image, rows) = (count * pitch, self.plane_rows());
        // Without zeros between them the planes of all images are one, and tiles go from one image to the next.
        let (stretches, len) = if rows == of_image { (1, images.len() * of_image) } else { (images.len(), of_image) };
        let mut tiles = Vec::new();
        for stretch in 0..stretches {
            let most = tile::most_rows(sweep.operands.products());
            let len = len.saturating_sub(pitch - beside.count);
            let parts = len.div_ceil(most);
            for part in 0..parts {
                let (start, mut end) = (len * part / parts, len * (part + 1) / parts);
                // None ends between lines: what is written there has to be written over by the same tile.
                while end > start && (end - 1) % pitch >= beside.count {
                    end -= 1;
                }
                if end > start {
                    tiles.push([stretch * rows + start, stretch * of_image + start, end - start]);
                }
            }
        }
        Run { steps, places, tiles }
    }
}

/// Sums that become outputs.
struct Outputs<'a> {
    /// The strip's first block, of the first image.
    target: Target<'a>,
    places: &'a [usize],
    /// Floats from a block to the next.
    block: usize,
    bias: *const f32,
    /// What is taken from sums that are integers, and what they are multiplied by then.
    of_integers: Option<[*const f32; 2]>,
}

impl Sink for Outputs<'_> {
    #[inline(always)]
    unsafe fn take<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        first: usize,
        mut sums: [[S::V; VECTORS]; ROWS],
    ) {
        // Alone, a row beyond a line's end would add to the next line's, instead of being written over.
        if ROWS == 1 && self.places.get(first + 1) == Some(&self.places[first]) {
            return;
        }
        // SAFETY: each vector has a bias, and offsets and scales if it has integers; each row has a place in the target.
        unsafe {
            if let Some([offsets, scales]) = self.of_integers {
                for v in 0..VECTORS {
                    let (offset, scale) = (S::load(offsets.add(v * LANES)), S::load(scales.add(v * LANES)));
                    for row in 0..ROWS {
                        sums[row][v] = S::mul(S::difference_of_integers(sums[row][v], offset), scale);
                    }
                }
            }
            for v in 0..VECTORS {
                let bias = S::load(self.bias.add(v * LANES));
                for row in 0..ROWS {
                    sums[row][v] = S::add(sums[row][v], bias);
                }
            }
            self.target.write::<S, ROWS, VECTORS>(&self.places[first..first + ROWS], self.block, sums);
        }
    }
}
