use super::Concat;
use crate::element::Real;
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward<T: Real>(op: &Concat, n: usize, inputs: &[&Buffer], y: &mut Buffer) -> Result<()> {
    let (pixels, y) = (op.size[0] * op.size[1], y.slice_mut::<T>()?);
    for (branch, input) in inputs.iter().enumerate() {
        let (x, len) = (input.slice::<T>()?, op.channels[branch] * pixels);
        for image in 0..n {
            let start = (image * op.output_channels() + op.offset(branch)) * pixels;
            y[start..][..len].copy_from_slice(&x[image * len..][..len]);
        }
    }
    Ok(())
}

pub(super) fn backward<T: Real>(op: &Concat, n: usize, branch: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let pixels = op.size[0] * op.size[1];
    let (dy, dx, len) = (dy.slice::<T>()?, dx.slice_mut::<T>()?, op.channels[branch] * pixels);
    for image in 0..n {
        let start = (image * op.output_channels() + op.offset(branch)) * pixels;
        for (dx, &dy) in dx[image * len..][..len].iter_mut().zip(&dy[start..][..len]) {
            *dx = if accumulate { *dx + dy } else { dy };
        }
    }
    Ok(())
}
