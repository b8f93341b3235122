//! Global average pooling: the mean of each channel's map, (N, C, H, W) to (N, C).

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result};

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

/// y\[n, c\] = mean over pixels of x\[n, c\], for `n` images: x and y are activations in the executor's layout, y of 1x1 maps.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, op: &GlobalAvgPool, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(op, n, x, y))
}

/// Writes the gradient of the input, or adds it to what is there, from that of the output of `n` images.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, op: &GlobalAvgPool, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    by_backend!(executor, backward(op, n, dy, dx))
}
