//! Padding of channels on a GPU.

use super::PadChannels;
use crate::cuda::{arguments, padded, Cuda, OCTET};
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward(cuda: &Cuda, op: &PadChannels, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let [input, output] = lengths(op, n);
    let (x, y) = (cuda.real(x, input)?, cuda.real(y, output)?);
    let [ih, iw, oh, ow, sh, sw, channels, before, out_channels] = sizes(op);
    let (total, octets) = ((output / OCTET) as i64, (padded(out_channels as usize) / OCTET) as i32);
    let arguments = arguments![total, octets, ih, iw, oh, ow, sh, sw, channels, before, x, y];
    // SAFETY: the buffers have the elements of `n` inputs and outputs.
    unsafe { cuda.launch("pad_channels_forward", output / OCTET, arguments) }
}

pub(super) fn backward(cuda: &Cuda, op: &PadChannels, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let [input, output] = lengths(op, n);
    let (dx, dy) = (cuda.real(dx, input)?, cuda.real(dy, output)?);
    let [ih, iw, oh, ow, sh, sw, channels, before, out_channels] = sizes(op);
    let (total, octets) = ((input / OCTET) as i64, (padded(op.channels) / OCTET) as i32);
    let arguments =
        arguments![total, octets, ih, iw, oh, ow, sh, sw, channels, before, out_channels, dy, accumulate, dx];
    // SAFETY: as above.
    unsafe { cuda.launch("pad_channels_backward", input / OCTET, arguments) }
}

/// Elements of input and output.
fn lengths(op: &PadChannels, n: usize) -> [usize; 2] {
    [(op.input, op.channels), (op.output(), op.out_channels)].map(|([h, w], channels)| n * h * w * padded(channels))
}

/// Heights and widths of input, output and steps; channels of the input, before it, and of the output.
fn sizes(op: &PadChannels) -> [i32; 9] {
    let ([ih, iw], [oh, ow], [sh, sw]) = (op.input, op.output(), op.stride);
    [ih, iw, oh, ow, sh, sw, op.channels, op.before, op.out_channels].map(|size| size as i32)
}
