use super::GlobalAvgPool;
use crate::element::Real;
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward<T: Real>(op: &GlobalAvgPool, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let pixels = op.input[0] * op.input[1];
    let y = &mut y.slice_mut::<T>()?[..n * op.channels];
    for (y, plane) in y.iter_mut().zip(x.slice::<T>()?.chunks_exact(pixels)) {
        *y = plane.iter().copied().sum::<T>() / T::of(pixels as f64);
    }
    Ok(())
}

pub(super) fn backward<T: Real>(op: &GlobalAvgPool, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let pixels = op.input[0] * op.input[1];
    let dy = &dy.slice::<T>()?[..n * op.channels];
    for (&dy, plane) in dy.iter().zip(dx.slice_mut::<T>()?.chunks_exact_mut(pixels)) {
        let share = dy / T::of(pixels as f64);
        for dx in plane {
            *dx = if accumulate { *dx + share } else { share };
        }
    }
    Ok(())
}
