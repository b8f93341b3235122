//! The definition: an output is the sum of the products of a filter and of the inputs in its window. Every pass takes the filters and
//! windows of a group in turn.

use super::{foreign, Conv2d, ConvShape, Forward, InputGradient, Kernels, WeightGradient};
use crate::element::{add_scaled, dot, Real};
use crate::{GradientTarget, Result};
use std::ops::Range;

/// What a convolution that was prepared for this backend is.
pub(super) fn shape(conv: &Conv2d) -> Result<&ConvShape> {
    match conv.kernels {
        Kernels::Reference => Ok(&conv.shape),
        Kernels::Cpu(_) => foreign(),
        #[cfg(feature = "cuda-kernels")]
        Kernels::Cuda(_) => foreign(),
    }
}

pub(super) fn forward<T: Real>(conv: &Conv2d, call: Forward) -> Result<()> {
    let Forward { n, x, params, y, shortcut, relu, .. } = call;
    let shape = shape(conv)?;
    let (weights, bias) = params.slice::<T>()?.split_at(shape.weight_len());
    let (x, y) = (x.slice::<T>()?, y.slice_mut::<T>()?);
    for windows in groups(shape, n) {
        let inputs = windows.inputs(x);
        for filter in windows.filters() {
            let bias = if shape.bias { bias[filter] } else { T::zero() };
            for (window, inputs) in inputs.chunks_exact(windows.len).enumerate() {
                y[windows.output(filter, window)] = bias + dot(windows.weights(weights, filter), inputs);
            }
        }
    }
    let y = &mut y[..n * shape.out_channels * pixels(shape)];
    if let Some(shortcut) = shortcut {
        y.iter_mut().zip(shortcut.slice::<T>()?).for_each(|(y, &shortcut)| *y += shortcut);
    }
    // Written so that a NaN passes.
    y.iter_mut().filter(|y| relu && **y < T::zero()).for_each(|y| *y = T::zero());
    Ok(())
}

pub(super) fn input_gradient<T: Real>(conv: &Conv2d, call: InputGradient) -> Result<()> {
    let InputGradient { n, dy, params, dx: GradientTarget { buffer: dx, accumulate }, .. } = call;
    let shape = shape(conv)?;
    let weights = params.slice::<T>()?;
    let dy = dy.slice::<T>()?;
    let dx = &mut dx.slice_mut::<T>()?[..n * shape.in_channels * shape.input[0] * shape.input[1]];
    if !accumulate {
        dx.fill(T::zero());
    }
    for windows in groups(shape, n) {
        let mut gradients = windows.zeros::<T>();
        for filter in windows.filters() {
            let weights = windows.weights(weights, filter);
            for (window, gradients) in gradients.chunks_exact_mut(windows.len).enumerate() {
                add_scaled(gradients, dy[windows.output(filter, window)], weights);
            }
        }
        windows.for_each_place(|place, input| dx[input] += gradients[place]);
    }
    Ok(())
}

pub(super) fn weight_gradient<T: Real>(conv: &Conv2d, call: WeightGradient) -> Result<()> {
    let WeightGradient { n, x, dy, grads, skip_bias, .. } = call;
    let shape = shape(conv)?;
    let (x, dy) = (x.slice::<T>()?, dy.slice::<T>()?);
    let (dw, dbias) = grads.into_slice::<T>()?.split_at_mut(shape.weight_len());
    dw.fill(T::zero());
    for windows in groups(shape, n) {
        let inputs = windows.inputs(x);
        for filter in windows.filters() {
            let dw = &mut dw[filter * windows.len..][..windows.len];
            for (window, inputs) in inputs.chunks_exact(windows.len).enumerate() {
                add_scaled(dw, dy[windows.output(filter, window)], inputs);
            }
        }
    }
    if shape.bias {
        dbias.fill(T::zero());
        let planes = if skip_bias { 0 } else { n * shape.out_channels };
        for (plane, dy) in dy.chunks_exact(pixels(shape)).take(planes).enumerate() {
            dbias[plane % shape.out_channels] += dy.iter().copied().sum();
        }
    }
    Ok(())
}

fn pixels(shape: &ConvShape) -> usize {
    let [height, width] = shape.output();
    height * width
}

/// The windows of one group, those of all images and output pixels one after the other.
struct Windows<'a> {
    shape: &'a ConvShape,
    n: usize,
    group: usize,
    /// Inputs of a window, in the order of a filter's weights.
    len: usize,
}

/// Each group's windows on `n` images.
fn groups(shape: &ConvShape, n: usize) -> impl Iterator<Item = Windows<'_>> {
    let len = shape.weight_len() / shape.out_channels;
    (0..shape.groups).map(move |group| Windows { shape, n, group, len })
}

impl Windows<'_> {
    /// The group's filters.
    fn filters(&self) -> Range<usize> {
        let filters = self.shape.out_channels / self.shape.groups;
        self.group * filters..(self.group + 1) * filters
    }

    fn weights<'a, T>(&self, weights: &'a [T], filter: usize) -> &'a [T] {
        &weights[filter * self.len..][..self.len]
    }

    /// The place in y of what a filter makes of a window.
    fn output(&self, filter: usize, window: usize) -> usize {
        let pixels = pixels(self.shape);
        (window / pixels * self.shape.out_channels + filter) * pixels + window % pixels
    }

    /// A zero for each place in a window.
    fn zeros<T: Real>(&self) -> Vec<T> {
        vec![T::zero(); self.n * pixels(self.shape) * self.len]
    }

    /// The inputs in each window, zero on padding.
    fn inputs<T: Real>(&self, x: &[T]) -> Vec<T> {
        let mut inputs = self.zeros();
        self.for_each_place(|place, input| inputs[place] = x[input]);
        inputs
    }

    /// Calls `visit(place, input)` for each place in a window that is not on padding: which it is, and which input is there.
    fn for_each_place(&self, mut visit: impl FnMut(usize, usize)) {
        let ConvShape { in_channels, kernel, stride, padding, groups, input: [height, width], .. } = *self.shape;
        let [out_height, out_width] = self.shape.output();
        let inside = |at: usize, padding: usize, size: usize| at.checked_sub(padding).filter(|&at| at < size);
        let mut place = 0;
        for (image, p) in (0..self.n).flat_map(|image| (0..out_height).map(move |p| (image, p))) {
            for (q, c) in (0..out_width).flat_map(|q| (0..in_channels / groups).map(move |c| (q, c))) {
                let plane = (image * in_channels + self.group * (in_channels / groups) + c) * height * width;
                for r in 0..kernel[0] {
                    let row = inside(p * stride[0] + r, padding[0], height);
                    for s in 0..kernel[1] {
                        let column = inside(q * stride[1] + s, padding[1], width);
                        if let (Some(row), Some(column)) = (row, column) {
                            visit(place, plane + row * width + column);
                        }
                        place += 1;
                    }
                }
            }
        }
    }
}
