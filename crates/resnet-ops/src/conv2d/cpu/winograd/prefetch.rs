//! Lines of activations that are prefetched while products keep a core busy, so that transforms need not wait for them.
//!
//! ```text
//!   a thread:   transforms of tiles t │ products of tiles t          │ transforms of their results │ tiles t + 1 …
//!   meanwhile:                        │ source of t + 1, target of t │
//! ```

use super::tiles::{Blocks, Tiling, Windows};
use crate::blocked::LANES;
use crate::simd::Simd;
use std::ops::Range;

/// What is to be prefetched: some lines of equal runs, such as planes.
#[derive(Clone)]
pub(super) struct Prefetch {
    /// Where the first run begins, floats from one to the next, and lines of each.
    start: *const f32,
    pitch: usize,
    run: usize,
    /// Which lines, counted through all runs.
    lines: Range<usize>,
}

// SAFETY: nothing is read or written through the pointer.
unsafe impl Sync for Prefetch {}

impl Prefetch {
    pub(super) const NOTHING: Self = Self { start: std::ptr::null(), pitch: 0, run: 0, lines: 0..0 };

    /// Roughly the pixels that some tiles cover in some blocks of a map: the whole images that begin in the tiles, or, within one
    /// image, the tiles' share of it. May lie beyond the map's end.
    pub(super) fn new(
        tiling: &Tiling,
        windows: &Windows,
        map: *const f32,
        blocks: &Blocks,
        tiles: &Range<usize>,
    ) -> Self {
        let (per_image, plane, count) = (tiling.per_image(), windows.block(), blocks.range.len());
        let [first, end] = [tiles.start, tiles.end].map(|tile| tile / per_image);
        let start = map.wrapping_add((first * blocks.of + blocks.range.start) * plane);
        if end > first {
            let run = count * plane / LANES;
            return Self { start, pitch: blocks.of * plane, run, lines: 0..run * (end - first) };
        }
        let [from, to] = [tiles.start, tiles.end].map(|tile| tile % per_image * plane / LANES / per_image);
        let run = to - from;
        Self { start: start.wrapping_add(from * LANES), pitch: plane, run, lines: 0..run * count }
    }

    /// One of `of` shares of two, of which the second comes in the second half.
    pub(super) fn share_of([first, second]: [&Self; 2], index: usize, of: usize) -> Self {
        let half = of / 2;
        if index < half {
            first.share(index, half)
        } else {
            second.share(index - half, of - half)
        }
    }

    /// One of `of` shares.
    pub(super) fn share(&self, index: usize, of: usize) -> Self {
        let Range { start: first, end } = self.lines;
        let [first, end] = [index, index + 1].map(|index| first + (end - first) * index / of);
        Self { lines: first..end, ..*self }
    }

    /// Prefetches all of it.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&self) {
        let Range { start: mut line, end } = self.lines;
        while line < end {
            let (run, place) = (line / self.run, line % self.run);
            let count = (end - line).min(self.run - place);
            let start = self.start.wrapping_add(run * self.pitch + place * LANES);
            for line in 0..count {
                S::prefetch(start.wrapping_add(line * LANES));
            }
            line += count;
        }
    }
}
