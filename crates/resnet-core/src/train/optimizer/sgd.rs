//! Stochastic gradient descent.

use crate::error::Result;
use resnet_ops::sgd::{self, Sgd};
use resnet_ops::update::Update;
use resnet_ops::Executor;
use serde::{Deserialize, Serialize};

/// [`Sgd`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Sgd", deny_unknown_fields)]
pub(super) struct Fields {
    lr: f64,
    momentum: f64,
    #[serde(default)]
    dampening: f64,
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

pub(super) fn with(sgd: &Sgd, lr: f64, weight_decay: f64) -> Sgd {
    Sgd { lr, weight_decay, ..*sgd }
}

pub(super) fn update(sgd: &Sgd, executor: &Executor, update: Update) -> Result<()> {
    let Update { params, grads, kept, clip, step, non_finite } = update;
    // As PyTorch does, the first velocity is the whole gradient.
    let sgd = Sgd { dampening: if step == 1 { 0.0 } else { sgd.dampening }, ..*sgd };
    let velocity = kept.into_iter().next();
    Ok(sgd::step(executor, &sgd, sgd::Step { params, grads, velocity, clip, non_finite })?)
}
