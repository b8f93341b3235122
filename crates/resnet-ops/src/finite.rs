//! How an op that writes what lives longer than a step tells that some of it is NaN or infinite: in a note of one element, in the type
//! of parameters, where it computes. It is 0 until something is not finite, then 1 for good, so that it can be read whenever reading
//! costs nothing.

use crate::element::Real;
use crate::{Buffer, Result};

/// Notes what was found, on the host.
pub(crate) fn note<T: Real>(non_finite: &mut Buffer, is_finite: bool) -> Result<()> {
    if !is_finite {
        non_finite.slice_mut::<T>()?[0] = T::one();
    }
    Ok(())
}

/// A number that grows with the value's distance from 0, and is largest for infinity and NaN. As a maximum of such it is worked out in
/// vectors, while memory is waited for.
#[inline(always)]
pub(crate) fn magnitude(value: f32) -> i32 {
    value.abs().to_bits() as i32
}

/// 0, or NaN for what is not finite: added to a parameter, it has that noticed.
#[inline(always)]
pub(crate) fn nan_or_zero<T: Real>(value: T) -> T {
    value * T::zero()
}
