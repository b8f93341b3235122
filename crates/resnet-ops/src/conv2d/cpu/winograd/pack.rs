//! Weights from (out, in, 3, 3) to points, and weight gradients back.
//!
//! ```text
//!   16 of out x 16 of in x 9     transposed                    U: planes, one per point
//!   ┌──────────────┐             ┌──────────────┐
//!   │ 16 rows      │  ────────▶  │ source       │  G · Gᵀ     [strip of targets][source][vector of strip][16 targets]
//!   │ of 144       │  ◀────────  │  tap         │  ──────▶
//!   └──────────────┘             │   16 targets │  ◀──────    dU: planes, one per point
//!    as in the parameters        └──────────────┘  Gᵀ · G     [block of K][block of C][16 sources][16 targets]
//! ```
//!
//! A strip is what a micro-kernel covers, one or two blocks, so that it reads U from first to last. After the planes comes
//! the bias. For the input gradient, source and target are exchanged and the kernel is turned around.

use super::super::super::{Pass, Shape};
use super::form::{both, Form, Four, Line, Three, MOST_SIDE};
use super::tiles::Size;
use super::{Ends, Shared, Winograd};
use crate::executor::Cpu;
use crate::layout::LANES;
use crate::simd::{kernel, Simd};

const SIDE: usize = 3;
const TAPS: usize = SIDE * SIDE;
/// Pairs of channels between two blocks.
pub(super) const PAIR: usize = LANES * LANES;

/// Weights between a pair of blocks.
#[repr(align(64))]
struct Pair([f32; TAPS * PAIR]);

impl Pair {
    fn zeros() -> Self {
        Self([0.0; TAPS * PAIR])
    }
}

/// For each output channel of a pair of blocks, its weights' range in the parameters and in 16 rows of 144.
fn rows(shape: &Shape, output: usize, input: usize) -> impl Iterator<Item = (std::ops::Range<usize>, usize)> {
    let (in_channels, first) = (shape.in_channels, input * LANES);
    let len = LANES.min(in_channels - first) * TAPS;
    let outputs = LANES.min(shape.out_channels - output * LANES);
    (0..outputs).map(move |row| {
        let start = ((output * LANES + row) * in_channels + first) * TAPS;
        (start..start + len, row * LANES * TAPS)
    })
}

impl Winograd {
    /// Floats of a plane of U, or of dU.
    pub(super) fn plane(ends: Ends) -> usize {
        ends.source * ends.target * PAIR + LANES
    }

    /// Floats from the beginning of a plane of U to a strip.
    pub(super) fn strip(&self, ends: Ends, strip: usize) -> usize {
        strip * self.vectors * ends.source * PAIR
    }

    /// Elements that the packed weights of a pass take.
    pub(in crate::conv2d) fn packed_len(&self, pass: Pass) -> usize {
        if pass == Pass::WeightGradient {
            return 0;
        }
        let ends = self.ends(pass);
        self.tiling.size.points() * Self::plane(ends) + ends.target * LANES
    }

    /// Writes the weights that a pass other than the weight gradient reads.
    pub(in crate::conv2d) fn pack(&self, cpu: &Cpu, shape: &Shape, pass: Pass, params: &[f32], packed: &mut [f32]) {
        let ends = self.ends(pass);
        let (weights, bias) =
            packed[..self.packed_len(pass)].split_at_mut(self.tiling.size.points() * Self::plane(ends));
        let given = if pass == Pass::Forward { &params[shape.weight_len()..] } else { &[] };
        bias.fill(0.0);
        bias[..given.len()].copy_from_slice(given);
        let weights = Shared(weights.as_mut_ptr());
        cpu.pool.run(ends.source * ends.target, |task| {
            let (target, source) = (task / ends.source, task % ends.source);
            let turned = pass == Pass::InputGradient;
            let (output, input) = if turned { (source, target) } else { (target, source) };
            let mut given = Pair::zeros();
            for (row, place) in rows(shape, output, input) {
                given.0[place..place + row.len()].copy_from_slice(&params[row]);
            }
            let (strip, vector) = (target / self.vectors, target % self.vectors);
            let vectors = self.vectors.min(ends.target - strip * self.vectors);
            let place = self.strip(ends, strip) + (source * LANES * vectors + vector) * LANES;
            // SAFETY: pairs have places of their own in every plane.
            let start = unsafe { weights.at(place) };
            points(cpu.isa, self.tiling.size, &given, turned, start, Self::plane(ends), vectors * LANES);
        });
    }

    /// Writes the weight gradients between a pair of blocks. `sums` begins with the pair's in the first of `groups` dU,
    /// which lie one behind the other and are added up.
    pub(super) fn unpack(
        &self,
        cpu: &Cpu,
        shape: &Shape,
        [output, input]: [usize; 2],
        sums: &[f32],
        groups: usize,
        gradients: &Shared,
    ) {
        let mut found = Pair::zeros();
        gradient(cpu.isa, self.tiling.size, sums, groups, Self::plane(self.ends(Pass::Forward)), &mut found);
        for (row, place) in rows(shape, output, input) {
            // SAFETY: a pair's gradients belong to one task.
            let target = unsafe { std::slice::from_raw_parts_mut(gradients.at(row.start), row.len()) };
            target.copy_from_slice(&found.0[place..place + row.len()]);
        }
    }
}

kernel! {
    /// G w Gᵀ of a pair's weights, given as rows: to `target`, with so many floats between points and between source
    /// channels.
    fn points<S>(size: Size, given: &Pair, turned: bool, target: *mut f32, point: usize, channel: usize) {
        // SAFETY: pairs are 16 rows of 9 vectors, and the caller's target has room for every point and channel.
        unsafe {
            let mut pair = Pair::zeros();
            for part in 0..TAPS {
                let to = pair.0.as_mut_ptr().add(part * PAIR);
                S::transpose(given.0.as_ptr().add(part * LANES), TAPS * LANES, to, LANES);
            }
            if turned {
                let mut exchanged = Pair::zeros();
                for tap in 0..TAPS {
                    let to = exchanged.0.as_mut_ptr().add((TAPS - 1 - tap) * LANES);
                    S::transpose(pair.0.as_ptr().add(tap * LANES), TAPS * LANES, to, TAPS * LANES);
                }
                pair = exchanged;
            }
            match size {
                Size::Four => points_of::<S, Four>(&pair, target, point, channel),
                Size::Three => points_of::<S, Three>(&pair, target, point, channel),
            }
        }
    }
}

#[inline(always)]
unsafe fn points_of<S: Simd, F: Form>(pair: &Pair, target: *mut f32, point: usize, channel: usize) {
    // SAFETY: see `points`.
    unsafe {
        for source in 0..LANES {
            let column = |j: usize| {
                let mut line: Line<S> = [S::splat(0.0); MOST_SIDE];
                for i in 0..SIDE {
                    line[i] = S::load(pair.0.as_ptr().add((source * TAPS + i * SIDE + j) * LANES));
                }
                line
            };
            let target = target.add(source * channel);
            both::<S, F::Weights>(column, |i, line| {
                for j in 0..F::SIDE {
                    S::store(target.add((i * F::SIDE + j) * point), line[j]);
                }
            });
        }
    }
}

kernel! {
    /// Gᵀ u G of a pair's sums, added up over `groups`, as rows.
    fn gradient<S>(size: Size, sums: &[f32], groups: usize, plane: usize, found: &mut Pair) {
        assert!(sums.len() >= (groups * size.points() - 1) * plane + PAIR);
        // SAFETY: sums as was just checked; pairs are 16 rows of 9 vectors.
        unsafe {
            let mut pair = Pair::zeros();
            match size {
                Size::Four => gradient_of::<S, Four>(sums.as_ptr(), groups, plane, &mut pair),
                Size::Three => gradient_of::<S, Three>(sums.as_ptr(), groups, plane, &mut pair),
            }
            for part in 0..TAPS {
                let to = found.0.as_mut_ptr().add(part * LANES);
                S::transpose(pair.0.as_ptr().add(part * PAIR), LANES, to, TAPS * LANES);
            }
        }
    }
}

#[inline(always)]
unsafe fn gradient_of<S: Simd, F: Form>(sums: *const f32, groups: usize, plane: usize, pair: &mut Pair) {
    let group_len = F::SIDE * F::SIDE * plane;
    // SAFETY: see `gradient`.
    unsafe {
        for source in 0..LANES {
            let column = |j: usize| {
                let mut line: Line<S> = [S::splat(0.0); MOST_SIDE];
                for i in 0..F::SIDE {
                    let first = sums.add((i * F::SIDE + j) * plane + source * LANES);
                    line[i] = S::load(first);
                    for group in 1..groups {
                        line[i] = S::add(line[i], S::load(first.add(group * group_len)));
                    }
                }
                line
            };
            both::<S, F::WeightGradient>(column, |i, line| {
                for j in 0..SIDE {
                    S::store(pair.0.as_mut_ptr().add((source * TAPS + i * SIDE + j) * LANES), line[j]);
                }
            });
        }
    }
}
