//! Forward and input gradient.
//!
//! ```text
//!   a block of tiles, alone with its thread, in a workspace that fits a second-level cache up to some 128 channels:
//!
//!     source ── Bᵀ · B ──▶ V ── point by point, · U ──▶ M ── Aᵀ · A ──▶ target
//!                          └ planes 1 … points          └ planes 0 … points − 1: a point's products go where the
//!                                                         point before, used up, was
//! ```
//!
//! Layers with many weights go another way in training, see [`super::strips`].

use super::super::super::{Pass, Shape};
use super::super::target::Target;
use super::ahead::Ahead;
use super::tiles::{self, Blocks, Planes};
use super::{gemm, Shared, Winograd};
use crate::executor::Cpu;
use crate::layout::LANES;
use std::ops::Range;

/// Most tiles that a thread works on at a time: whole rows of the micro-kernels, and often whole images.
const TILES: usize = 36;

/// One way through the convolution.
pub(in crate::conv2d) struct Way<'a> {
    pub(in crate::conv2d) pass: Pass,
    pub(in crate::conv2d) n: usize,
    pub(in crate::conv2d) source: &'a [f32],
    /// The weights, as they are and packed.
    pub(in crate::conv2d) shape: &'a Shape,
    pub(in crate::conv2d) params: &'a [f32],
    pub(in crate::conv2d) packed: &'a [f32],
    pub(in crate::conv2d::cpu) target: Target<'a>,
}

impl Winograd {
    /// Floats of a workspace's plane.
    fn workspace_plane(&self, pass: Pass, n: usize) -> usize {
        let ends = self.ends(pass);
        Planes::plane(ends.source.max(ends.target), TILES.min(n * self.tiling.per_image()))
    }

    pub(super) fn outputs_scratch(&self, pass: Pass, n: usize) -> usize {
        if self.by_strips(pass) {
            return self.strips_scratch(pass, n);
        }
        self.threads * (self.tiling.size.points() + 1) * self.workspace_plane(pass, n)
    }

    /// Computes every target pixel. The target's bits do not depend on how the tiles are cut into blocks.
    pub(in crate::conv2d) fn outputs(&self, cpu: &Cpu, way: &Way, scratch: &mut [f32]) {
        assert!(cpu.pool.threads() <= self.threads, "prepared for {} threads", self.threads);
        if self.by_strips(way.pass) {
            return self.outputs_by_strips(cpu, way, scratch);
        }
        let (ends, block) = (self.ends(way.pass), self.tiling.source(way.pass).block());
        let plane = self.workspace_plane(way.pass, way.n);
        let scratch = Shared(scratch[..self.outputs_scratch(way.pass, way.n)].as_mut_ptr());
        let work = Work {
            winograd: self,
            cpu,
            pass: way.pass,
            source: &way.source[..way.n * ends.source * block],
            packed: &way.packed[..self.packed_len(way.pass)],
            target: way.target,
            plane,
        };
        let (per_image, threads) = (self.tiling.per_image(), cpu.pool.threads());
        // Whole images, if something is done with them and there are enough of them.
        let whole = way.target.wants_planes() && per_image <= TILES && way.n >= threads;
        let unit = if whole { per_image } else { 1 };
        let units = way.n * per_image / unit;
        // As many pieces for each thread, while there are units enough.
        let pieces = units.div_ceil(TILES / unit).next_multiple_of(threads).min(units);
        cpu.pool.run_on(pieces, |thread, piece| {
            // SAFETY: a thread has a workspace of its own.
            let workspace = unsafe { scratch.at(thread * (self.tiling.size.points() + 1) * plane) };
            let [first, end] = [piece, piece + 1].map(|piece| units * piece / pieces);
            work.run(workspace, first * unit..end * unit);
            if whole {
                way.target.complete(first * ends.target..end * ends.target);
            }
        });
        if !whole {
            cpu.pool.run(way.n * ends.target, |index| way.target.complete([index]));
        }
    }
}

struct Work<'a> {
    winograd: &'a Winograd,
    cpu: &'a Cpu,
    pass: Pass,
    source: &'a [f32],
    packed: &'a [f32],
    target: Target<'a>,
    /// Floats of a workspace's plane.
    plane: usize,
}

impl Work<'_> {
    fn run(&self, workspace: *mut f32, tiles: Range<usize>) {
        let Winograd { tiling, vectors, .. } = self.winograd;
        let (isa, pass, plane) = (self.cpu.isa, self.pass, self.plane);
        let ends = self.winograd.ends(pass);
        let m = Planes { start: workspace, point: plane, block: tiles.len() * LANES };
        let v = Planes { start: workspace.wrapping_add(plane), ..m };
        let [sources, targets] = [ends.source, ends.target].map(|of| Blocks { of, range: 0..of });
        tiles::source(isa, tiling, pass, self.source.as_ptr(), &sources, &tiles, v);

        let next = tiles.end..tiles.end + tiles.len();
        let source = Ahead::new(tiling, &tiling.source(pass), self.source.as_ptr(), &sources, &next);
        let target = Ahead::new(tiling, &tiling.target(pass), self.target.place(0), &targets, &tiles);
        let (points, strips, u_plane) = (tiling.size.points(), ends.target.div_ceil(*vectors), Winograd::plane(ends));
        for point in 0..points {
            let u = &self.packed[tiling.size.weights_of(point) * u_plane..][..u_plane];
            for (strip, first) in (0..ends.target).step_by(*vectors).enumerate() {
                let product = gemm::Output {
                    v: v.start.wrapping_add(point * plane),
                    v_block: v.block,
                    blocks: ends.source,
                    u: u[self.winograd.strip(ends, strip)..].as_ptr(),
                    m: m.start.wrapping_add(point * plane + first * m.block),
                    m_block: m.block,
                    tiles: tiles.len(),
                    ahead: Ahead::share_of([&source, &target], point * strips + strip, points * strips),
                };
                gemm::output(isa, &product, (*vectors).min(ends.target - first));
            }
        }

        let bias = self.packed[tiling.size.weights() * u_plane..].as_ptr();
        tiles::target(isa, tiling, pass, m, &targets, &tiles, bias, self.target);
    }
}
