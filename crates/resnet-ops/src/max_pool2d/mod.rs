//! Two-dimensional max-pooling. Padding counts as −∞; of equal maxima the first in reading order takes the gradient, as in
//! PyTorch; a NaN in a window is its maximum.

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result};
use candle_core::bail;

pub(crate) mod cpu;
#[cfg(feature = "cuda-kernels")]
pub(crate) mod cuda;
mod reference;

/// A max-pooling of a given map size.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool2d {
    /// Channels of input and output.
    pub channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of a window; at most 255 pixels.
    pub kernel: [usize; 2],
    /// Pixels between neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// Rows and columns around the input; at most half the kernel.
    pub padding: [usize; 2],
}

impl MaxPool2d {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        let size = |i: usize| (self.input[i] + 2 * self.padding[i] - self.kernel[i]) / self.stride[i] + 1;
        [size(0), size(1)]
    }

    /// # Errors
    /// If a size is zero, the window has more than 255 pixels, the padding is more than half the kernel, or the kernel is
    /// larger than the padded input.
    pub fn check(&self) -> Result<()> {
        if self.kernel.iter().chain(&self.stride).chain(&self.input).any(|&size| size == 0) || self.channels == 0 {
            bail!("max-pooling: every size must be at least 1, got {self:?}");
        }
        if self.kernel[0] * self.kernel[1] > 255 {
            bail!("max-pooling: a window has at most 255 pixels, got {:?}", self.kernel);
        }
        if (0..2).any(|i| 2 * self.padding[i] > self.kernel[i]) {
            bail!("max-pooling: padding is at most half the kernel, got {:?} for {:?}", self.padding, self.kernel);
        }
        if (0..2).any(|i| self.input[i] + 2 * self.padding[i] < self.kernel[i]) {
            bail!("max-pooling: a {:?} kernel is larger than the padded {:?} input", self.kernel, self.input);
        }
        Ok(())
    }
}

/// The arguments of [`forward`].
pub struct Forward<'a> {
    /// Images.
    pub n: usize,
    /// Input activation.
    pub x: &'a Buffer,
    /// Output activation.
    pub y: &'a mut Buffer,
    /// Where the place of each maximum goes, if a gradient is wanted: u8, as long as y, the pixel's number in its window, in reading order.
    pub argmax: Option<&'a mut Buffer>,
}

/// Takes the maximum of each window and, for the gradient, keeps where it was.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, op: &MaxPool2d, call: Forward) -> Result<()> {
    by_backend!(executor, forward(op, call))
}

/// Writes the gradient of the input, or adds it to what is there, from that of the output of `n` images and from what
/// [`forward`] wrote to `argmax`.
///
/// # Errors
/// As for [`forward`].
pub fn backward(
    executor: &Executor,
    op: &MaxPool2d,
    n: usize,
    dy: &Buffer,
    argmax: &Buffer,
    dx: GradientTarget,
) -> Result<()> {
    by_backend!(executor, backward(op, n, dy, argmax, dx))
}
