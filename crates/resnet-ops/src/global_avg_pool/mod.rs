//! Global average pooling: the mean of each channel's map, (N, C, H, W) to (N, C).

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A global average pooling of a given map size.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalAvgPool {
    /// Channels of input and output.
    pub channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
}

/// y\[n, c\] = mean over pixels of x\[n, c\].
pub fn forward(executor: &Executor, op: &GlobalAvgPool, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(op, n, x, y))
}

/// Writes the gradient of the input, or adds it to what `dx` holds if `accumulate`.
pub fn backward(
    executor: &Executor,
    op: &GlobalAvgPool,
    n: usize,
    dy: &Buffer,
    dx: &mut Buffer,
    accumulate: bool,
) -> Result<()> {
    by_backend!(executor, backward(op, n, dy, dx, accumulate))
}
