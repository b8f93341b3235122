//! Stochastic gradient descent.

use super::Part;
use crate::error::Result;
use resnet_ops::sgd::{self, Sgd};
use resnet_ops::Executor;
use serde::Deserialize;

/// [`Sgd`] in JSON.
#[derive(Deserialize)]
#[serde(remote = "Sgd", deny_unknown_fields)]
pub(super) struct Fields {
    lr: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

pub(super) fn kept(sgd: &Sgd) -> &'static [&'static str] {
    if sgd.momentum == 0.0 {
        &[]
    } else {
        &["velocity"]
    }
}

pub(super) fn with(sgd: &Sgd, lr_factor: f64, weight_decay: Option<f64>) -> Sgd {
    Sgd { lr: sgd.lr * lr_factor, weight_decay: weight_decay.unwrap_or(sgd.weight_decay), ..*sgd }
}

pub(super) fn update(sgd: &Sgd, executor: &Executor, part: Part) -> Result<()> {
    let Part { parameters, gradients, state, non_finite } = part;
    let velocity = state.into_iter().next();
    Ok(sgd::step(executor, sgd, sgd::Step { params: parameters, grads: gradients, velocity, non_finite })?)
}
