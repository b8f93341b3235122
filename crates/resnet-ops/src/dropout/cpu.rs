//! Dropout of one (image, block) plane at a time.

use super::{Dropout, DropoutMask, Grain};
use crate::blocked::{blocked_len, blocks, LANES};
use crate::simd::kernel;
use crate::{Buffer, Cpu, Result};
use std::ops::Range;

pub(super) fn forward(
    cpu: &Cpu,
    op: &Dropout,
    images: Range<usize>,
    key: u64,
    x: &Buffer,
    y: &mut Buffer,
) -> Result<()> {
    let x = x.slice::<f32>()?;
    each_plane(cpu, op, images, key, y, |start, y| y.copy_from_slice(&x[start..][..y.len()]))
}

pub(super) fn backward(cpu: &Cpu, op: &Dropout, images: Range<usize>, key: u64, dy: &mut Buffer) -> Result<()> {
    each_plane(cpu, op, images, key, dy, |_, _| ())
}

/// Calls `fill` with the start of each plane and the plane, then drops elements of it.
fn each_plane(
    cpu: &Cpu,
    op: &Dropout,
    images: Range<usize>,
    key: u64,
    target: &mut Buffer,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<()> {
    let ([h, w], blocks, mask) = (op.size, blocks(op.channels), op.mask(key));
    let target = &mut target.slice_mut::<f32>()?[..blocked_len(images.len(), op.channels, h, w)];
    cpu.pool.chunks_mut(target, h * w * LANES, |index, plane| {
        fill(index * h * w * LANES, plane);
        let (image, scale) = (images.start + index / blocks, op.scale() as f32);
        match op.grain {
            Grain::Element => {
                let channel = image * op.channels + index % blocks * LANES;
                thin(cpu.isa, mask, (channel * h * w) as u64, scale, plane);
            }
            Grain::Image => times(cpu.isa, if mask.drops(image as u64) { 0.0 } else { scale }, plane),
        }
    });
    Ok(())
}

kernel! {
    fn times<S>(factor: f32, plane: &mut [f32]) {
        plane.iter_mut().for_each(|value| *value *= factor);
    }
}

kernel! {
    /// Multiplies a plane, whose first lane begins at element `first` in (N, C, H, W) order. Lanes beyond the channels are
    /// zero whatever is drawn for them.
    fn thin<S>(mask: DropoutMask, first: u64, scale: f32, plane: &mut [f32]) {
        let plane = plane.as_chunks_mut::<LANES>().0;
        let pixels = plane.len() as u64;
        for (pixel, lanes) in plane.iter_mut().enumerate() {
            for lane in 0..LANES {
                let index = first + lane as u64 * pixels + pixel as u64;
                lanes[lane] *= if mask.drops(index) { 0.0 } else { scale };
            }
        }
    }
}
