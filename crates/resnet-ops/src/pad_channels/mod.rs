//! Zero channels around those of every s-th pixel: (N, C, H, W) to (N, `out_channels`, ⌈H / s₀⌉, ⌈W / s₁⌉),
//! y\[`before` + c, i, j\] = x\[c, i·s₀, j·s₁\], and y is zero in all other channels. It is the shortcut without parameters, option A, of He et
//! al., 2016 (<https://arxiv.org/abs/1512.03385>, 3.3 and 4.2). Pixels between those that are taken have no gradient.

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A padding of channels for a given map size.
#[derive(Clone, Debug, PartialEq)]
pub struct PadChannels {
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Zero channels before the input's; those that are left come behind them.
    pub before: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Pixels from one that is taken to the next, down and across.
    pub stride: [usize; 2],
}

impl PadChannels {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|i| self.input[i].div_ceil(self.stride[i]))
    }

    /// # Errors
    /// If a size is zero, or the input's channels reach beyond the output's.
    pub fn check(&self) -> Result<()> {
        if self.stride.iter().chain(&self.input).any(|&size| size == 0) || self.channels == 0 {
            bail!("padding of channels: every size must be at least 1, got {self:?}");
        }
        if self.before.checked_add(self.channels).is_none_or(|end| end > self.out_channels) {
            bail!("padding of channels: the input's must lie within the output's, got {self:?}");
        }
        Ok(())
    }
}

/// Pads `n` images: x and y are activations in the executor's layout.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, op: &PadChannels, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(op, n, x, y))
}

/// Writes the gradient of the input, or adds it to what is there, from that of the output of `n` images.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, op: &PadChannels, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    by_backend!(executor, backward(op, n, dy, dx))
}
