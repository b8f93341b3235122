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

use super::form::{both, with_form, Form, Line, Size, Transform, MOST_SIDE};
use super::{Disjoint, Ends, Winograd};
use crate::algorithm::Pass;
use crate::blocked::LANES;
use crate::conv2d::cpu::bias::pack_bias;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::{kernel, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

const SIDE: usize = 3;
const TAPS: usize = SIDE * SIDE;
/// Weights between an output channel and a block of input channels.
const ROW: usize = LANES * TAPS;
/// Pairs of channels between two blocks.
pub(super) const PAIR: usize = LANES * LANES;

/// Weights between a pair of blocks.
#[repr(align(64))]
struct PairWeights([f32; TAPS * PAIR]);

impl PairWeights {
    fn zeros() -> Self {
        Self([0.0; TAPS * PAIR])
    }
}

/// The weights between a pair of blocks in the parameters: a row of up to 144 for each of up to 16 output channels.
struct PairRows {
    /// Where the first begins, and from one to the next.
    first: usize,
    pitch: usize,
    count: usize,
    len: usize,
}

impl PairRows {
    fn new(shape: &ConvShape, output: usize, input: usize) -> Self {
        let first_input = input * LANES;
        Self {
            first: (output * LANES * shape.in_channels + first_input) * TAPS,
            pitch: shape.in_channels * TAPS,
            count: LANES.min(shape.out_channels - output * LANES),
            len: LANES.min(shape.in_channels - first_input) * TAPS,
        }
    }

    /// Whether none lacks a channel, so that they can be read and written where they are.
    fn are_whole(&self) -> bool {
        (self.count, self.len) == (LANES, ROW)
    }

    /// The range of each in the parameters, and its place among whole rows.
    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        (0..self.count).map(|row| (self.first + row * self.pitch..self.first + row * self.pitch + self.len, row * ROW))
    }
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
    pub(in crate::conv2d::cpu) fn packed_len(&self, pass: Pass) -> usize {
        if pass == Pass::WeightGradient || self.by_strips(pass) {
            return 0;
        }
        let ends = self.ends(pass);
        self.tiling.size.weights() * Self::plane(ends) + ends.target * LANES
    }

    /// Writes the weights that a pass other than the weight gradient reads.
    pub(in crate::conv2d::cpu) fn pack(&self, cpu: &Cpu, pass: Pass, params: &[f32], packed: &mut [f32]) {
        if self.packed_len(pass) == 0 {
            return;
        }
        let ends = self.ends(pass);
        let (weights, bias) =
            packed[..self.packed_len(pass)].split_at_mut(self.tiling.size.weights() * Self::plane(ends));
        pack_bias(&self.shape, pass, params, bias);
        let weights = Disjoint::new(weights);
        cpu.pool.run(ends.source * ends.target, |task| {
            let (target, source) = (task / ends.source, task % ends.source);
            let (strip, vector) = (target / self.vectors, target % self.vectors);
            let vectors = self.vectors.min(ends.target - strip * self.vectors);
            let place = self.strip(ends, strip) + (source * LANES * vectors + vector) * LANES;
            // SAFETY: pairs have places of their own in every plane.
            let start = unsafe { weights.at(place) };
            self.pack_pair(cpu, pass, params, [target, source], start, Self::plane(ends), vectors);
        });
    }

    /// Writes the weights between a pair of blocks, in a strip of so many vectors, to planes that are `plane` floats apart.
    pub(super) fn pack_pair(
        &self,
        cpu: &Cpu,
        pass: Pass,
        params: &[f32],
        [target, source]: [usize; 2],
        start: *mut f32,
        plane: usize,
        vectors: usize,
    ) {
        let turned = pass == Pass::InputGradient;
        let (output, input) = if turned { (source, target) } else { (target, source) };
        let rows = PairRows::new(&self.shape, output, input);
        let mut filled;
        let given = if rows.are_whole() {
            (&params[rows.first..rows.first + (LANES - 1) * rows.pitch + ROW], rows.pitch)
        } else {
            filled = PairWeights::zeros();
            for (range, place) in rows.ranges() {
                filled.0[place..place + range.len()].copy_from_slice(&params[range]);
            }
            (&filled.0[..], ROW)
        };
        points(cpu.isa, self.tiling.size, given, turned, start, plane, vectors * LANES);
    }

    /// Writes the weight gradients between a pair of blocks. `sums` begins with the pair's in the first of `groups` dU,
    /// which follow one another and are added up.
    pub(super) fn unpack(
        &self,
        cpu: &Cpu,
        [output, input]: [usize; 2],
        sums: &[f32],
        plane: usize,
        groups: usize,
        gradients: &Disjoint,
    ) {
        let rows = PairRows::new(&self.shape, output, input);
        if rows.are_whole() {
            // SAFETY: a pair's gradients belong to one task.
            let target = unsafe { gradients.at(rows.first) };
            gradient(cpu.isa, self.tiling.size, sums, groups, plane, target, rows.pitch);
            return;
        }
        let mut found = PairWeights::zeros();
        gradient(cpu.isa, self.tiling.size, sums, groups, plane, found.0.as_mut_ptr(), ROW);
        for (range, place) in rows.ranges() {
            // SAFETY: as above.
            let target = unsafe { std::slice::from_raw_parts_mut(gradients.at(range.start), range.len()) };
            target.copy_from_slice(&found.0[place..place + range.len()]);
        }
    }
}

kernel! {
    /// G w Gᵀ of a pair's weights, given as 16 rows with so many floats from one to the next: to `target`, with so many floats
    /// between points and between source channels.
    fn points<S>(
        size: Size,
        given: (&[f32], usize),
        turned: bool,
        target: *mut f32,
        point: usize,
        channel: usize,
    ) {
        let (rows, pitch) = given;
        assert!(rows.len() >= (LANES - 1) * pitch + ROW);
        // SAFETY: rows as was just checked; pairs are 16 rows, and the caller's target has room for every point and channel.
        unsafe {
            let mut pair = MaybeUninit::<PairWeights>::uninit();
            let pair = pair.as_mut_ptr().cast::<f32>();
            for part in 0..TAPS {
                S::transpose(rows.as_ptr().add(part * LANES), pitch, pair.add(part * PAIR), LANES);
            }
            let mut exchanged = MaybeUninit::<PairWeights>::uninit();
            let exchanged = exchanged.as_mut_ptr().cast::<f32>();
            if turned {
                for tap in 0..TAPS {
                    let to = exchanged.add((TAPS - 1 - tap) * LANES);
                    S::transpose(pair.add(tap * LANES), ROW, to, ROW);
                }
            }
            let pair = if turned { exchanged } else { pair };
            with_form!(size, F => points_of::<S, <F as Form>::Weights>(pair, target, point, channel));
        }
    }
}

#[inline(always)]
unsafe fn points_of<S: Simd, T: Transform>(pair: *const f32, target: *mut f32, point: usize, channel: usize) {
    // SAFETY: see `points`.
    unsafe {
        for source in 0..LANES {
            let column = |j: usize| {
                let mut line: Line<S> = [S::splat(0.0); MOST_SIDE];
                for i in 0..SIDE {
                    line[i] = S::load(pair.add((source * TAPS + i * SIDE + j) * LANES));
                }
                line
            };
            let target = target.add(source * channel);
            both::<S, T>(column, |i, line| {
                for j in 0..T::TO {
                    S::store(target.add((i * T::TO + j) * point), line[j]);
                }
            });
        }
    }
}

kernel! {
    /// Gᵀ u G of a pair's sums, added up over `groups`: to `target`, 16 rows with so many floats from one to the next.
    fn gradient<S>(size: Size, sums: &[f32], groups: usize, plane: usize, target: *mut f32, pitch: usize) {
        assert!(sums.len() >= (groups * size.weights() - 1) * plane + PAIR);
        // SAFETY: sums as was just checked; the caller's target has 16 rows.
        unsafe {
            let mut pair = MaybeUninit::<PairWeights>::uninit();
            let pair = pair.as_mut_ptr().cast::<f32>();
            with_form!(size, F => gradient_of::<S, <F as Form>::WeightGradient>(sums.as_ptr(), groups, plane, pair));
            for part in 0..TAPS {
                S::transpose(pair.add(part * PAIR), LANES, target.add(part * LANES), pitch);
            }
        }
    }
}

#[inline(always)]
unsafe fn gradient_of<S: Simd, T: Transform>(sums: *const f32, groups: usize, plane: usize, pair: *mut f32) {
    let group_len = T::FROM * T::FROM * plane;
    // SAFETY: see `gradient`.
    unsafe {
        for source in 0..LANES {
            let column = |j: usize| {
                let first = |i: usize| sums.add((i * T::FROM + j) * plane + source * LANES);
                let mut line: Line<S> = [S::splat(0.0); MOST_SIDE];
                for i in 0..T::FROM {
                    line[i] = S::load(first(i));
                }
                for group in 1..groups {
                    for i in 0..T::FROM {
                        line[i] = S::add(line[i], S::load(first(i).add(group * group_len)));
                    }
                }
                line
            };
            both::<S, T>(column, |i, line| {
                for j in 0..SIDE {
                    S::store(pair.add((source * TAPS + i * SIDE + j) * LANES), line[j]);
                }
            });
        }
    }
}
