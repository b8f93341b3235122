//! Lion.

use crate::error::Result;
use resnet_ops::lion::{self, Lion};
use resnet_ops::update::Update;
use resnet_ops::Executor;
use serde::{Deserialize, Serialize};

/// [`Lion`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Lion", deny_unknown_fields)]
pub(super) struct Fields {
    lr: f64,
    betas: [f64; 2],
    weight_decay: f64,
}

pub(super) const KEPT: &[&str] = &["mean"];

pub(super) fn with(lion: &Lion, lr: f64, weight_decay: f64) -> Lion {
    Lion { lr, weight_decay, ..*lion }
}

pub(super) fn update(lion: &Lion, executor: &Executor, update: Update) -> Result<()> {
    Ok(lion::step(executor, lion, update)?)
}
