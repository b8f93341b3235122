//! RMSprop.

use crate::error::Result;
use resnet_ops::rmsprop::{self, RmsProp};
use resnet_ops::update::Update;
use resnet_ops::Executor;
use serde::{Deserialize, Serialize};

/// [`RmsProp`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RmsProp", deny_unknown_fields)]
pub(super) struct Fields {
    lr: f64,
    alpha: f64,
    eps: f64,
    momentum: f64,
    weight_decay: f64,
}

pub(super) fn kept(rmsprop: &RmsProp) -> &'static [&'static str] {
    if rmsprop.momentum == 0.0 {
        &["mean of squares"]
    } else {
        &["mean of squares", "velocity"]
    }
}

pub(super) fn with(rmsprop: &RmsProp, lr: f64, weight_decay: f64) -> RmsProp {
    RmsProp { lr, weight_decay, ..*rmsprop }
}

pub(super) fn update(rmsprop: &RmsProp, executor: &Executor, update: Update) -> Result<()> {
    Ok(rmsprop::step(executor, rmsprop, update)?)
}
