//! Average pooling on a GPU.

use super::AvgPool2d;
use crate::cuda::{arguments, padded, window_sizes, Cuda, OCTET};
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward(cuda: &Cuda, op: &AvgPool2d, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let [input, output] = lengths(op, n);
    let (x, y) = (cuda.real(x, input)?, cuda.real(y, output)?);
    let [octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw] = sizes(op);
    let (total, with_padding) = ((output / OCTET) as i64, op.count_include_pad);
    let arguments = arguments![total, octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, with_padding, x, y];
    // SAFETY: the buffers have the elements of `n` inputs and outputs.
    unsafe { cuda.launch("avg_pool_forward", output / OCTET, arguments) }
}

pub(super) fn backward(cuda: &Cuda, op: &AvgPool2d, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let [input, output] = lengths(op, n);
    let (dx, dy) = (cuda.real(dx, input)?, cuda.real(dy, output)?);
    let [octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw] = sizes(op);
    let (total, with_padding) = ((input / OCTET) as i64, op.count_include_pad);
    let arguments = arguments![total, octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, with_padding, dy, accumulate, dx];
    // SAFETY: as above.
    unsafe { cuda.launch("avg_pool_backward", input / OCTET, arguments) }
}

/// Elements of input and output.
fn lengths(op: &AvgPool2d, n: usize) -> [usize; 2] {
    [op.input, op.output()].map(|[h, w]| n * h * w * padded(op.channels))
}

/// Octets of a pixel, then heights and widths of input, output, window, steps and padding.
fn sizes(op: &AvgPool2d) -> [i32; 11] {
    window_sizes(op.channels, [op.input, op.output(), op.kernel, op.stride, op.padding])
}
