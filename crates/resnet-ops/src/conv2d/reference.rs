//! The definition: every pass walks the same triples of weight, output and input, and fills in the one it is after.

use super::{foreign, Conv2d, ConvShape, Forward, InputGradient, Kernels, WeightGradient};
use crate::element::Real;
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
    for (plane, values) in y.chunks_exact_mut(pixels(shape)).take(n * shape.out_channels).enumerate() {
        values.fill(if shape.bias { bias[plane % shape.out_channels] } else { T::zero() });
    }
    for_each_row(shape, n, |weight, outputs, input| {
        let w = weights[weight];
        for (y, &x) in y[outputs].iter_mut().zip(x[input..].iter().step_by(shape.stride[1])) {
            *y += w * x;
        }
    });
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
    for_each_row(shape, n, |weight, outputs, input| {
        let w = weights[weight];
        for (&dy, dx) in dy[outputs].iter().zip(dx[input..].iter_mut().step_by(shape.stride[1])) {
            *dx += w * dy;
        }
    });
    Ok(())
}

pub(super) fn weight_gradient<T: Real>(conv: &Conv2d, call: WeightGradient) -> Result<()> {
    let WeightGradient { n, x, dy, grads, skip_bias, .. } = call;
    let shape = shape(conv)?;
    let (x, dy) = (x.slice::<T>()?, dy.slice::<T>()?);
    let (dw, dbias) = grads.into_slice::<T>()?.split_at_mut(shape.weight_len());
    dw.fill(T::zero());
    for_each_row(shape, n, |weight, outputs, input| {
        let products = dy[outputs].iter().zip(x[input..].iter().step_by(shape.stride[1])).map(|(&dy, &x)| dy * x);
        dw[weight] += products.sum();
    });
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

/// Calls `visit(weight, outputs, input)` for each weight, image and output row: the weight's index, the range of outputs
/// that it reaches in that row without leaving the input, and the index of the input that the first of them meets; the
/// next ones meet every stride-th input from there.
fn for_each_row(shape: &ConvShape, n: usize, mut visit: impl FnMut(usize, Range<usize>, usize)) {
    let ConvShape { in_channels, out_channels, kernel, stride, padding, groups, input: [height, width], .. } = *shape;
    let [out_height, out_width] = shape.output();
    let (group_in, group_out) = (in_channels / groups, out_channels / groups);
    for image in 0..n {
        for k in 0..out_channels {
            let y_plane = (image * out_channels + k) * out_height * out_width;
            for c in 0..group_in {
                let x_plane = (image * in_channels + k / group_out * group_in + c) * height * width;
                for r in 0..kernel[0] {
                    let rows = inside(r, height, out_height, stride[0], padding[0]);
                    for s in 0..kernel[1] {
                        let weight = ((k * group_in + c) * kernel[0] + r) * kernel[1] + s;
                        let columns = inside(s, width, out_width, stride[1], padding[1]);
                        if columns.is_empty() {
                            continue;
                        }
                        let column = columns.start * stride[1] + s - padding[1];
                        for p in rows.clone() {
                            let row = p * stride[0] + r - padding[0];
                            let outputs =
                                y_plane + p * out_width + columns.start..y_plane + p * out_width + columns.end;
                            visit(weight, outputs, x_plane + row * width + column);
                        }
                    }
                }
            }
        }
    }
}

/// The outputs p for which the input p·stride + offset − padding lies in 0..`input`.
fn inside(offset: usize, input: usize, output: usize, stride: usize, padding: usize) -> Range<usize> {
    let start = padding.saturating_sub(offset).div_ceil(stride);
    let end = (input + padding).saturating_sub(offset).div_ceil(stride).min(output);
    start..end.max(start)
}
