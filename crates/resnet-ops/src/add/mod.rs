//! The end of a residual block, y = a + b or y = max(a + b, 0), and the sum of two gradients.

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

pub(crate) use cpu::add_to;

/// y = a + b, or max(a + b, 0) if `relu`, for the first `len` elements. NaN stays NaN. Its gradient, the same for a and b,
/// is that of y, or, if `relu`, what [`crate::relu::backward`] makes of it.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, len: usize, a: &Buffer, b: &Buffer, y: &mut Buffer, relu: bool) -> Result<()> {
    by_backend!(executor, forward(len, a, b, y, relu))
}

/// Writes the first `len` elements of `source` to `target`, or adds them to what is there.
///
/// # Errors
/// As for [`forward`].
pub fn add_gradient(executor: &Executor, len: usize, source: &Buffer, target: GradientTarget) -> Result<()> {
    by_backend!(executor, add_gradient(len, source, target))
}
