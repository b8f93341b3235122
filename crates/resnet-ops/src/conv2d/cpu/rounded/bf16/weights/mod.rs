//! The gradient of the weights: a product of matrices over all pixels.
//!
//! ```text
//!   some images:   x ─▶ rows of 32 pixels, a row for each channel          A: channels x pixels
//!                 dy ─▶ rows of two pixels, 16 channels each               B: pixels x channels
//!   then:          A · B ─▶ sums of a kernel place, strip by strip         then the next images, onto the same sums
//! ```
//!
//! Pixels are numbered with the zeros between lines and images, alike in both maps, so that a kernel place is a distance between them: B is
//! read that many pixels before A. As its rows are of two pixels, there is a second B, one pixel on, for odd distances. A sum goes over
//! pixels in blocks of fixed size, one after the other, whoever computes it.
//!
//! Where the sums are few, a task does all of it for some images, in its core's cache, with sums of its own that are added up in the end.
//! Where they are many, all threads round, then each has some sums.

mod matrices;

use super::pack::unpack;
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::call::WeightGradient;
use crate::conv2d::cpu::bias::bias_gradients;
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::cpu::map::Map;
use crate::conv2d::cpu::rounded::axis::Axis;
use crate::conv2d::cpu::rounded::prefetch::Ahead;
use crate::conv2d::cpu::rounded::tile::{self, Products, Ready, Sink, Step, Tile, ROW, STEP, VECTORS};
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::Simd;
use crate::{Bf16Products, Result};
use matrices::Matrices;
use std::ops::Range;

/// Words of both matrices for the images of a turn: part of a last-level cache.
const TURN: usize = 1024 * 1024;
/// The same where a task rounds its images alone: part of a second-level cache.
const UNIT: usize = 64 * 1024;
/// Floats of sums up to which that cache holds them, too.
const ALONE: usize = 64 * 1024;
/// Most blocks of images with sums of their own.
const MOST_BLOCKS: usize = 16;
/// Rows of pixels that are summed up at a time: of B they fill half of a first-level cache of 64 KiB.
const BLOCK: usize = 16;
/// Tasks to aim for, so that many threads have something to do.
const TASKS: usize = 32;
/// Most tiles of a task down, which share the pixels of a strip.
const MOST_TILES: usize = 8;

/// What depends on the shape alone.
pub(super) struct WeightSweep {
    shape: ConvShape,
    axes: [Axis; 2],
    x: Map,
    dy: Map,
    /// Blocks of input and output channels.
    inputs: usize,
    outputs: usize,
    /// Places of a line, and of an image.
    pitch: usize,
    image: usize,
    /// Places by which B is ahead of A: the largest distance, made even.
    ahead: usize,
    taps: Vec<Place>,
}

/// A kernel place.
struct Place {
    plane: usize,
    /// Pixels from a gradient to the input that it meets.
    distance: usize,
}

/// How a batch is cut.
struct Cut {
    /// Images that are rounded at a time, or parts of one.
    images: usize,
    parts: usize,
    /// Blocks of images with sums of their own.
    blocks: usize,
    /// Whether a task does both, rounds and multiplies.
    alone: bool,
}

impl WeightSweep {
    pub(super) fn new(shape: &ConvShape) -> Self {
        let axes = [0, 1].map(|axis| Axis::new(shape, Pass::WeightGradient, axis));
        let [down, across] = &axes;
        let (pitch, lines) = (across.pitch(), down.pitch());
        let taps = down.phases[0].taps.iter().flat_map(|r| {
            across.phases[0]
                .taps
                .iter()
                .map(move |s| Place { plane: r.plane * across.planes + s.plane, distance: r.offset * pitch + s.offset })
        });
        let taps: Vec<Place> = taps.collect();
        let furthest = taps.iter().map(|tap| tap.distance).max().unwrap_or_default();
        Self {
            shape: shape.clone(),
            x: Map::blocked(shape.in_channels, shape.input),
            dy: Map::blocked(shape.out_channels, shape.output()),
            inputs: blocked::blocks(shape.in_channels),
            outputs: blocked::blocks(shape.out_channels),
            pitch,
            image: lines * pitch,
            ahead: furthest.next_multiple_of(2),
            taps,
            axes,
        }
    }

    fn planes(&self) -> usize {
        self.axes[0].planes * self.axes[1].planes
    }

    /// How a batch is cut.
    fn cut(&self, n: usize) -> Cut {
        let words = (self.planes() * self.inputs + 2 * self.outputs) * LANES * self.image / 2;
        let alone = self.sums_len() <= ALONE;
        let images = (if alone { UNIT } else { TURN } / words).clamp(1, n.max(1));
        let parts = if alone && images == 1 { words.div_ceil(UNIT).min(self.matrices(1).chunks) } else { 1 };
        let blocks =
            if alone { (4 * ALONE / self.sums_len()).min(MOST_BLOCKS).min(n.div_ceil(images)).max(1) } else { 1 };
        Cut { images, parts, blocks, alone }
    }

    fn sums_len(&self) -> usize {
        self.outputs.next_multiple_of(VECTORS) * self.taps.len() * self.inputs * LANES * LANES
    }

    pub(super) fn scratch_len(&self, threads: usize, n: usize) -> usize {
        let Cut { images, parts, blocks, alone } = self.cut(n);
        let matrices = self.part(&self.matrices(images), parts - 1, parts);
        let workspaces = if alone { threads } else { 1 };
        workspaces * (self.a_len(&matrices) + self.b_len(&matrices)) + blocks * self.sums_len()
    }

    /// Writes the gradients of weights and bias.
    pub(super) fn run(&self, cpu: &Cpu, products: Bf16Products, call: WeightGradient) -> Result<()> {
        let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
        let (x, dy) = (&x.slice::<f32>()?[..n * self.x.image], &dy.slice::<f32>()?[..n * self.dy.image]);
        let scratch = &mut scratch.slice_mut()?[..self.scratch_len(cpu.pool.threads(), n)];
        let (weights, bias) = grads.into_slice()?.split_at_mut(self.shape.weight_len());
        let cut = self.cut(n);
        let (sums, workspaces) = scratch.split_at_mut(cut.blocks * self.sums_len());
        if n == 0 {
            sums.fill(0.0);
        }
        if cut.alone {
            self.by_images(cpu, products, &cut, n, [x, dy], sums, workspaces);
        } else {
            self.by_turns(cpu, products, &cut, n, [x, dy], sums, workspaces);
        }
        let (sums, others) = sums.split_at_mut(self.sums_len());
        if !others.is_empty() {
            cpu.pool.chunks_mut(sums, STEP, |chunk, sums| {
                for other in others.chunks_exact(self.sums_len()) {
                    for (sum, other) in sums.iter_mut().zip(&other[chunk * STEP..]) {
                        *sum += other;
                    }
                }
            });
        }
        unpack(cpu, &self.shape, self.inputs * LANES, sums, weights);
        bias_gradients(cpu, &self.shape, n, dy, bias, skip_bias);
        Ok(())
    }

    /// A task rounds some images after the other, and adds all their products to sums of its own.
    fn by_images(
        &self,
        cpu: &Cpu,
        products: Bf16Products,
        cut: &Cut,
        n: usize,
        [x, dy]: [&[f32]; 2],
        sums: &mut [f32],
        workspaces: &mut [f32],
    ) {
        let whole = self.matrices(cut.images);
        let last = self.part(&whole, cut.parts - 1, cut.parts);
        let (a_len, b_len) = (self.a_len(&last), self.b_len(&last));
        let (places, rest) = (self.places(&whole), self.matrices(n % cut.images));
        let places_of_rest = self.places(&rest);
        let (sums, workspaces) = (Disjoint::new(sums), Disjoint::new(workspaces));
        let units = n.div_ceil(cut.images);
        cpu.pool.run_on(cut.blocks.min(units), |thread, block| {
            // SAFETY: a thread has a workspace of its own, and each task sums.
            let (workspace, sums) = unsafe {
                let start = workspaces.at(thread * (a_len + b_len));
                (std::slice::from_raw_parts_mut(start, a_len + b_len), sums.at(block * self.sums_len()))
            };
            let (a, b) = workspace.split_at_mut(a_len);
            let (ready, first) = (Ready::new(Products::Bf16(products)), units * block / cut.blocks);
            let (strips, tiles) = (self.outputs.div_ceil(VECTORS), self.tiles(products));
            for turn in first * cut.parts..units * (block + 1) / cut.blocks * cut.parts {
                let of = |turn: usize| {
                    let image = turn / cut.parts * cut.images;
                    let (whole, places) =
                        if image + cut.images <= n { (&whole, &places) } else { (&rest, &places_of_rest) };
                    (image, self.part(whole, turn % cut.parts, cut.parts), places)
                };
                let (image, matrices, places) = of(turn);
                let maps = [&x[image * self.x.image..], &dy[image * self.dy.image..]];
                let (into_a, into_b) = (Disjoint::new(a), Disjoint::new(b));
                for block in 0..self.blocks(&matrices) {
                    // SAFETY: the workspace is this thread's.
                    unsafe { self.round(products, &matrices, places, maps, [&into_a, &into_b], block, [0, 1]) };
                }
                let next = if turn + 1 < units * cut.parts {
                    self.stretches(of(turn + 1), [x, dy])
                } else {
                    Default::default()
                };
                // Each tile asks for one of the maps.
                let steps = strips * tiles * self.taps.len() * matrices.chunks / 2;
                let mut ahead = next.map(|stretches| Ahead::new(stretches, steps));
                let (onto, operands) = (turn > first * cut.parts, [&*a, &*b]);
                for strip in 0..strips {
                    let (tiles, taps) = (0..tiles, 0..self.taps.len());
                    // SAFETY: the sums are this task's.
                    unsafe {
                        self.multiply(
                            products, &ready, &matrices, operands, sums, onto, strip, tiles, taps, &mut ahead,
                        );
                    }
                }
            }
        });
    }

    /// All threads round some images, then add their products to the sums, each to some.
    fn by_turns(
        &self,
        cpu: &Cpu,
        products: Bf16Products,
        cut: &Cut,
        n: usize,
        [x, dy]: [&[f32]; 2],
        sums: &mut [f32],
        workspace: &mut [f32],
    ) {
        let (a, b) = workspace.split_at_mut(self.a_len(&self.matrices(cut.images)));
        let sums = Disjoint::new(sums);
        let tiles = self.tiles(products);
        let strips = self.outputs.div_ceil(VECTORS);
        // Tiles and kernel places of a task share the strip's pixels.
        let downs = tiles.div_ceil(MOST_TILES).max(TASKS.div_ceil(strips).min(tiles));
        let parts = TASKS.div_ceil(strips * downs).min(self.taps.len());
        for first in (0..n).step_by(cut.images) {
            let matrices = self.matrices(cut.images.min(n - first));
            let maps = [&x[first * self.x.image..], &dy[first * self.dy.image..]];
            let places = self.places(&matrices);
            let (into_a, into_b) = (Disjoint::new(a), Disjoint::new(b));
            let (blocks, shares) = (self.blocks(&matrices), matrices.chunks.div_ceil(BLOCK));
            cpu.pool.run(shares * blocks, |task| {
                let share = [task / blocks, shares];
                // SAFETY: each task has rows of its own.
                unsafe { self.round(products, &matrices, &places, maps, [&into_a, &into_b], task % blocks, share) };
            });
            let operands = [&*a, &*b];
            cpu.pool.run(strips * downs * parts, |task| {
                let (strip, down, part) = (task / (downs * parts), task / parts % downs, task % parts);
                let rows = tiles * down / downs..tiles * (down + 1) / downs;
                let taps = self.taps.len() * part / parts..self.taps.len() * (part + 1) / parts;
                let ready = Ready::new(Products::Bf16(products));
                // SAFETY: each task has sums of its own.
                unsafe {
                    let mut none = [(); 2].map(|()| Ahead::new(Vec::new(), 0));
                    self.multiply(
                        products,
                        &ready,
                        &matrices,
                        operands,
                        sums.at(0),
                        first > 0,
                        strip,
                        rows,
                        taps,
                        &mut none,
                    );
                }
            });
        }
    }

    /// Tiles down.
    fn tiles(&self, products: Bf16Products) -> usize {
        (self.inputs * LANES).div_ceil(tile::most_rows(Products::Bf16(products)))
    }

    /// Adds products of both matrices, of a strip, some tiles and kernel places, to their sums, or writes them.
    unsafe fn multiply(
        &self,
        products: Bf16Products,
        ready: &Ready,
        matrices: &Matrices,
        [a, b]: [&[f32]; 2],
        sums: *mut f32,
        onto: bool,
        strip: usize,
        tiles: Range<usize>,
        taps: Range<usize>,
        ahead: &mut [Ahead; 2],
    ) {
        let (rows, channels, all) = (self.inputs * LANES, self.planes() * self.inputs * LANES, self.tiles(products));
        let Matrices { chunks, pairs, .. } = *matrices;
        let (block, vector) = (strip * VECTORS, self.taps.len() * rows * LANES);
        let vectors = VECTORS.min(self.outputs - block);
        let mut steps = Vec::with_capacity(BLOCK);
        // Tiles ask for the one map and the other by turns, also where a strip has an odd number of them.
        let mut turn = strip;
        for first in (0..chunks).step_by(BLOCK) {
            for tap in taps.clone() {
                let Place { plane, distance } = self.taps[tap];
                // Rows of B begin `ahead` pixels before A, those of the second B one pixel earlier.
                let (shift, before) = (distance % 2, (self.ahead + distance % 2 - distance) / 2);
                steps.clear();
                steps.extend(
                    (first..(first + BLOCK).min(chunks)).map(|chunk| Step {
                        a: (chunk * channels + plane * rows) * ROW,
                        b: chunk * STEP + before * ROW,
                    }),
                );
                let (b, b_vector) = (b[(shift * self.outputs + block) * pairs * ROW..].as_ptr(), pairs * ROW);
                for index in tiles.clone() {
                    let next = ahead[turn % 2].share(steps.len());
                    turn += 1;
                    let (start, end) = (rows * index / all, rows * (index + 1) / all);
                    let (a, rows_of_tile) = (a[start * ROW..].as_ptr(), end - start);
                    let tile = Tile { a, b, b_vector, steps: &steps, rows: rows_of_tile, vectors, next };
                    let place = sums.wrapping_add(block * vector + (tap * rows + start) * LANES);
                    let sink = Sums { place, vector, onto: onto || first > 0 };
                    // SAFETY: the matrices hold all chunks and, behind A, some more rows; the sums are granted.
                    unsafe { tile::run(Products::Bf16(products), ready, &tile, &sink) };
                }
            }
        }
    }
}

/// Sums that are kept, or added to what is there.
struct Sums {
    place: *mut f32,
    /// Floats from a block of columns to the next.
    vector: usize,
    onto: bool,
}

impl Sink for Sums {
    #[inline(always)]
    unsafe fn take<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        first: usize,
        mut sums: [[S::V; VECTORS]; ROWS],
    ) {
        // SAFETY: there is a place for each row and vector.
        unsafe {
            if self.onto {
                for row in 0..ROWS {
                    for v in 0..VECTORS {
                        let place = self.place.add(v * self.vector + (first + row) * LANES);
                        sums[row][v] = S::add(S::load(place), sums[row][v]);
                    }
                }
            }
            for row in 0..ROWS {
                for v in 0..VECTORS {
                    S::store(self.place.add(v * self.vector + (first + row) * LANES), sums[row][v]);
                }
            }
        }
    }
}
