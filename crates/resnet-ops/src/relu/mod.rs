//! ReLU: y = max(x, 0); its derivative is 1 where x > 0, else 0.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// y = max(x, 0) for the first `len` elements. NaN stays NaN.
pub fn forward(executor: &Executor, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(len, x, y))
}

/// `dy` comes in as the gradient of the output `y` and goes out as the gradient of the input.
pub fn backward(executor: &Executor, len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
    by_backend!(executor, backward(len, y, dy))
}
