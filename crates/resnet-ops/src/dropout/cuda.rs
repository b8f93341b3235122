//! Dropout on a GPU.

use super::{Dropout, DropoutMask, Grain};
use crate::cuda::{arguments, padded, Address, Cuda, OCTET};
use crate::{Buffer, Result};
use std::ops::Range;

pub(super) fn forward(
    cuda: &Cuda,
    op: &Dropout,
    images: Range<usize>,
    key: u64,
    x: &Buffer,
    y: &mut Buffer,
) -> Result<()> {
    let (x, y) = (cuda.real(x, len(op, images.len()))?, cuda.real(y, len(op, images.len()))?);
    thin(cuda, op, images, key, x, y)
}

pub(super) fn backward(cuda: &Cuda, op: &Dropout, images: Range<usize>, key: u64, dy: &mut Buffer) -> Result<()> {
    let dy = cuda.real(dy, len(op, images.len()))?;
    thin(cuda, op, images, key, dy, dy)
}

fn thin(cuda: &Cuda, op: &Dropout, images: Range<usize>, key: u64, x: Address, y: Address) -> Result<()> {
    let (octets, pixels) = (len(op, images.len()) / OCTET, op.size[0] * op.size[1]);
    let (DropoutMask { seed, threshold }, scale) = (op.mask(key), op.scale() as f32);
    let whole = op.grain == Grain::Image;
    let (first, channels) = (images.start as i64, op.channels as i32);
    let arguments = arguments![octets as i64, first, channels, pixels as i32, whole, seed, threshold, scale, x, y];
    // SAFETY: x and y have so many octets.
    unsafe { cuda.launch("dropout", octets, arguments) }
}

fn len(op: &Dropout, n: usize) -> usize {
    n * op.size[0] * op.size[1] * padded(op.channels)
}
