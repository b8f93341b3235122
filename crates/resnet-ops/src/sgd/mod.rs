//! Stochastic gradient descent with momentum, as PyTorch defines it (Sutskever et al., 2013, in that form).
//!
//! g = gradient + weight_decay·p; v = momentum·v + g; step = g + momentum·v with Nesterov, else v; p = p − lr·step.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// The settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Weight of the previous velocity; 0 for plain gradient descent.
    pub momentum: f64,
    /// Whether to look ahead along the new velocity.
    pub nesterov: bool,
    /// Weight of the parameters in the gradient.
    pub weight_decay: f64,
}

/// Updates parameters and, if there is momentum, their velocity, which starts as zeros. Without momentum `velocity` is
/// None.
pub fn step(
    executor: &Executor,
    op: &Sgd,
    params: &mut Buffer,
    grads: &Buffer,
    velocity: Option<&mut Buffer>,
) -> Result<()> {
    by_backend!(executor, step(op, params, grads, velocity))
}
