//! ReLU on a GPU.

use crate::cuda::{arguments, Cuda, OCTET};
use crate::{Buffer, Result};

pub(super) fn forward(cuda: &Cuda, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let (x, y) = (cuda.real(x, len)?, cuda.real(y, len)?);
    // SAFETY: x and y have `len` elements.
    unsafe { cuda.launch("relu_forward", len.div_ceil(OCTET), arguments![len as i64, x, y]) }
}

pub(super) fn backward(cuda: &Cuda, len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
    let (y, dy) = (cuda.real(y, len)?, cuda.real(dy, len)?);
    // SAFETY: y and dy have `len` elements.
    unsafe { cuda.launch("relu_backward", len.div_ceil(OCTET), arguments![len as i64, y, dy]) }
}
