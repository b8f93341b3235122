//! The weight gradient.
//!
//! ```text
//!    x ── Bᵀ · B ──▶ V ─┐
//!                       ├─ point by point, Vᵀ · D, summed over tiles ──▶ dU ── Gᵀ · G ──▶ dw
//!   dy ── A · Aᵀ ──▶ D ─┘
//!
//!   Tiles are cut into a fixed number of groups, each with a dU of its own; these are added in order. A group goes through its
//!   tiles a few at a time:
//!
//!   a workspace per thread:  A group is one task, so that a thread reads nothing that another wrote.
//!   a shared workspace:      There are more threads than groups, which for a large dU are but two. All work on V and D of the
//!                            same tiles, then on the group's dU, of which a task has one point of some blocks of K. The bits
//!                            are the same.
//!   by strips:               V and D of all tiles fit a last-level cache, and dU is as large: see [`super::strips`].
//! ```

use super::factors::Factors;
use super::pack::PAIR;
use super::prefetch::Prefetch;
use super::tiles::{self, Blocks, Planes, Windows};
use super::{Disjoint, Winograd};
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::call::WeightGradient;
use crate::conv2d::cpu::bias::bias_gradients;
use crate::executor::Cpu;
use crate::Result;
use std::ops::Range;

/// Floats up to which a dU is small: most of a second-level cache of 1 MiB.
const SMALL: usize = 208 * 1024;
/// Most groups with a small and with a large dU each, and tiles that a group has at least.
const MOST_GROUPS: usize = 16;
const MOST_LARGE_GROUPS: usize = 2;
const FEWEST_TILES: usize = 144;
/// Tiles that a group with a small dU takes at a time. With a large one it takes so many floats of V and D, or as many as half of
/// dU if that is more, which goes through memory each time.
const TILES: usize = 72;
const FACTORS: usize = 1 << 19;
/// Blocks of K of a task.
const BLOCKS_OF_TASK: usize = 8;

/// How the work is cut: a rule of shape and batch, so that the bits are too.
struct WeightGradientCut {
    /// Tiles in all, and most at a time.
    all: usize,
    at_once: usize,
    groups: usize,
    /// Floats of V and D of the tiles at a time, and of one dU.
    factors: usize,
    sums: usize,
}

impl WeightGradientCut {
    /// The tiles of a group.
    fn tiles(&self, group: usize) -> Range<usize> {
        self.all * group / self.groups..self.all * (group + 1) / self.groups
    }
}

impl Winograd {
    fn weight_gradient_cut(&self, n: usize) -> WeightGradientCut {
        let (all, points) = (n * self.tiling.per_image(), self.tiling.size.points());
        let sums = self.tiling.size.weights() * Self::plane(self.ends(Pass::Forward));
        let (most_groups, most) = if sums <= SMALL {
            (MOST_GROUPS, TILES)
        } else {
            (MOST_LARGE_GROUPS, FACTORS.max(sums / 2) / (points * (self.input + self.output) * LANES))
        };
        let groups = (all / FEWEST_TILES).clamp(1, most_groups);
        let at_once = most.min(all).max(1);
        let factors = self.factors_len(at_once);
        WeightGradientCut { all, at_once, groups, factors, sums }
    }

    /// Whether each thread has a workspace of its own.
    fn has_workspaces(&self, cut: &WeightGradientCut) -> bool {
        self.threads <= cut.groups || cut.sums <= SMALL
    }

    /// How many V and D there are at a time.
    fn workspaces(&self, cut: &WeightGradientCut) -> usize {
        if self.has_workspaces(cut) {
            self.threads
        } else {
            1
        }
    }

    pub(super) fn weights_scratch(&self, n: usize) -> usize {
        let most = self.images_by_strips();
        let strips = if most > 0 { self.strip_sums_scratch(n.min(most)) } else { 0 };
        if n <= most {
            return strips;
        }
        let cut = self.weight_gradient_cut(n);
        // A smaller batch may go by strips.
        (self.workspaces(&cut) * cut.factors + cut.groups * cut.sums).max(strips)
    }

    /// Writes the gradients of weights and bias.
    pub(in crate::conv2d::cpu) fn weight_gradient(&self, cpu: &Cpu, call: WeightGradient) -> Result<()> {
        let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
        let (x, dy, scratch) = (x.slice()?, dy.slice()?, scratch.slice_mut()?);
        let (weights, bias) = grads.into_slice()?.split_at_mut(self.shape.weight_len());
        self.weights(cpu, n, x, dy, scratch, weights);
        bias_gradients(cpu, &self.shape, n, dy, bias, skip_bias);
        Ok(())
    }

    fn weights(&self, cpu: &Cpu, n: usize, x: &[f32], dy: &[f32], scratch: &mut [f32], gradients: &mut [f32]) {
        assert!(cpu.pool.threads() <= self.threads, "prepared for {} threads", self.threads);
        let (source, gradients_of) = (self.tiling.source(Pass::WeightGradient), self.tiling.gradients());
        let x = &x[..n * self.input * source.block()];
        let dy = &dy[..n * self.output * gradients_of.block()];
        let (cut, plane) = (self.weight_gradient_cut(n), Self::plane(self.ends(Pass::Forward)));
        let operands = Operands { winograd: self, cpu, x, dy, plane };
        if n <= self.images_by_strips() {
            let (factors, sums) = scratch[..self.weights_scratch(n)].split_at_mut(self.factors_len(cut.all));
            let (factors, sums) = (Disjoint::new(factors), Disjoint::new(sums));
            // SAFETY: tasks write blocks and tiles of their own, and when all are done only read.
            let factors = || self.factors(unsafe { factors.at(0) }, cut.all, cut.all);
            operands.transform(&(0..cut.all), factors());
            let gradients = Disjoint::new(gradients);
            return self.weights_by_strips(cpu, factors, cut.all, &sums, &gradients);
        }
        let (factors, sums) = scratch[..self.weights_scratch(n)].split_at_mut(self.workspaces(&cut) * cut.factors);
        let (factors, all_sums) = (Disjoint::new(factors), Disjoint::new(sums));
        if self.has_workspaces(&cut) {
            operands.per_thread(&cut, &factors, &all_sums);
        } else {
            operands.shared(&cut, &factors, &all_sums);
        }
        let (gradients, sums) = (Disjoint::new(gradients), &*sums);
        cpu.pool.run(self.input * self.output, |task| {
            let pair = [task / self.input, task % self.input];
            self.unpack(cpu, pair, &sums[task * PAIR..], plane, cut.groups, &gradients);
        });
    }
}

/// What all tasks of a weight gradient read.
struct Operands<'a> {
    winograd: &'a Winograd,
    cpu: &'a Cpu,
    x: &'a [f32],
    dy: &'a [f32],
    /// Floats of a plane of dU.
    plane: usize,
}

impl Operands<'_> {
    fn per_thread(&self, cut: &WeightGradientCut, workspaces: &Disjoint, sums: &Disjoint) {
        let Winograd { input, output, .. } = *self.winograd;
        self.cpu.pool.run_on(cut.groups, |thread, group| {
            let group_tiles = cut.tiles(group);
            // SAFETY: a thread has a workspace of its own, a group its own dU.
            let (workspace, sums) = unsafe { (workspaces.at(thread * cut.factors), sums.at(group * cut.sums)) };
            for tiles in parts(&group_tiles, cut.at_once) {
                let factors = self.winograd.factors(workspace, cut.at_once, tiles.len());
                self.source(&Blocks { of: input, range: 0..input }, &tiles, factors.v);
                self.gradient(&Blocks { of: output, range: 0..output }, &tiles, factors.d);
                let (points, prefetch) = (self.winograd.tiling.size.weights(), self.prefetch(&tiles));
                for point in 0..points {
                    let (sums, accumulate) = (sums.wrapping_add(point * self.plane), tiles.start > group_tiles.start);
                    let prefetch = prefetch.each_ref().map(|map| map.share(point, points));
                    self.winograd.multiply(
                        self.cpu,
                        factors,
                        point,
                        tiles.len(),
                        0..output,
                        sums,
                        accumulate,
                        prefetch,
                    );
                }
            }
        });
    }

    fn shared(&self, cut: &WeightGradientCut, workspace: &Disjoint, sums: &Disjoint) {
        let Winograd { input, output, .. } = *self.winograd;
        let strips = output.div_ceil(BLOCKS_OF_TASK);
        let parts = (0..cut.groups).flat_map(|group| {
            let tiles = cut.tiles(group);
            parts(&tiles, cut.at_once).map(move |part| (group * cut.sums, part.start > tiles.start, part))
        });
        for (sums_of_group, accumulate, tiles) in parts {
            // SAFETY: tasks write blocks and tiles of their own, and when all are done only read.
            let factors = || self.winograd.factors(unsafe { workspace.at(0) }, cut.at_once, tiles.len());
            self.transform(&tiles, factors());
            let (tasks, prefetch) = (self.winograd.tiling.size.weights() * strips, self.prefetch(&tiles));
            self.cpu.pool.run(tasks, |task| {
                let (point, strip) = (task / strips, task % strips);
                let k = strip * BLOCKS_OF_TASK..((strip + 1) * BLOCKS_OF_TASK).min(output);
                // SAFETY: a point's blocks of K belong to one task.
                let sums = unsafe { sums.at(sums_of_group + point * self.plane + k.start * input * PAIR) };
                let prefetch = prefetch.each_ref().map(|map| map.share(task, tasks));
                self.winograd.multiply(self.cpu, factors(), point, tiles.len(), k, sums, accumulate, prefetch);
            });
        }
    }

    /// What V and D of the next tiles are made of, after some tiles.
    fn prefetch(&self, tiles: &Range<usize>) -> [Prefetch; 2] {
        let Winograd { input, output, tiling, .. } = self.winograd;
        let (next, pass) = (tiles.end..tiles.end + tiles.len(), Pass::WeightGradient);
        let prefetch = |windows: &Windows, map: &[f32], of| {
            Prefetch::new(tiling, windows, map.as_ptr(), &Blocks { of, range: 0..of }, &next)
        };
        [prefetch(&tiling.source(pass), self.x, *input), prefetch(&tiling.gradients(), self.dy, *output)]
    }

    /// V and D of some tiles, by all threads.
    fn transform(&self, tiles: &Range<usize>, Factors { v, d }: Factors) {
        let Winograd { input, output, .. } = *self.winograd;
        tiles::spread(self.cpu, input, tiles, v, |c, tiles, v| self.source(c, tiles, v));
        tiles::spread(self.cpu, output, tiles, d, |k, tiles, d| self.gradient(k, tiles, d));
    }

    fn source(&self, c: &Blocks, tiles: &Range<usize>, v: Planes) {
        tiles::source(self.cpu.isa, &self.winograd.tiling, Pass::WeightGradient, self.x.as_ptr(), c, tiles, v);
    }

    fn gradient(&self, k: &Blocks, tiles: &Range<usize>, d: Planes) {
        tiles::gradient(self.cpu.isa, &self.winograd.tiling, self.dy.as_ptr(), k, tiles, d);
    }
}

/// A range in as few parts of at most `most` as will do, of about the same length.
pub(super) fn parts(range: &Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, len) = (range.start, range.len());
    let count = len.div_ceil(most);
    (0..count).map(move |part| start + len * part / count..start + len * (part + 1) / count)
}
