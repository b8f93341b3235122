//! Which convolution kernels, and which of a convolution's passes.

use crate::{Bf16Products, Int8Products};

/// Which kernels the CPU backend runs convolutions with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The fastest for shape and batch, by a fixed rule.
    #[default]
    Auto,
    /// Direct kernels, which round least.
    Direct,
    /// Winograd's wherever it is defined (3x3 kernels of stride 1 or 2 and padding 1, one group), fast or not.
    Winograd,
    /// Those that round to bf16 wherever they are defined (one group, blocked inputs), fast or not; others as by `Auto`.
    Bf16(Bf16Products),
    /// Those of bytes wherever a convolution is [quantised](crate::conv2d::Conv2d::quantized) and they are defined (one group, blocked inputs),
    /// fast or not; others as by `Auto`.
    Int8(Int8Products),
}

/// One of a convolution's three passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// From input to output.
    Forward,
    /// From output gradient to input gradient.
    InputGradient,
    /// From input and output gradient to the gradients of weights and bias; it needs no packed weights.
    WeightGradient,
}
