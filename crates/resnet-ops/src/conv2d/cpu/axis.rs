//! Which coordinates a convolution joins along one axis.

use crate::conv2d::shape::ConvShape;
use std::ops::Range;

/// A run of target coordinates along one axis that touch the same taps.
pub(super) struct Axis {
    /// How many.
    pub(super) count: usize,
    /// The first target coordinate, and the distance to the next.
    pub(super) target: (usize, usize),
    /// The distance between their source coordinates.
    pub(super) source_step: usize,
    /// Each tap's place in the kernel, with the source coordinate that it meets at the first target coordinate.
    pub(super) taps: Vec<(usize, usize)>,
}

impl Axis {
    /// Runs down and across a convolution's target: `cut` is [`Axis::forward`] or [`Axis::input_gradient`].
    pub(super) fn both(shape: &ConvShape, cut: fn(usize, usize, usize, usize, usize) -> Vec<Self>) -> [Vec<Self>; 2] {
        let output = shape.output();
        [0, 1].map(|i| cut(shape.input[i], output[i], shape.kernel[i], shape.stride[i], shape.padding[i]))
    }

    /// Runs of output coordinates: output o meets inputs o·stride + r − padding.
    pub(super) fn forward(input: usize, output: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Self> {
        let taps = |o: usize| -> Vec<(usize, usize)> {
            let met = |r: usize| (o * stride + r).checked_sub(padding).filter(|&i| i < input).map(|i| (r, i));
            (0..kernel).filter_map(met).collect()
        };
        Self::group((0..output).map(|o| (o, taps(o))), 1, stride)
    }

    /// Runs of input coordinates: input i meets outputs o with o·stride + r − padding = i, so only every stride-th kernel
    /// place counts, and inputs of the same phase go together.
    pub(super) fn input_gradient(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Vec<Self> {
        let taps = |i: usize| -> Vec<(usize, usize)> {
            let met = |r: usize| {
                let distance = (i + padding).checked_sub(r)?;
                (distance % stride == 0 && distance / stride < output).then_some((r, distance / stride))
            };
            (0..kernel).filter_map(met).collect()
        };
        let phase = |phase| Self::group((phase..input).step_by(stride).map(|i| (i, taps(i))), stride, 1);
        (0..stride.min(input)).flat_map(phase).collect()
    }

    /// Joins neighbours that touch the same taps.
    fn group(
        coordinates: impl Iterator<Item = (usize, Vec<(usize, usize)>)>,
        target_step: usize,
        source_step: usize,
    ) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for (coordinate, taps) in coordinates {
            let same =
                |a: &[(usize, usize)], b: &[(usize, usize)]| a.iter().map(|tap| tap.0).eq(b.iter().map(|tap| tap.0));
            match runs.last_mut() {
                Some(run) if same(&run.taps, &taps) => run.count += 1,
                _ => runs.push(Self { count: 1, target: (coordinate, target_step), source_step, taps }),
            }
        }
        runs
    }
}

/// The outputs along an axis whose windows' kernel place `place` meets an input, and the input of the first of them.
pub(super) fn reach(shape: &ConvShape, axis: usize, place: usize) -> Option<(Range<usize>, usize)> {
    let (stride, padding) = (shape.stride[axis], shape.padding[axis]);
    let first = padding.saturating_sub(place).div_ceil(stride);
    let end = (shape.input[axis] + padding).saturating_sub(place).div_ceil(stride).min(shape.output()[axis]);
    (first < end).then(|| (first..end, first * stride + place - padding))
}

#[cfg(test)]
mod tests {
    use super::Axis;

    /// Every pair (target, source, tap) that a convolution joins is in exactly one run, and no other.
    #[test]
    fn runs_cover_the_convolution() {
        for (input, kernel, stride, padding) in
            [(7, 3, 1, 1), (8, 3, 2, 1), (9, 7, 2, 3), (5, 1, 2, 0), (4, 2, 3, 1), (3, 3, 1, 2)]
        {
            let output = (input + 2 * padding - kernel) / stride + 1;
            let mut joined = Vec::new();
            for o in 0..output {
                for r in 0..kernel {
                    let i = o * stride + r;
                    if i >= padding && i - padding < input {
                        joined.push((o, i - padding, r));
                    }
                }
            }
            let spread = |runs: Vec<Axis>, forward: bool| {
                let mut found = Vec::new();
                for run in runs {
                    for k in 0..run.count {
                        let target = run.target.0 + k * run.target.1;
                        for &(r, source) in &run.taps {
                            let source = source + k * run.source_step;
                            found.push(if forward { (target, source, r) } else { (source, target, r) });
                        }
                    }
                }
                found.sort_unstable();
                found
            };
            joined.sort_unstable();
            assert_eq!(spread(Axis::forward(input, output, kernel, stride, padding), true), joined);
            assert_eq!(spread(Axis::input_gradient(input, output, kernel, stride, padding), false), joined);
        }
    }
}
