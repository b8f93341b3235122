use crate::element::Real;
use crate::{Buffer, Result};

pub(super) fn forward<T: Real>(len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    for (y, &x) in y.slice_mut::<T>()?[..len].iter_mut().zip(&x.slice::<T>()?[..len]) {
        // Written so that a NaN passes.
        *y = if x < T::zero() { T::zero() } else { x };
    }
    Ok(())
}

pub(super) fn backward<T: Real>(len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
    for (dy, &y) in dy.slice_mut::<T>()?[..len].iter_mut().zip(&y.slice::<T>()?[..len]) {
        *dy = if y > T::zero() { *dy } else { T::zero() };
    }
    Ok(())
}
