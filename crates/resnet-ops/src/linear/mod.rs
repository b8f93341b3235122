//! Fully connected layer: y = x·Wᵀ + b, (N, in_features) to (N, out_features).

use crate::executor::by_backend;
use crate::{Buffer, Executor, GradientTarget, Result, View, ViewMut};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A fully connected layer.
///
/// Parameters are flat: weights (out_features, in_features), then, if there is one, the bias (out_features). Gradients lie
/// the same way. Features lie as 1x1 maps do in the executor's layout (see [`crate::layout`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Features of the input.
    pub in_features: usize,
    /// Features of the output.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Linear {
    /// Number of weights and biases.
    pub fn params_len(&self) -> usize {
        self.out_features * self.in_features + if self.bias { self.out_features } else { 0 }
    }
}

/// y = x·Wᵀ + b for `n` images: x and y are activations of 1x1 maps in the executor's layout.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, op: &Linear, n: usize, x: &Buffer, params: View, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(op, n, x, params, y))
}

/// Writes the gradient of the input, or adds it to what is there, from that of the output of `n` images.
///
/// # Errors
/// As for [`forward`].
pub fn input_gradient(
    executor: &Executor,
    op: &Linear,
    n: usize,
    dy: &Buffer,
    params: View,
    dx: GradientTarget,
) -> Result<()> {
    by_backend!(executor, input_gradient(op, n, dy, params, dx))
}

/// Writes the gradients of weights and bias, summed over `n` images.
///
/// # Errors
/// As for [`forward`].
pub fn weight_gradient(
    executor: &Executor,
    op: &Linear,
    n: usize,
    x: &Buffer,
    dy: &Buffer,
    grads: ViewMut,
) -> Result<()> {
    by_backend!(executor, weight_gradient(op, n, x, dy, grads))
}
