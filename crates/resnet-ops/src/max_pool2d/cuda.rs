//! Max-pooling on a GPU.

use super::{Forward, MaxPool2d};
use crate::cuda::{arguments, padded, window_sizes, Address, Cuda, OCTET};
use crate::{Buffer, DType, GradientTarget, Result};

pub(super) fn forward(cuda: &Cuda, op: &MaxPool2d, call: Forward) -> Result<()> {
    let Forward { n, x, y, argmax } = call;
    let [input, output] = lengths(op, n);
    let argmax = argmax.map_or(Ok(Address(0)), |argmax| cuda.address(argmax, DType::U8, output))?;
    let (x, y) = (cuda.real(x, input)?, cuda.real(y, output)?);
    let [octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw] = sizes(op);
    let total = (output / OCTET) as i64;
    let arguments = arguments![total, octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, x, y, argmax];
    // SAFETY: the buffers have the elements of `n` inputs and outputs.
    unsafe { cuda.launch("max_pool_forward", output / OCTET, arguments) }
}

pub(crate) fn backward(
    cuda: &Cuda,
    op: &MaxPool2d,
    n: usize,
    dy: &Buffer,
    argmax: &Buffer,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let [input, output] = lengths(op, n);
    let (dx, dy, argmax) = (cuda.real(dx, input)?, cuda.real(dy, output)?, cuda.address(argmax, DType::U8, output)?);
    let [octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw] = sizes(op);
    let total = (input / OCTET) as i64;
    let arguments = arguments![total, octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, dy, argmax, accumulate, dx];
    // SAFETY: as above.
    unsafe { cuda.launch("max_pool_backward", input / OCTET, arguments) }
}

/// Elements of input and output.
pub(crate) fn lengths(op: &MaxPool2d, n: usize) -> [usize; 2] {
    [op.input, op.output()].map(|[h, w]| n * h * w * padded(op.channels))
}

/// Octets of a pixel, then heights and widths of input, output, window, steps and padding.
pub(crate) fn sizes(op: &MaxPool2d) -> [i32; 11] {
    window_sizes(op.channels, [op.input, op.output(), op.kernel, op.stride, op.padding])
}
