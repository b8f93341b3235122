//! How the columns of a line meet the taps of a kernel row.

use crate::conv2d::shape::ConvShape;
use std::ops::Range;

/// Every `step`-th column of a target line: those that meet the same taps.
pub(super) struct Columns {
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    pub(super) runs: Vec<TapRun>,
}

/// Taps that meet neighbours among every `step`-th column of a source line: target number t meets, with tap number i, the
/// source column `first` + (t + i)·`step`.
pub(super) struct TapRun {
    /// Place of tap number 0 in the kernel row, and places from each tap to the next.
    pub(super) tap: usize,
    pub(super) tap_step: isize,
    pub(super) taps: usize,
    /// Beyond the line if it is on padding.
    pub(super) first: isize,
    pub(super) step: usize,
    /// The numbers of the source columns that are inside the line.
    pub(super) inside: Range<usize>,
}

impl Columns {
    /// Output q meets input q·stride + s − padding: taps of one remainder modulo the stride meet the same inputs.
    pub(super) fn forward(shape: &ConvShape) -> Vec<Self> {
        let (kernel, stride, padding) = (shape.kernel[1], shape.stride[1], shape.padding[1]);
        let run = |tap: usize| {
            let first = tap as isize - padding as isize;
            let taps = (kernel - tap).div_ceil(stride);
            TapRun::new(tap, stride as isize, taps, first, stride, shape.input[1])
        };
        let runs = (0..stride.min(kernel)).map(run).collect();
        vec![Self { first: 0, step: 1, count: shape.output()[1], runs }]
    }

    /// Input i meets output (i + padding − s) / stride where that is whole: one set of columns for each remainder of i, and
    /// outputs ascend as taps descend.
    pub(super) fn input_gradient(shape: &ConvShape) -> Vec<Self> {
        let (kernel, stride, padding) = (shape.kernel[1], shape.stride[1], shape.padding[1]);
        let columns = |first: usize| {
            let remainder = (first + padding) % stride;
            let run = (remainder < kernel).then(|| {
                let tap = remainder + (kernel - 1 - remainder) / stride * stride;
                let output = ((first + padding) as isize - tap as isize) / stride as isize;
                TapRun::new(tap, -(stride as isize), tap / stride + 1, output, 1, shape.output()[1])
            });
            let count = (shape.input[1] - first).div_ceil(stride);
            Self { first, step: stride, count, runs: run.into_iter().collect() }
        };
        (0..stride.min(shape.input[1])).map(columns).collect()
    }
}

impl TapRun {
    fn new(tap: usize, tap_step: isize, taps: usize, first: isize, step: usize, width: usize) -> Self {
        let start = (-first).max(0) as usize;
        let inside = start.div_ceil(step)..(width as isize - first).max(0).unsigned_abs().div_ceil(step);
        Self { tap, tap_step, taps, first, step, inside }
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;
    use crate::conv2d::shape::ConvShape;

    /// Every triple (output, input, tap) of a kernel row is met once, and no other; where a tile does not look, no column
    /// is outside.
    #[test]
    fn runs_cover_the_row() {
        for (kernel, padding) in [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)] {
            for stride in 1..5 {
                for width in 3..10 {
                    let shape = ConvShape {
                        in_channels: 1,
                        out_channels: 1,
                        kernel: [1, kernel],
                        stride: [1, stride],
                        padding: [0, padding],
                        groups: 1,
                        bias: false,
                        input: [1, width],
                        plain_input: false,
                    };
                    let mut joined = Vec::new();
                    for output in 0..shape.output()[1] {
                        for tap in 0..kernel {
                            if let Some(input) = (output * stride + tap).checked_sub(padding).filter(|&i| i < width) {
                                joined.push((output, input, tap));
                            }
                        }
                    }
                    let spread = |sets: Vec<Columns>, forward: bool| {
                        let mut found = Vec::new();
                        for columns in &sets {
                            for run in &columns.runs {
                                for target in 0..columns.count {
                                    for i in 0..run.taps {
                                        let number = target + i;
                                        if !run.inside.contains(&number) {
                                            let edge = super::super::WIDEST - 1;
                                            assert!(number < edge || number + edge >= columns.count + run.taps - 1);
                                            continue;
                                        }
                                        let source = (run.first + (number * run.step) as isize) as usize;
                                        let target = columns.first + target * columns.step;
                                        let tap = (run.tap as isize + i as isize * run.tap_step) as usize;
                                        found.push(if forward { (target, source, tap) } else { (source, target, tap) });
                                    }
                                }
                            }
                        }
                        found.sort_unstable();
                        found
                    };
                    joined.sort_unstable();
                    assert_eq!(spread(Columns::forward(&shape), true), joined, "{shape:?}");
                    assert_eq!(spread(Columns::input_gradient(&shape), false), joined, "{shape:?}");
                }
            }
        }
    }
}
