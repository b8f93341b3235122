//! Concatenation along the channels: (N, C₀, H, W), (N, C₁, H, W), … to (N, C₀ + C₁ + …, H, W). Features (N, F) are maps
//! of 1x1.

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A concatenation of maps of a given size.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// Channels of each input, in order.
    pub channels: Vec<usize>,
    /// Height and width of every input and of the output.
    pub size: [usize; 2],
}

impl Concat {
    /// Channels of the output.
    pub fn output_channels(&self) -> usize {
        self.channels.iter().sum()
    }

    /// The output's channel with which input number `branch` begins.
    fn offset(&self, branch: usize) -> usize {
        self.channels[..branch].iter().sum()
    }
}

/// Writes the inputs' channels one after the other, for `n` images: all are activations in the executor's layout.
///
/// # Errors
/// If there are not as many inputs as `op` has channel numbers; if a buffer is of another type or on another device; if the device
/// fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, op: &Concat, n: usize, inputs: &[&Buffer], y: &mut Buffer) -> Result<()> {
    if inputs.len() != op.channels.len() {
        bail!("concatenation: expected {} inputs, got {}", op.channels.len(), inputs.len());
    }
    by_backend!(executor, forward(op, n, inputs, y))
}

/// Writes the gradient of input number `branch`, or adds it to what is there, from that of the output of `n` images.
///
/// # Errors
/// If there is no such input; as for [`forward`].
pub fn backward(
    executor: &Executor,
    op: &Concat,
    n: usize,
    branch: usize,
    dy: &Buffer,
    dx: GradientTarget,
) -> Result<()> {
    if branch >= op.channels.len() {
        bail!("concatenation: expected one of {} inputs, got number {branch}", op.channels.len());
    }
    by_backend!(executor, backward(op, n, branch, dy, dx))
}
