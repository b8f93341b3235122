//! The gradient of a bias, of a convolution or of a fully connected layer.

use super::sums::Slices;
use super::{arguments, Address, Cuda};
use candle_core::Result;

/// Writes the sums of dy over so many pixels, a value for each channel.
pub(crate) fn bias_gradient(cuda: &Cuda, pixels: usize, channels: usize, dy: Address, bias: Address) -> Result<()> {
    let slices = Slices::new(cuda, pixels, channels);
    let ([octets, per_block, per_slice], [sums, arrived]) = (slices.sizes(), slices.memory(cuda, 1)?);
    let arguments = arguments![pixels as i64, octets, channels as i32, per_block, per_slice, dy, sums, bias, arrived];
    let (blocks, threads) = slices.blocks();
    // SAFETY: dy has so many pixels, there is a gradient for each channel, and room for what the slices sum and count.
    unsafe { cuda.launch_blocks("bias_gradient", blocks, threads, arguments) }
}
