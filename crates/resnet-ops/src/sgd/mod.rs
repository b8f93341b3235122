//! Stochastic gradient descent with momentum, as PyTorch defines it (Sutskever et al., 2013, in that form).
//!
//! g = clipped gradient + weight_decay·p; v = momentum·v + (1 − dampening)·g; step = g + momentum·v with Nesterov, else v; p = p − lr·step.

use crate::executor::by_backend;
use crate::update::Clip;
use crate::{Buffer, Executor, Result, View, ViewMut};
use candle_core::bail;

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
    /// How much less than 1 the gradient's weight in the velocity is. (PyTorch begins with a velocity of the whole gradient: whoever
    /// wants that makes the first update without.)
    pub dampening: f64,
    /// Whether to look ahead along the new velocity.
    pub nesterov: bool,
    /// Weight of the parameters in the gradient.
    pub weight_decay: f64,
}

/// What an update works on: parts of flat storage, of one length, in the executor's parameter type. Parts may begin anywhere.
pub struct Step<'a> {
    /// Parameters.
    pub params: ViewMut<'a>,
    /// Their gradients.
    pub grads: View<'a>,
    /// Their velocity, which starts as zeros; None without momentum.
    pub velocity: Option<ViewMut<'a>>,
    /// How gradients are clipped.
    pub clip: Clip,
    /// Becomes 1 if a parameter becomes NaN or infinite, which it does where its gradient or velocity is; see [`crate::finite`].
    pub non_finite: &'a mut Buffer,
}

/// Updates parameters and, if there is momentum, their velocity.
///
/// # Errors
/// If the parts differ in length; if there is momentum and no velocity; if a buffer is of another type, too short or on another
/// device; if the device fails.
pub fn step(executor: &Executor, op: &Sgd, call: Step) -> Result<()> {
    let len = call.params.len();
    if call.grads.len() != len || call.velocity.as_ref().is_some_and(|velocity| velocity.len() != len) {
        bail!("an update of {len} parameters takes as many gradients and velocities");
    }
    if op.momentum > 0.0 && call.velocity.is_none() {
        bail!("an update with momentum takes a velocity");
    }
    by_backend!(executor, step(op, call))
}
