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

use super::axis::Axis;
use super::pack::unpack;
use super::round::{self, NOWHERE, ROW};
use super::tile::{self, Ready, Sink, Step, Tile, SLACK, STEP, VECTORS};
use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::call::WeightGradient;
use crate::conv2d::cpu::bias::bias_gradients;
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::cpu::map::Map;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::Simd;
use crate::{Bf16Products, Result};

/// Pixels of a row of A.
const PIXELS: usize = 2 * ROW;
/// Words of both matrices for the images of a turn: part of a last-level cache.
const TURN: usize = 1024 * 1024;
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

/// The matrices of a turn.
struct Matrices {
    /// Rows of A for each channel, and of B for each block.
    chunks: usize,
    pairs: usize,
    /// Whether there is a B for odd distances.
    odd: bool,
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

    /// Images of a turn, of `n`.
    fn turn(&self, n: usize) -> usize {
        let channels = self.planes() * self.inputs + 2 * self.outputs;
        (TURN / (channels * LANES * self.image / 2)).clamp(1, n.max(1))
    }

    fn matrices(&self, images: usize) -> Matrices {
        let chunks = (images * self.image + self.ahead).div_ceil(PIXELS);
        let odd = self.taps.iter().any(|tap| tap.distance % 2 == 1);
        Matrices { chunks, pairs: chunks * ROW + self.ahead / 2, odd }
    }

    fn a_len(&self, matrices: &Matrices) -> usize {
        (matrices.chunks * self.planes() * self.inputs * LANES + SLACK) * ROW
    }

    fn b_len(&self, matrices: &Matrices) -> usize {
        (1 + usize::from(matrices.odd)) * self.outputs * matrices.pairs * ROW
    }

    fn sums_len(&self) -> usize {
        self.outputs.next_multiple_of(VECTORS) * self.taps.len() * self.inputs * LANES * LANES
    }

    pub(super) fn scratch_len(&self, n: usize) -> usize {
        let matrices = self.matrices(self.turn(n));
        self.a_len(&matrices) + self.b_len(&matrices) + self.sums_len()
    }

    /// Writes the gradients of weights and bias.
    pub(super) fn run(&self, cpu: &Cpu, products: Bf16Products, call: WeightGradient) -> Result<()> {
        let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
        let (x, dy) = (&x.slice::<f32>()?[..n * self.x.image], &dy.slice::<f32>()?[..n * self.dy.image]);
        let scratch = &mut scratch.slice_mut()?[..self.scratch_len(n)];
        let (weights, bias) = grads.into_slice()?.split_at_mut(self.shape.weight_len());
        let turn = self.turn(n);
        let all = self.matrices(turn);
        let (a, rest) = scratch.split_at_mut(self.a_len(&all));
        let (b, sums) = rest.split_at_mut(self.b_len(&all));
        if n == 0 {
            sums.fill(0.0);
        }
        for first in (0..n).step_by(turn) {
            let images = turn.min(n - first);
            let matrices = self.matrices(images);
            let (x, dy) = (&x[first * self.x.image..], &dy[first * self.dy.image..]);
            self.round(cpu, products, images, &matrices, [x, dy], [&mut *a, &mut *b]);
            self.multiply(cpu, products, &matrices, [&*a, &*b], sums, first > 0);
        }
        unpack(cpu, &self.shape, self.inputs * LANES, sums, weights);
        bias_gradients(cpu, &self.shape, n, dy, bias, skip_bias);
        Ok(())
    }

    /// Writes both matrices.
    fn round(
        &self,
        cpu: &Cpu,
        products: Bf16Products,
        images: usize,
        matrices: &Matrices,
        [x, dy]: [&[f32]; 2],
        [a, b]: [&mut [f32]; 2],
    ) {
        let Matrices { chunks, pairs, odd } = *matrices;
        let of_x: Vec<_> = (0..self.planes()).map(|plane| self.x_places(plane, images, chunks * PIXELS)).collect();
        let of_dy = self.dy_places(images, 2 * pairs + 1);
        let channels = self.planes() * self.inputs * LANES;
        let (a, b) = (Disjoint::new(a), Disjoint::new(b));
        // A task is some chunks of A, or as many pixels of a block of B.
        let turns = chunks.div_ceil(BLOCK);
        let (blocks_of_a, blocks_of_b) = (self.planes() * self.inputs, (1 + usize::from(odd)) * self.outputs);
        cpu.pool.run(turns * (blocks_of_a + blocks_of_b), |task| {
            let (turn, block) = (task / (blocks_of_a + blocks_of_b), task % (blocks_of_a + blocks_of_b));
            if let Some(block) = block.checked_sub(blocks_of_a) {
                let (shift, block) = (block / self.outputs, block % self.outputs);
                let (first, end) = (pairs * turn / turns, pairs * (turn + 1) / turns);
                let places = &of_dy[2 * first + 1 - shift..][..2 * (end - first)];
                // SAFETY: each task has rows of its own, and each place is a pixel's.
                unsafe {
                    let rows = b.at(((shift * self.outputs + block) * pairs + first) * ROW);
                    round::pairs(products, dy[block * self.dy.block..].as_ptr(), places, rows);
                }
                return;
            }
            let (plane, block) = (block / self.inputs, block % self.inputs);
            for chunk in turn * BLOCK..((turn + 1) * BLOCK).min(chunks) {
                let places = &of_x[plane][chunk * PIXELS..][..PIXELS];
                // SAFETY: as above.
                unsafe {
                    let rows = a.at((chunk * channels + (plane * self.inputs + block) * LANES) * ROW);
                    round::channels(products, x[block * self.x.block..].as_ptr(), places, rows);
                }
            }
        });
    }

    /// Where in x, counted from a block's first pixel of the first image, each of `len` places of a plane is.
    fn x_places(&self, plane: usize, images: usize, len: usize) -> Vec<usize> {
        let [down, across] = &self.axes;
        let (line_plane, pixel_plane) = (plane / across.planes, plane % across.planes);
        let mut places = vec![NOWHERE; len];
        for image in 0..images {
            for line in 0..down.stored(line_plane) {
                let first = image * self.image + (down.lead + line) * self.pitch + across.lead;
                let start = image * self.x.image + (line_plane + line * down.step) * self.x.line;
                for pixel in 0..across.stored(pixel_plane) {
                    places[first + pixel] = start + (pixel_plane + pixel * across.step) * self.x.pixel;
                }
            }
        }
        places
    }

    /// Where in dy each place is, from one before the first on.
    fn dy_places(&self, images: usize, len: usize) -> Vec<usize> {
        let [height, width] = self.shape.output();
        let mut places = vec![NOWHERE; len];
        for image in 0..images {
            for line in 0..height {
                let first = 1 + self.ahead + image * self.image + line * self.pitch;
                let start = image * self.dy.image + line * self.dy.line;
                for pixel in 0..width {
                    places[first + pixel] = start + pixel * self.dy.pixel;
                }
            }
        }
        places
    }

    /// Adds the products of both matrices to the sums, or writes them.
    fn multiply(
        &self,
        cpu: &Cpu,
        products: Bf16Products,
        matrices: &Matrices,
        [a, b]: [&[f32]; 2],
        sums: &mut [f32],
        onto: bool,
    ) {
        let (rows, channels, taps) = (self.inputs * LANES, self.planes() * self.inputs * LANES, self.taps.len());
        let Matrices { chunks, pairs, .. } = *matrices;
        let tiles = rows.div_ceil(tile::most_rows(products));
        let strips = self.outputs.div_ceil(VECTORS);
        // Tiles and kernel places of a task share the strip's pixels.
        let downs = tiles.div_ceil(MOST_TILES).max(TASKS.div_ceil(strips).min(tiles));
        let turns = TASKS.div_ceil(strips * downs).min(taps);
        let sums = Disjoint::new(sums);
        cpu.pool.run(strips * downs * turns, |task| {
            let (strip, down, turn) = (task / (downs * turns), task / turns % downs, task % turns);
            let (block, ready) = (strip * VECTORS, Ready::new(products));
            let vectors = VECTORS.min(self.outputs - block);
            let mut steps = Vec::with_capacity(BLOCK);
            for first in (0..chunks).step_by(BLOCK) {
                for tap in taps * turn / turns..taps * (turn + 1) / turns {
                    let Place { plane, distance } = self.taps[tap];
                    // Rows of B begin `ahead` pixels before A, those of the second B one pixel earlier.
                    let (shift, before) = (distance % 2, (self.ahead + distance % 2 - distance) / 2);
                    steps.clear();
                    steps.extend((first..(first + BLOCK).min(chunks)).map(|chunk| Step {
                        a: (chunk * channels + plane * rows) * ROW,
                        b: chunk * STEP + before * ROW,
                    }));
                    for index in tiles * down / downs..tiles * (down + 1) / downs {
                        let (start, end) = (rows * index / tiles, rows * (index + 1) / tiles);
                        let (b, b_vector) = (b[(shift * self.outputs + block) * pairs * ROW..].as_ptr(), pairs * ROW);
                        let (a, rows_of_tile) = (a[start * ROW..].as_ptr(), end - start);
                        let tile = Tile { a, b, b_vector, steps: &steps, rows: rows_of_tile, vectors };
                        let vector = taps * rows * LANES;
                        // SAFETY: the task has these sums for itself.
                        let place = unsafe { sums.at(block * vector + (tap * rows + start) * LANES) };
                        let sink = Sums { place, vector, onto: onto || first > 0 };
                        // SAFETY: the matrices hold all chunks and, behind A, some more rows.
                        unsafe { tile::run(products, &ready, &tile, &sink) };
                    }
                }
            }
        });
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
