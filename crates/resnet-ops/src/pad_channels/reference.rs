use super::PadChannels;
use crate::element::Real;
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward<T: Real>(op: &PadChannels, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let (x, y) = (x.slice::<T>()?, y.slice_mut::<T>()?);
    let [height, width] = op.output();
    y[..n * op.out_channels * height * width].fill(T::zero());
    pairs(op, n).for_each(|(input, output)| y[output] = x[input]);
    Ok(())
}

pub(super) fn backward<T: Real>(op: &PadChannels, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let (dy, dx) = (dy.slice::<T>()?, dx.slice_mut::<T>()?);
    if !accumulate {
        dx[..n * op.channels * op.input[0] * op.input[1]].fill(T::zero());
    }
    pairs(op, n).for_each(|(input, output)| dx[input] += dy[output]);
    Ok(())
}

/// The elements of x that are taken, each with the element of y that it becomes.
fn pairs(op: &PadChannels, n: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let ([height, width], [input_height, input_width]) = (op.output(), op.input);
    (0..n * op.channels * height * width).map(move |taken| {
        let (plane, i, j) = (taken / (height * width), taken / width % height, taken % width);
        let (image, channel) = (plane / op.channels, plane % op.channels);
        let input = (plane * input_height + i * op.stride[0]) * input_width + j * op.stride[1];
        let output = ((image * op.out_channels + op.before + channel) * height + i) * width + j;
        (input, output)
    })
}
