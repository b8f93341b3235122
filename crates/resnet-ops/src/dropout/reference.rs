use super::{Dropout, Grain};
use crate::element::Real;
use crate::{Buffer, Result};
use std::ops::Range;

pub(super) fn forward<T: Real>(op: &Dropout, images: Range<usize>, key: u64, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let len = images.len() * op.channels * op.size[0] * op.size[1];
    y.slice_mut::<T>()?[..len].copy_from_slice(&x.slice::<T>()?[..len]);
    backward::<T>(op, images, key, y)
}

pub(super) fn backward<T: Real>(op: &Dropout, images: Range<usize>, key: u64, dy: &mut Buffer) -> Result<()> {
    let (mask, scale) = (op.mask(key), T::of(op.scale()));
    let image = op.channels * op.size[0] * op.size[1];
    let dy = &mut dy.slice_mut::<T>()?[..images.len() * image];
    let grain = match op.grain {
        Grain::Element => 1,
        Grain::Image => image,
    };
    for (index, dy) in (images.start * image..).zip(dy) {
        *dy = *dy * if mask.drops((index / grain) as u64) { T::zero() } else { scale };
    }
    Ok(())
}
