//! What a convolution is, whatever backend runs it.

use candle_core::{bail, Result};

/// A convolution of a given input size.
///
/// Parameters are flat: weights (out_channels, in_channels / groups, kernel height, kernel width), then, if there is one,
/// the bias (out_channels). Gradients lie the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvShape {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Pixels between neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// Zero rows and columns around the input.
    pub padding: [usize; 2],
    /// Groups that input and output channels are divided into; each output group sees one input group.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Whether the CPU and GPU backends find the input as plain (N, C, H, W), as images come, instead of blocked. There is then no
    /// input gradient. Meant for a first layer with few channels.
    pub plain_input: bool,
}

/// What the values of a convolution's input lie between, as far as has been seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputRange {
    /// The smallest.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl ConvShape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        let size = |i: usize| (self.input[i] + 2 * self.padding[i] - self.kernel[i]) / self.stride[i] + 1;
        [size(0), size(1)]
    }

    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Number of weights and biases.
    pub fn params_len(&self) -> usize {
        self.weight_len() + if self.bias { self.out_channels } else { 0 }
    }

    /// # Errors
    /// If a size is zero, groups do not divide the channels, or the kernel is larger than the padded input.
    pub(super) fn check(&self) -> Result<()> {
        let positive = [self.in_channels, self.out_channels, self.groups];
        if positive.iter().chain(&self.kernel).chain(&self.stride).chain(&self.input).any(|&size| size == 0) {
            bail!("convolution: every size must be at least 1, got {self:?}");
        }
        if !self.in_channels.is_multiple_of(self.groups) || !self.out_channels.is_multiple_of(self.groups) {
            bail!(
                "convolution: {} groups must divide {} input and {} output channels",
                self.groups,
                self.in_channels,
                self.out_channels
            );
        }
        if (0..2).any(|i| self.input[i] + 2 * self.padding[i] < self.kernel[i]) {
            bail!(
                "convolution: a {:?} kernel is larger than the {:?} input with padding {:?}",
                self.kernel,
                self.input,
                self.padding
            );
        }
        Ok(())
    }
}
