//! ReLU: y = max(x, 0); its derivative is 1 where x > 0, else 0.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// y = max(x, 0) for the first `len` elements of an activation in any layout. NaN stays NaN.
///
/// # Errors
/// If a buffer is of another type than the executor's or on another device; if the device fails.
pub fn forward(executor: &Executor, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(len, x, y))
}

/// `dy` comes in as the gradient of the output `y`, `len` elements each, and goes out as the gradient of the input.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
    by_backend!(executor, backward(len, y, dy))
}
