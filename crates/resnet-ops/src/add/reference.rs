use crate::element::Real;
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward<T: Real>(len: usize, a: &Buffer, b: &Buffer, y: &mut Buffer, relu: bool) -> Result<()> {
    let (a, b) = (&a.slice::<T>()?[..len], &b.slice::<T>()?[..len]);
    for ((y, &a), &b) in y.slice_mut::<T>()?[..len].iter_mut().zip(a).zip(b) {
        // Written so that a NaN passes.
        *y = if relu && a + b < T::zero() { T::zero() } else { a + b };
    }
    Ok(())
}

pub(super) fn add_gradient<T: Real>(len: usize, source: &Buffer, target: GradientTarget) -> Result<()> {
    let GradientTarget { buffer, accumulate } = target;
    for (target, &source) in buffer.slice_mut::<T>()?[..len].iter_mut().zip(&source.slice::<T>()?[..len]) {
        *target = if accumulate { *target + source } else { source };
    }
    Ok(())
}
