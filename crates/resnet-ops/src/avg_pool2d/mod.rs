//! Two-dimensional average pooling with the meaning of PyTorch's `AvgPool2d`: y is a window's sum, in which padding counts
//! as zero, divided by the number of its pixels.

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result};
use candle_core::bail;
use std::ops::Range;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// An average pooling of a given map size.
#[derive(Clone, Debug, PartialEq)]
pub struct AvgPool2d {
    /// Channels of input and output.
    pub channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Pixels between neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// Rows and columns of zeros around the input; at most half the kernel.
    pub padding: [usize; 2],
    /// Whether a last window may hang over the padded input, so that no pixel is left out; see [`output_size`].
    pub ceil_mode: bool,
    /// Whether the padding's pixels in a window count in the divisor. Those beyond the padded input never do.
    pub count_include_pad: bool,
}

/// Pixels of the output along an axis; none if no window fits. With `ceil_mode` the number is rounded up, but a last window
/// that would start beyond input and first padding is left out.
pub fn output_size(input: usize, kernel: usize, stride: usize, padding: usize, ceil_mode: bool) -> Option<usize> {
    let slack = if ceil_mode { stride - 1 } else { 0 };
    let room = padding.checked_mul(2)?.checked_add(input)?.checked_add(slack)?.checked_sub(kernel)?;
    let most = if ceil_mode { (input + padding).div_ceil(stride) } else { usize::MAX };
    Some((room / stride + 1).min(most))
}

impl AvgPool2d {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|i| self.output_size(i).expect("checked"))
    }

    /// # Errors
    /// If a size is zero, the padding is more than half the kernel, or the kernel is larger than the padded input.
    pub fn check(&self) -> Result<()> {
        if self.kernel.iter().chain(&self.stride).chain(&self.input).any(|&size| size == 0) || self.channels == 0 {
            bail!("average pooling: every size must be at least 1, got {self:?}");
        }
        if (0..2).any(|i| self.padding[i] > self.kernel[i] / 2) {
            bail!("average pooling: padding is at most half the kernel, got {:?} for {:?}", self.padding, self.kernel);
        }
        if (0..2).any(|i| self.output_size(i).is_none()) {
            bail!("average pooling: a {:?} kernel is larger than the padded {:?} input", self.kernel, self.input);
        }
        Ok(())
    }

    fn output_size(&self, axis: usize) -> Option<usize> {
        output_size(self.input[axis], self.kernel[axis], self.stride[axis], self.padding[axis], self.ceil_mode)
    }

    /// Along an axis, the input's pixels that window number `index` covers (at least one), and how many count in the
    /// divisor, which is the product of the two axes' counts.
    fn window(&self, axis: usize, index: usize) -> (Range<usize>, usize) {
        let (input, padding) = (self.input[axis], self.padding[axis]);
        // In the padded input.
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).min(input + 2 * padding);
        let pixels = start.saturating_sub(padding)..(end - padding).min(input);
        let counted = if self.count_include_pad { end - start } else { pixels.len() };
        (pixels, counted)
    }
}

/// Takes the mean of each window of `n` images: x and y are activations in the executor's layout.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, op: &AvgPool2d, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(op, n, x, y))
}

/// Writes the gradient of the input, or adds it to what is there, from that of the output of `n` images.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, op: &AvgPool2d, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    by_backend!(executor, backward(op, n, dy, dx))
}
