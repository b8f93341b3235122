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
//!   apart:     A group is one task, so that a thread reads nothing that another wrote.
//!   together:  There are more threads than groups, which for a large dU are but two. All work on V and D of the same tiles, then
//!              on the group's dU, of which a task has one point of some blocks of K. The bits are the same.
//!   by strips: V and D of all tiles fit a last-level cache, and dU is as large: see [`super::strips`].
//! ```

use super::super::super::{Pass, Shape};
use super::ahead::Ahead;
use super::pack::PAIR;
use super::tiles::{self, Blocks, Planes, Windows};
use super::{gemm, Shared, Winograd};
use crate::executor::Cpu;
use crate::layout::LANES;
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
struct Plan {
    /// Tiles in all, and most at a time.
    all: usize,
    at_once: usize,
    groups: usize,
    /// Floats of V and D of the tiles at a time, and of one dU.
    factors: usize,
    sums: usize,
}

impl Plan {
    /// The tiles of a group.
    fn tiles(&self, group: usize) -> Range<usize> {
        self.all * group / self.groups..self.all * (group + 1) / self.groups
    }
}

/// V and D of some tiles.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    pub(super) v: Planes,
    pub(super) d: Planes,
}

impl Winograd {
    fn weights_plan(&self, n: usize) -> Plan {
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
        Plan { all, at_once, groups, factors, sums }
    }

    fn goes_apart(&self, plan: &Plan) -> bool {
        self.threads <= plan.groups || plan.sums <= SMALL
    }

    /// How many V and D there are at a time.
    fn workspaces(&self, plan: &Plan) -> usize {
        if self.goes_apart(plan) {
            self.threads
        } else {
            1
        }
    }

    /// Floats of V and D of so many tiles.
    pub(super) fn factors_len(&self, tiles: usize) -> usize {
        self.tiling.size.points() * (Planes::plane(self.input, tiles) + Planes::plane(self.output, tiles))
    }

    pub(super) fn weights_scratch(&self, n: usize) -> usize {
        let most = self.images_by_strips();
        let strips = if most > 0 { self.strip_sums_scratch(n.min(most)) } else { 0 };
        if n <= most {
            return strips;
        }
        let plan = self.weights_plan(n);
        // A smaller batch may go by strips.
        (self.workspaces(&plan) * plan.factors + plan.groups * plan.sums).max(strips)
    }

    /// Writes the gradients of the weights.
    pub(in crate::conv2d) fn weights(
        &self,
        cpu: &Cpu,
        shape: &Shape,
        n: usize,
        x: &[f32],
        dy: &[f32],
        scratch: &mut [f32],
        gradients: &mut [f32],
    ) {
        assert!(cpu.pool.threads() <= self.threads, "prepared for {} threads", self.threads);
        let (source, gradients_of) = (self.tiling.source(Pass::WeightGradient), self.tiling.gradients());
        let x = &x[..n * self.input * source.block()];
        let dy = &dy[..n * self.output * gradients_of.block()];
        let (plan, plane) = (self.weights_plan(n), Self::plane(self.ends(Pass::Forward)));
        let work = Work { winograd: self, cpu, x, dy, plane };
        if n <= self.images_by_strips() {
            let (factors, sums) = scratch[..self.weights_scratch(n)].split_at_mut(self.factors_len(plan.all));
            let (factors, sums) = (Shared(factors.as_mut_ptr()), Shared(sums.as_mut_ptr()));
            let factors = || self.factors(factors.start(), plan.all, plan.all);
            work.transform(&(0..plan.all), factors());
            let gradients = Shared(gradients[..shape.weight_len()].as_mut_ptr());
            return self.weights_by_strips(cpu, shape, factors, plan.all, &sums, &gradients);
        }
        let (factors, sums) = scratch[..self.weights_scratch(n)].split_at_mut(self.workspaces(&plan) * plan.factors);
        let (factors, all_sums) = (Shared(factors.as_mut_ptr()), Shared(sums.as_mut_ptr()));
        if self.goes_apart(&plan) {
            work.apart(&plan, &factors, &all_sums);
        } else {
            work.together(&plan, &factors, &all_sums);
        }
        let (gradients, sums) = (Shared(gradients[..shape.weight_len()].as_mut_ptr()), &*sums);
        cpu.pool.run(self.input * self.output, |task| {
            let pair = [task / self.input, task % self.input];
            self.unpack(cpu, shape, pair, &sums[task * PAIR..], plane, plan.groups, &gradients);
        });
    }

    /// Where V and D of `tiles` tiles are, in a workspace for `at_once`.
    pub(super) fn factors(&self, workspace: *mut f32, at_once: usize, tiles: usize) -> Factors {
        let planes = |start, blocks| Planes { start, point: Planes::plane(blocks, at_once), block: tiles * LANES };
        let v = planes(workspace, self.input);
        Factors { v, d: planes(workspace.wrapping_add(self.tiling.size.points() * v.point), self.output) }
    }

    /// dU (+)= Vᵀ · D at one point of the weights, over some tiles, between all blocks of C and some of K.
    pub(super) fn multiply(
        &self,
        cpu: &Cpu,
        factors: Factors,
        weights: usize,
        tiles: usize,
        k: Range<usize>,
        sums: *mut f32,
        mut accumulate: bool,
        mut ahead: [Ahead; 2],
    ) {
        for point in self.tiling.size.points_of(weights) {
            let at = |planes: Planes, block| planes.start.wrapping_add(point * planes.point + block * planes.block);
            let product = gemm::Weights {
                v: at(factors.v, 0),
                v_block: factors.v.block,
                v_blocks: self.input,
                d: at(factors.d, k.start),
                d_block: factors.d.block,
                d_blocks: k.len(),
                tiles,
                u: sums,
                u_block: self.input * PAIR,
                accumulate,
                ahead: std::mem::replace(&mut ahead, [Ahead::NOTHING; 2]),
            };
            gemm::weights(cpu.isa, &product);
            accumulate = true;
        }
    }
}

struct Work<'a> {
    winograd: &'a Winograd,
    cpu: &'a Cpu,
    x: &'a [f32],
    dy: &'a [f32],
    /// Floats of a plane of dU.
    plane: usize,
}

impl Work<'_> {
    fn apart(&self, plan: &Plan, workspaces: &Shared, sums: &Shared) {
        let Winograd { input, output, .. } = *self.winograd;
        self.cpu.pool.run_on(plan.groups, |thread, group| {
            let group_tiles = plan.tiles(group);
            // SAFETY: a thread has a workspace of its own, a group its own dU.
            let (workspace, sums) = unsafe { (workspaces.at(thread * plan.factors), sums.at(group * plan.sums)) };
            for tiles in parts(&group_tiles, plan.at_once) {
                let factors = self.winograd.factors(workspace, plan.at_once, tiles.len());
                self.source(&Blocks { of: input, range: 0..input }, &tiles, factors.v);
                self.gradient(&Blocks { of: output, range: 0..output }, &tiles, factors.d);
                let (points, ahead) = (self.winograd.tiling.size.weights(), self.ahead(&tiles));
                for point in 0..points {
                    let (sums, accumulate) = (sums.wrapping_add(point * self.plane), tiles.start > group_tiles.start);
                    let ahead = ahead.each_ref().map(|map| map.share(point, points));
                    self.winograd.multiply(self.cpu, factors, point, tiles.len(), 0..output, sums, accumulate, ahead);
                }
            }
        });
    }

    fn together(&self, plan: &Plan, workspace: &Shared, sums: &Shared) {
        let Winograd { input, output, .. } = *self.winograd;
        let strips = output.div_ceil(BLOCKS_OF_TASK);
        let parts = (0..plan.groups).flat_map(|group| {
            let tiles = plan.tiles(group);
            parts(&tiles, plan.at_once).map(move |part| (group * plan.sums, part.start > tiles.start, part))
        });
        for (sums_of_group, accumulate, tiles) in parts {
            let factors = || self.winograd.factors(workspace.start(), plan.at_once, tiles.len());
            self.transform(&tiles, factors());
            let (tasks, ahead) = (self.winograd.tiling.size.weights() * strips, self.ahead(&tiles));
            self.cpu.pool.run(tasks, |task| {
                let (point, strip) = (task / strips, task % strips);
                let k = strip * BLOCKS_OF_TASK..((strip + 1) * BLOCKS_OF_TASK).min(output);
                // SAFETY: a point's blocks of K belong to one task.
                let sums = unsafe { sums.at(sums_of_group + point * self.plane + k.start * input * PAIR) };
                let ahead = ahead.each_ref().map(|map| map.share(task, tasks));
                self.winograd.multiply(self.cpu, factors(), point, tiles.len(), k, sums, accumulate, ahead);
            });
        }
    }

    /// What V and D of the next tiles are made of, after some tiles.
    fn ahead(&self, tiles: &Range<usize>) -> [Ahead; 2] {
        let Winograd { input, output, tiling, .. } = self.winograd;
        let (next, pass) = (tiles.end..tiles.end + tiles.len(), Pass::WeightGradient);
        let ahead = |windows: &Windows, map: &[f32], of| {
            Ahead::new(tiling, windows, map.as_ptr(), &Blocks { of, range: 0..of }, &next)
        };
        [ahead(&tiling.source(pass), self.x, *input), ahead(&tiling.gradients(), self.dy, *output)]
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
