//! Sums on a GPU.

use crate::cuda::{arguments, Cuda, OCTET};
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward(cuda: &Cuda, len: usize, a: &Buffer, b: &Buffer, y: &mut Buffer, relu: bool) -> Result<()> {
    let (a, b, y) = (cuda.real(a, len)?, cuda.real(b, len)?, cuda.real(y, len)?);
    // SAFETY: all three have `len` elements.
    unsafe { cuda.launch("add_forward", len.div_ceil(OCTET), arguments![len as i64, a, b, y, relu]) }
}

pub(super) fn add_gradient(cuda: &Cuda, len: usize, source: &Buffer, target: GradientTarget) -> Result<()> {
    let (from, to) = (cuda.real(source, len)?, cuda.real(target.buffer, len)?);
    // SAFETY: both have `len` elements.
    unsafe { cuda.launch("add_gradient", len.div_ceil(OCTET), arguments![len as i64, from, to, target.accumulate]) }
}
