//! Forward and input gradient of few tiles, such as one image has: all threads take part in all of them.
//!
//! ```text
//!   all threads:                                source ── Bᵀ · B ──▶ V
//!   a thread, strip by strip of target blocks:  V ── point by point, · U ──▶ M ── Aᵀ · A ──▶ target
//! ```
//!
//! Of layers with many weights U is then most of what is read. A thread reads its strips' alone, each once; where tiles are shared
//! out, each reads all of it.

use super::prefetch::Prefetch;
use super::tiles::{self, Blocks, Planes};
use super::{gemm, Disjoint, Winograd};
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::call::OutputsCall;
use crate::executor::Cpu;

/// Up to how many tiles there are few.
const FEW: usize = 64;
/// Floats of U that each thread may as well read.
const SMALL_WEIGHTS: usize = 512 * 1024;

impl Winograd {
    /// Whether the tiles of `n` images are few, the weights many, and there are strips for all threads.
    pub(super) fn are_few(&self, pass: Pass, n: usize) -> bool {
        let (ends, per_image) = (self.ends(pass), self.tiling.per_image());
        let weights = self.tiling.size.weights() * Self::plane(ends);
        n * per_image <= FEW && weights > SMALL_WEIGHTS && ends.target.div_ceil(self.vectors) >= self.threads
    }

    /// Scratch space for up to `n` images, if their tiles are few.
    pub(super) fn few_scratch(&self, pass: Pass, n: usize) -> usize {
        let tiles = FEW.min(n * self.tiling.per_image());
        let planes = Planes::plane(self.ends(pass).source, tiles) + self.threads * Planes::plane(self.vectors, tiles);
        if self.are_few(pass, 1) {
            self.tiling.size.points() * planes
        } else {
            0
        }
    }

    /// Computes every target pixel of a call whose tiles are few. The bits are those of tiles that are shared out.
    pub(super) fn outputs_of_few(&self, cpu: &Cpu, call: &OutputsCall, scratch: &mut [f32]) {
        let OutputsCall { pass, n, source, packed, target, .. } = *call;
        let (ends, size, vectors) = (self.ends(pass), self.tiling.size, self.vectors);
        let tiles = 0..n * self.tiling.per_image();
        let (v_plane, m_plane) = (Planes::plane(ends.source, tiles.len()), Planes::plane(vectors, tiles.len()));
        let (v, m) = scratch.split_at_mut(size.points() * v_plane);
        let (v, m) = (Disjoint::new(v), Disjoint::new(m));
        let planes = |start: *mut f32, point: usize| Planes { start, point, block: tiles.len() * LANES };
        // SAFETY: tasks write blocks and tiles of their own, and when all are done only read.
        let v = || planes(unsafe { v.at(0) }, v_plane);
        tiles::spread(cpu, ends.source, &tiles, v(), |blocks, tiles, planes| {
            tiles::source(cpu.isa, &self.tiling, pass, source.as_ptr(), blocks, tiles, planes);
        });

        let u_plane = Self::plane(ends);
        let (weights, bias) = packed[..self.packed_len(pass)].split_at(size.weights() * u_plane);
        cpu.pool.run_on(ends.target.div_ceil(vectors), |thread, strip| {
            let targets = strip * vectors..((strip + 1) * vectors).min(ends.target);
            // SAFETY: a thread has a workspace of its own.
            let m = planes(unsafe { m.at(thread * size.points() * m_plane) }, m_plane);
            let (v, blocks) = (v(), Blocks { of: ends.target, range: targets.clone() });
            let ahead = Prefetch::new(&self.tiling, &self.tiling.target(pass), target.place(0), &blocks, &tiles);
            let u = |point: usize| weights[size.weights_of(point) * u_plane + self.strip(ends, strip)..].as_ptr();
            for point in 0..size.points() {
                let product = gemm::OutputProduct {
                    v: v.start.wrapping_add(point * v.point),
                    v_block: v.block,
                    blocks: ends.source,
                    u: u(point),
                    next_u: u((point + 1) % size.points()),
                    m: m.start.wrapping_add(point * m.point),
                    m_block: m.block,
                    tiles: tiles.len(),
                    prefetch: ahead.share(point, size.points()),
                };
                gemm::output(cpu.isa, &product, targets.len());
            }
            tiles::target(cpu.isa, &self.tiling, pass, m, &blocks, &tiles, bias.as_ptr(), target);
            target.complete((0..n).flat_map(|image| targets.clone().map(move |k| image * ends.target + k)));
        });
    }
}
