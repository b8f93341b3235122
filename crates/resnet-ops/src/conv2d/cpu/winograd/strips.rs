//! All three passes of a layer with many weights, in training.
//!
//! Weights change there from step to step, and at points they are as large as a last-level cache, or larger. So their points are
//! worked out where they are used, and never written as a whole; their gradients likewise:
//!
//! ```text
//!   all threads:              x, or dy ─▶ V  of some images          x ─▶ V, dy ─▶ D  of all images
//!   a thread, strip by strip
//!   of two target blocks:     weights ─▶ U,  V · U ─▶ M ─▶ target    Vᵀ · D ─▶ dU ─▶ weight gradients
//! ```

use super::factors::Factors;
use super::pack::PAIR;
use super::prefetch::Prefetch;
use super::tiles::{self, Blocks, Planes};
use super::{gemm, Disjoint, Winograd};
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::bias::pack_bias;
use crate::conv2d::cpu::call::OutputsCall;
use crate::executor::Cpu;
use std::ops::Range;

/// Blocks of targets of a strip: what micro-kernels cover, or twice as much.
const BLOCKS: usize = 2;
/// Floats of U from which on there are strips.
const LARGE_WEIGHTS: usize = 2 << 20;
/// Floats of V that strips are worked out for at a time, in whole images.
const MOST_SOURCE: usize = 2 << 20;
/// Floats of V and D of all images, up to which weight gradients are summed by strips.
const MOST_FACTORS: usize = 5 << 20;

/// How a pass other than the weight gradient is cut.
struct Cut {
    /// Images at a time.
    images: usize,
    /// Floats of a plane of V, of a strip's M and of its U.
    v: usize,
    m: usize,
    u: usize,
    /// Floats of V, and of a thread's M, U and bias.
    source: usize,
    strip: usize,
}

/// Images of a call that are computed at a time, and where.
struct Part<'a> {
    call: &'a OutputsCall<'a>,
    cut: &'a Cut,
    v: &'a Disjoint<'a>,
    strips: &'a Disjoint<'a>,
    images: Range<usize>,
    per_image: usize,
}

impl Part<'_> {
    fn tiles(&self) -> Range<usize> {
        self.images.start * self.per_image..self.images.end * self.per_image
    }

    /// Its V.
    fn planes(&self) -> Planes {
        // SAFETY: tasks write blocks and tiles of their own, and when all are done only read.
        Planes { start: unsafe { self.v.at(0) }, point: self.cut.v, block: self.tiles().len() * LANES }
    }
}

impl Winograd {
    /// Whether weights are brought to points where they are used, so that there is nothing to pack.
    pub(in crate::conv2d::cpu) fn by_strips(&self, pass: Pass) -> bool {
        let weights = self.tiling.size.weights() * Self::plane(self.ends(pass));
        let pays = weights >= LARGE_WEIGHTS && self.source_of_image(pass) <= MOST_SOURCE;
        self.training && (pays || self.always)
    }

    /// Most images whose weight gradients are summed by strips; 0 if none are.
    pub(super) fn images_by_strips(&self) -> usize {
        let image = self.tiling.size.points() * self.tiling.per_image() * (self.input + self.output) * LANES;
        if self.by_strips(Pass::WeightGradient) {
            MOST_FACTORS / image
        } else {
            0
        }
    }

    /// Floats of V of an image.
    fn source_of_image(&self, pass: Pass) -> usize {
        self.tiling.size.points() * self.tiling.per_image() * self.ends(pass).source * LANES
    }

    fn cut(&self, pass: Pass, n: usize) -> Cut {
        let (ends, size, per_image) = (self.ends(pass), self.tiling.size, self.tiling.per_image());
        let images = (MOST_SOURCE / self.source_of_image(pass)).clamp(1, n.max(1));
        let (v, m) = (Planes::plane(ends.source, images * per_image), Planes::plane(BLOCKS, images * per_image));
        let u = Self::strip_plane(ends.source);
        let strip = size.points() * m + size.weights() * u + ends.target * LANES;
        Cut { images, v, m, u, source: size.points() * v, strip }
    }

    /// Floats of a plane of a strip's U, or dU.
    fn strip_plane(source: usize) -> usize {
        BLOCKS * source * PAIR + LANES
    }

    pub(super) fn strips_scratch(&self, pass: Pass, n: usize) -> usize {
        let Cut { source, strip, .. } = self.cut(pass, n);
        source + self.threads * strip
    }

    /// Computes every target pixel of calls of one pass; a strip's U is worked out once for all of them. The bits are those that packed
    /// weights give.
    pub(super) fn outputs_by_strips(&self, cpu: &Cpu, calls: Vec<(OutputsCall, &mut [f32])>) {
        let cuts = calls.into_iter().map(|(call, scratch)| {
            let cut = self.cut(call.pass, call.n);
            let (v, strips) = scratch[..self.strips_scratch(call.pass, call.n)].split_at_mut(cut.source);
            let rounds = call.n.div_ceil(cut.images);
            (call, cut, Disjoint::new(v), Disjoint::new(strips), rounds)
        });
        let cuts: Vec<_> = cuts.collect();
        for round in 0..cuts.iter().map(|&(.., rounds)| rounds).max().unwrap_or_default() {
            let parts = cuts.iter().filter(|&&(.., rounds)| round < rounds).map(|(call, cut, v, strips, _)| {
                let images = round * cut.images..((round + 1) * cut.images).min(call.n);
                Part { call, cut, v, strips, images, per_image: self.tiling.per_image() }
            });
            self.compute_parts(cpu, &parts.collect::<Vec<_>>());
        }
    }

    /// Computes the targets of some images of each of several calls.
    fn compute_parts(&self, cpu: &Cpu, parts: &[Part]) {
        let Some(first) = parts.first() else { return };
        let (pass, ends) = (first.call.pass, self.ends(first.call.pass));
        for part in parts {
            tiles::spread(cpu, ends.source, &part.tiles(), part.planes(), |blocks, tiles, planes| {
                tiles::source(cpu.isa, &self.tiling, pass, part.call.source.as_ptr(), blocks, tiles, planes);
            });
        }
        cpu.pool.run_on(ends.target.div_ceil(BLOCKS), |thread, strip| {
            let targets = strip * BLOCKS..((strip + 1) * BLOCKS).min(ends.target);
            // SAFETY: a thread has a workspace of its own in each call's.
            let workspace = |part: &Part| unsafe { part.strips.at(thread * part.cut.strip) };
            let u = workspace(first).wrapping_add(self.tiling.size.points() * first.cut.m);
            self.pack_strip(cpu, first, u, &targets);
            for part in parts {
                self.compute_strip(cpu, part, workspace(part), u, &targets);
                let ready = part.images.clone().flat_map(|image| targets.clone().map(move |k| image * ends.target + k));
                part.call.target.complete(ready);
            }
        });
    }

    /// What micro-kernels cover: the first of a strip's blocks, and how many.
    fn covered(&self, targets: &Range<usize>) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (vectors, len) = (self.vectors, targets.len());
        (0..len).step_by(vectors).map(move |first| (first, vectors.min(len - first)))
    }

    /// Works out a strip's U, and its bias behind.
    fn pack_strip(&self, cpu: &Cpu, part: &Part, u: *mut f32, targets: &Range<usize>) {
        let OutputsCall { pass, params, .. } = *part.call;
        let (ends, plane) = (self.ends(pass), part.cut.u);
        for (first, vectors) in self.covered(targets) {
            let start = u.wrapping_add(first * ends.source * PAIR);
            for (source, vector) in (0..ends.source).flat_map(|source| (0..vectors).map(move |vector| (source, vector)))
            {
                let pair = [targets.start + first + vector, source];
                let start = start.wrapping_add((source * LANES * vectors + vector) * LANES);
                self.pack_pair(cpu, pass, params, pair, start, plane, vectors);
            }
        }
        let bias = u.wrapping_add(self.tiling.size.weights() * plane);
        // SAFETY: there is room for the bias of all blocks after U.
        pack_bias(&self.shape, pass, params, unsafe { std::slice::from_raw_parts_mut(bias, ends.target * LANES) });
    }

    /// Computes some target blocks of a part.
    fn compute_strip(&self, cpu: &Cpu, part: &Part, workspace: *mut f32, u: *mut f32, targets: &Range<usize>) {
        let (Part { call, cut, .. }, tiles, v) = (part, &part.tiles(), part.planes());
        let (ends, size) = (self.ends(call.pass), self.tiling.size);
        let m = Planes { start: workspace, point: cut.m, block: tiles.len() * LANES };
        let bias = u.wrapping_add(size.weights() * cut.u);
        let (covered, blocks) = (self.covered(targets), Blocks { of: ends.target, range: targets.clone() });
        let target = Prefetch::new(&self.tiling, &self.tiling.target(call.pass), call.target.place(0), &blocks, tiles);
        let products = (0..size.points()).flat_map(|point| covered.clone().map(move |covered| (point, covered)));
        let turns = products.clone().count();
        for (turn, (point, (first, vectors))) in products.enumerate() {
            let product = gemm::OutputProduct {
                v: v.start.wrapping_add(point * v.point),
                v_block: v.block,
                blocks: ends.source,
                u: u.wrapping_add(size.weights_of(point) * cut.u + first * ends.source * PAIR),
                next_u: u.wrapping_add(size.weights_of(point) * cut.u + (first + vectors) * ends.source * PAIR),
                m: m.start.wrapping_add(point * m.point + first * m.block),
                m_block: m.block,
                tiles: tiles.len(),
                prefetch: target.share(turn, turns),
            };
            gemm::output(cpu.isa, &product, vectors);
        }
        tiles::target(cpu.isa, &self.tiling, call.pass, m, &blocks, tiles, bias, call.target);
    }

    pub(super) fn strip_sums_scratch(&self, n: usize) -> usize {
        self.factors_len(n * self.tiling.per_image()) + self.threads * self.strip_sums()
    }

    /// Floats of a strip's dU.
    fn strip_sums(&self) -> usize {
        self.tiling.size.weights() * Self::strip_plane(self.input)
    }

    /// Writes the gradients of the weights; V and D of all tiles are in `factors`.
    pub(super) fn weights_by_strips(
        &self,
        cpu: &Cpu,
        factors: impl Fn() -> Factors + Sync,
        tiles: usize,
        sums: &Disjoint,
        gradients: &Disjoint,
    ) {
        let (plane, len) = (Self::strip_plane(self.input), self.strip_sums());
        cpu.pool.run_on(self.output.div_ceil(BLOCKS), |thread, strip| {
            let k = strip * BLOCKS..((strip + 1) * BLOCKS).min(self.output);
            // SAFETY: a thread has a dU of its own.
            let sums = unsafe { std::slice::from_raw_parts_mut(sums.at(thread * len), len) };
            for point in 0..self.tiling.size.weights() {
                let start = sums[point * plane..].as_mut_ptr();
                self.multiply(cpu, factors(), point, tiles, k.clone(), start, false, [Prefetch::NOTHING; 2]);
            }
            for (index, output) in k.enumerate() {
                for input in 0..self.input {
                    let sums = &sums[(index * self.input + input) * PAIR..];
                    self.unpack(cpu, [output, input], sums, plane, 1, gradients);
                }
            }
        });
    }
}
