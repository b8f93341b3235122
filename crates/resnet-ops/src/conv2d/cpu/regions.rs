//! Cuts a map into rectangles of pixels that touch the same kernel taps.

use super::tile::Tap;
use super::{Map, Shape};
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
    pub(super) fn both(shape: &Shape, cut: fn(usize, usize, usize, usize, usize) -> Vec<Self>) -> [Vec<Self>; 2] {
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

    /// Joins neighbours that touch the same kernel places.
    fn group(
        coordinates: impl Iterator<Item = (usize, Vec<(usize, usize)>)>,
        target_step: usize,
        source_step: usize,
    ) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for (coordinate, taps) in coordinates {
            let places = |taps: &[(usize, usize)]| taps.iter().map(|tap| tap.0).collect::<Vec<_>>();
            match runs.last_mut() {
                Some(run) if places(&run.taps) == places(&taps) => run.count += 1,
                _ => runs.push(Self { count: 1, target: (coordinate, target_step), source_step, taps }),
            }
        }
        runs
    }
}

/// Steps along one axis of a region.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) count: usize,
    /// Floats between neighbours in the source.
    pub(super) source: usize,
    /// Floats between neighbours in the target.
    pub(super) target: usize,
}

/// A rectangle of target pixels that touch the same taps.
pub(super) struct Region {
    pub(super) y: Steps,
    pub(super) x: Steps,
    /// The first target pixel, in floats from the start of the channel block.
    target: usize,
    pub(super) taps: Vec<Tap>,
}

impl Region {
    pub(super) fn new(y: &Axis, x: &Axis, source: &Map, target: &Map, taps: Vec<Tap>) -> Self {
        let steps = |axis: &Axis, source: usize, target: usize| Steps {
            count: axis.count,
            source: axis.source_step * source,
            target: axis.target.1 * target,
        };
        let first = y.target.0 * target.line + x.target.0 * target.pixel;
        let (mut y, mut x) = (steps(y, source.line, target.line), steps(x, source.pixel, target.pixel));
        if (y.source, y.target) == (x.count * x.source, x.count * x.target) {
            // Lines without a gap are one line.
            x.count *= std::mem::replace(&mut y.count, 1);
        }
        Self { y, x, target: first, taps }
    }

    /// Its pixels in some images, across, then down, then image by image: where each is in source and target. The source
    /// place is the one that the taps' offsets count from.
    pub(super) fn places(&self, images: Range<usize>, source_image: usize, target_image: usize) -> Places<'_> {
        let mut places =
            Places { region: self, image: images.start, line: 0, pixel: 0, source_image, target_image, next: (0, 0) };
        places.begin_line();
        places
    }
}

/// Goes through a region's pixels without end. (Nested iterators would take a tenth of the time of small tiles.)
pub(super) struct Places<'a> {
    region: &'a Region,
    image: usize,
    line: usize,
    pixel: usize,
    source_image: usize,
    target_image: usize,
    next: (usize, usize),
}

impl Places<'_> {
    fn begin_line(&mut self) {
        let Region { y, target, .. } = self.region;
        self.next.0 = self.image * self.source_image + self.line * y.source;
        self.next.1 = self.image * self.target_image + self.line * y.target + target;
    }
}

impl Iterator for Places<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        let (place, Region { y, x, .. }) = (self.next, self.region);
        self.pixel += 1;
        self.next = (place.0 + x.source, place.1 + x.target);
        if self.pixel == x.count {
            (self.pixel, self.line) = (0, self.line + 1);
            if self.line == y.count {
                (self.line, self.image) = (0, self.image + 1);
            }
            self.begin_line();
        }
        Some(place)
    }
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
