//! The gradient of a bias, of a convolution or of a fully connected layer.

use super::{arguments, padded, Address, Cuda, OCTET, PIXEL_THREADS};
use candle_core::Result;

/// Writes the sums of dy over so many pixels, a value for each channel.
pub(crate) fn bias_gradient(cuda: &Cuda, pixels: usize, channels: usize, dy: Address, bias: Address) -> Result<()> {
    let arguments = arguments![pixels as i64, channels as i32, dy, bias];
    // SAFETY: dy has so many pixels, and there is a gradient for each channel.
    unsafe { cuda.launch_blocks("bias_gradient", padded(channels) / OCTET, PIXEL_THREADS, arguments) }
}
