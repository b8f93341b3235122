//! How a sweep is cut into tasks, and what is prefetched meanwhile.
//!
//! ```text
//!   images ─▶ units: a few small images, or a part of a large one      channels ─▶ strips: the blocks that a tile covers
//!
//!   unit by unit                                     strip by strip, where units are small for the weights
//!   ┌ unit 0 ────────────┐┌ unit 1 ──────── …        ┌ strip 0 ──────────┐┌ strip 1 ───────── …
//!   strip 0 │ 1 │ 2 │ …   strip 0 │ 1 │ …            unit 0 │ 1 │ … turn   unit 0 │ 1 │ … turn    then the next units
//!
//!   while a tile is summed up:  the weights of the next strip, and, of 1x1 kernels, pixels of the next unit
//! ```
//!
//! A tile's sums do not depend on any of this.

use super::regions::{Offsets, Part, Region};
use super::tile::{self, Tile, MOST_ROWS, VALUES};
use super::RegionSweep;
use crate::blocked::LANES;
use crate::conv2d::cpu::blocking::{CACHED_IMAGES, CACHED_WEIGHTS, SHARED_SOURCE};
use crate::conv2d::cpu::target::Target;
use crate::executor::Cpu;
use std::ops::Range;

/// Fewest pixels of a part: each reads all weights again.
const FEWEST_PIXELS: usize = 48;

/// Images, or a part of them, that a task works on.
#[derive(Clone)]
struct Unit {
    images: Range<usize>,
    part: Part,
}

impl RegionSweep {
    /// Strips that the blocks of target channels are cut into, as many blocks in each as a tile can cover.
    pub(super) fn strips(&self) -> usize {
        self.spans.len().div_ceil(self.vectors)
    }

    /// The tiles' parts of a strip, as first block and number of blocks: those of one tile must see the same source blocks.
    pub(super) fn strip(&self, strip: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let first = strip * self.vectors;
        let blocks = &self.spans[first..(first + self.vectors).min(self.spans.len())];
        let parts = blocks.chunk_by(|a, b| a == b);
        parts.scan(first, |next, part| Some((std::mem::replace(next, *next + part.len()), part.len())))
    }

    /// Parts that an image is cut into.
    fn parts(&self) -> usize {
        let pixels: usize = self.regions.iter().map(|region| region.y.count * region.x.count).sum();
        self.source.image.div_ceil(CACHED_IMAGES).min(pixels / FEWEST_PIXELS).max(1)
    }

    /// Computes every target pixel of `n` images.
    pub(super) fn run(&self, cpu: &Cpu, n: usize, source: &[f32], packed: &[f32], target: Target) {
        if n == 0 {
            return;
        }
        let source = &source[..n * self.source.image];
        let blocks = self.spans.len();
        let (weights, bias) =
            packed[..blocks * (self.span * self.pair + LANES)].split_at(blocks * self.span * self.pair);

        let chunk = (CACHED_IMAGES / (self.source.image + self.target.image)).max(1);
        let (chunks, strips) = (n.div_ceil(chunk), self.strips());
        // What is done with a plane wants all of it.
        let parts = if target.wants_planes() { 1 } else { self.parts() };
        let (units, unit_len) = (chunks * parts, chunk * self.source.image / parts);
        let unit = |index: usize| {
            let chunk = index / parts;
            let images = n * chunk / chunks..n * (chunk + 1) / chunks;
            Unit { images, part: Part { index: index % parts, of: parts } }
        };
        // Whichever reads less again: the weights for each unit, or a unit for each strip.
        let by_units = weights.len() <= CACHED_WEIGHTS.max(strips * unit_len);
        let turn = if by_units { 1 } else { (SHARED_SOURCE / unit_len).clamp(1, units) };
        cpu.pool.run(units * strips, |task| {
            let first = task / (turn * strips) * turn;
            let (place, turn) = (task - first * strips, turn.min(units - first));
            let (strip, index) = (place / turn, first + place % turn);
            let Unit { images, part } = unit(index);
            let next = (by_units && index + 1 < units).then(|| unit(index + 1));
            for (block, vectors) in self.strip(strip) {
                let task = RegionTask { cpu, sweep: self, source, target, weights, bias, block, vectors };
                task.run(&images, part, by_units, next.clone());
                target.complete(images.clone().flat_map(|image| (0..vectors).map(move |v| image * blocks + block + v)));
            }
        });
    }
}

/// All pixels of a unit for one or two blocks of target channels.
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
    fn run(&self, images: &Range<usize>, part: Part, prefetches: bool, next: Option<Unit>) {
        let sweep = self.sweep;
        let mut weights = self.next_weights(images, part, prefetches);
        for region in &sweep.regions {
            if region.taps.is_empty() && self.target.accumulates() {
                continue;
            }
            let pixels = region.pixels(images, part);
            let tiles = pixels.len().div_ceil(sweep.rows);
            let offsets = |images: &Range<usize>, pixels: &Range<usize>| {
                region.offsets(images.start, pixels.start, &sweep.source, &sweep.target)
            };
            let mut places = offsets(images, &pixels);
            let mut next = next.as_ref().filter(|_| sweep.regions.len() == 1 && region.taps.len() == 1).map(|next| {
                let pixels = region.pixels(&next.images, next.part);
                offsets(&next.images, &pixels)
            });
            for index in 0..tiles {
                let rows = pixels.len() * (index + 1) / tiles - pixels.len() * index / tiles;
                if let Some(next) = &mut next {
                    self.prefetch(next.take(rows));
                }
                self.tile(region, rows, &mut places, &weights);
                weights.advance(self.groups(region));
            }
        }
    }

    /// Times that a tile goes to the next source values.
    fn groups(&self, region: &Region) -> usize {
        let groups: usize = region.taps.iter().map(|tap| tap.depth / VALUES).sum();
        groups * self.sweep.spans[self.block].len()
    }

    /// The weights of the blocks after these, shared out to all tiles.
    fn next_weights(&self, images: &Range<usize>, part: Part, prefetches: bool) -> NextWeights {
        let sweep = self.sweep;
        let of_block = sweep.span * sweep.pair;
        let first = (self.block + self.vectors) % sweep.spans.len();
        let weights = &self.weights[first * of_block..(first + self.vectors).min(sweep.spans.len()) * of_block];
        let groups: usize = sweep
            .regions
            .iter()
            .map(|region| region.pixels(images, part).len().div_ceil(sweep.rows) * self.groups(region))
            .sum();
        let lines = if prefetches { weights.len() / LANES } else { 0 };
        NextWeights { start: weights.as_ptr(), left: lines, at_once: lines.div_ceil(groups.max(1)) }
    }

    /// Prefetches these blocks' share of some pixels' channels.
    fn prefetch(&self, pixels: impl Iterator<Item = (usize, usize)>) {
        let (sweep, all) = (self.sweep, self.sweep.spans.len());
        let span = sweep.spans[self.block].len();
        let share = span * self.block / all..span * (self.block + self.vectors) / all;
        for (pixel, _) in pixels {
            for block in share.clone() {
                tile::prefetch(self.source.as_ptr().wrapping_add(pixel + block * sweep.source.block));
            }
        }
    }

    /// Computes the next `rows` pixels.
    fn tile(&self, region: &Region, rows: usize, places: &mut Offsets, next: &NextWeights) {
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
            next: next.start,
            next_lines: if next.left > 0 { next.at_once } else { 0 },
        };
        for (row, (source, target)) in places.take(rows).enumerate() {
            tile.x[row] = self.source[source + span.start * sweep.source.block..].as_ptr();
            tile.y[row] = target + self.block * sweep.target.block;
        }
        tile::run(self.cpu.isa, &tile, rows, self.vectors);
    }
}

/// Weights that are prefetched, so many lines at once.
struct NextWeights {
    start: *const f32,
    left: usize,
    at_once: usize,
}

impl NextWeights {
    /// Goes on by what a tile has prefetched.
    fn advance(&mut self, groups: usize) {
        let lines = (groups * self.at_once).min(self.left);
        self.start = self.start.wrapping_add(lines * LANES);
        self.left -= lines;
    }
}
