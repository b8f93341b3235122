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
//! Few tiles are worked out otherwise, see [`super::few`], and, in training, layers with many weights, see [`super::strips`].

use super::prefetch::Prefetch;
use super::tiles::{self, Blocks, Planes};
use super::{gemm, Disjoint, Winograd};
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::call::OutputsCall;
use crate::conv2d::cpu::target::Target;
use crate::executor::Cpu;
use std::ops::Range;

/// Most tiles that a thread works on at a time: whole rows of the micro-kernels, and often whole images.
const TILES: usize = 36;

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
        let by_tiles = self.threads * (self.tiling.size.points() + 1) * self.workspace_plane(pass, n);
        by_tiles.max(self.few_scratch(pass, n))
    }

    /// Computes every target pixel of calls of one pass, each with its scratch space.
    pub(in crate::conv2d::cpu) fn outputs(&self, cpu: &Cpu, calls: Vec<(OutputsCall, &mut [f32])>) {
        assert!(cpu.pool.threads() <= self.threads, "prepared for {} threads", self.threads);
        if calls.iter().any(|(call, _)| self.by_strips(call.pass)) {
            return self.outputs_by_strips(cpu, calls);
        }
        for (call, scratch) in calls {
            match self.are_few(call.pass, call.n) {
                true => self.outputs_of_few(cpu, &call, scratch),
                false => self.outputs_by_tiles(cpu, &call, scratch),
            }
        }
    }

    /// The target's bits do not depend on how the tiles are cut into blocks.
    fn outputs_by_tiles(&self, cpu: &Cpu, call: &OutputsCall, scratch: &mut [f32]) {
        let (ends, block) = (self.ends(call.pass), self.tiling.source(call.pass).block());
        let plane = self.workspace_plane(call.pass, call.n);
        let scratch = Disjoint::new(&mut scratch[..self.outputs_scratch(call.pass, call.n)]);
        let operands = Operands {
            winograd: self,
            cpu,
            pass: call.pass,
            source: &call.source[..call.n * ends.source * block],
            packed: &call.packed[..self.packed_len(call.pass)],
            target: call.target,
            plane,
        };
        let (per_image, threads) = (self.tiling.per_image(), cpu.pool.threads());
        // Whole images, if something is done with them and there are enough of them.
        let whole = call.target.wants_planes() && per_image <= TILES && call.n >= threads;
        let unit = if whole { per_image } else { 1 };
        let units = call.n * per_image / unit;
        // As many tasks for each thread, while there are units enough.
        let tasks = units.div_ceil(TILES / unit).next_multiple_of(threads).min(units);
        cpu.pool.run_on(tasks, |thread, index| {
            // SAFETY: a thread has a workspace of its own.
            let workspace = unsafe { scratch.at(thread * (self.tiling.size.points() + 1) * plane) };
            let [first, end] = [index, index + 1].map(|index| units * index / tasks);
            operands.run(workspace, first * unit..end * unit);
            if whole {
                call.target.complete(first * ends.target..end * ends.target);
            }
        });
        if !whole {
            cpu.pool.run(call.n * ends.target, |index| call.target.complete([index]));
        }
    }
}

/// What the tasks of a pass have in common: each takes a block of tiles.
struct Operands<'a> {
    winograd: &'a Winograd,
    cpu: &'a Cpu,
    pass: Pass,
    source: &'a [f32],
    packed: &'a [f32],
    target: Target<'a>,
    /// Floats of a workspace's plane.
    plane: usize,
}

impl Operands<'_> {
    fn run(&self, workspace: *mut f32, tiles: Range<usize>) {
        let Winograd { tiling, vectors, .. } = self.winograd;
        let (isa, pass, plane) = (self.cpu.isa, self.pass, self.plane);
        let ends = self.winograd.ends(pass);
        let m = Planes { start: workspace, point: plane, block: tiles.len() * LANES };
        let v = Planes { start: workspace.wrapping_add(plane), ..m };
        let [sources, targets] = [ends.source, ends.target].map(|of| Blocks { of, range: 0..of });
        tiles::source(isa, tiling, pass, self.source.as_ptr(), &sources, &tiles, v);

        let next = tiles.end..tiles.end + tiles.len();
        let source = Prefetch::new(tiling, &tiling.source(pass), self.source.as_ptr(), &sources, &next);
        let target = Prefetch::new(tiling, &tiling.target(pass), self.target.place(0), &targets, &tiles);
        let (points, strips, u_plane) = (tiling.size.points(), ends.target.div_ceil(*vectors), Winograd::plane(ends));
        for point in 0..points {
            let u = &self.packed[tiling.size.weights_of(point) * u_plane..][..u_plane];
            for (strip, first) in (0..ends.target).step_by(*vectors).enumerate() {
                let product = gemm::OutputProduct {
                    v: v.start.wrapping_add(point * plane),
                    v_block: v.block,
                    blocks: ends.source,
                    u: u[self.winograd.strip(ends, strip)..].as_ptr(),
                    next_u: u.as_ptr().wrapping_add(self.winograd.strip(ends, strip + 1)),
                    m: m.start.wrapping_add(point * plane + first * m.block),
                    m_block: m.block,
                    tiles: tiles.len(),
                    prefetch: Prefetch::share_of([&source, &target], point * strips + strip, points * strips),
                };
                gemm::output(isa, &product, (*vectors).min(ends.target - first));
            }
        }

        let bias = self.packed[tiling.size.weights() * u_plane..].as_ptr();
        tiles::target(isa, tiling, pass, m, &targets, &tiles, bias, self.target);
    }
}
