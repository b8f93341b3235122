//! Global average pooling on a GPU.

use super::GlobalAvgPool;
use crate::cuda::{arguments, padded, Cuda, OCTET};
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward(cuda: &Cuda, op: &GlobalAvgPool, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let (octets, pixels) = (padded(op.channels) / OCTET, op.input[0] * op.input[1]);
    let (x, y) = (cuda.real(x, n * pixels * octets * OCTET)?, cuda.real(y, n * octets * OCTET)?);
    let arguments = arguments![(n * octets) as i64, octets as i32, pixels as i32, x, y];
    // SAFETY: x has `n` images of so many pixels, y as many of one.
    unsafe { cuda.launch("global_avg_pool_forward", n * octets, arguments) }
}

pub(super) fn backward(cuda: &Cuda, op: &GlobalAvgPool, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let (octets, pixels) = (padded(op.channels) / OCTET, op.input[0] * op.input[1]);
    let (dx, dy) = (cuda.real(dx, n * pixels * octets * OCTET)?, cuda.real(dy, n * octets * OCTET)?);
    let total = n * pixels * octets;
    let arguments = arguments![total as i64, octets as i32, pixels as i32, dy, accumulate, dx];
    // SAFETY: as above.
    unsafe { cuda.launch("global_avg_pool_backward", total, arguments) }
}
