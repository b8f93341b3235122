//! Adam and AdamW.

use crate::error::Result;
use resnet_ops::adam::{self, Adam};
use resnet_ops::update::Update;
use resnet_ops::Executor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

/// [`Adam`] in JSON.
pub(super) fn coupled<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<Adam, D::Error> {
    let Fields { lr, betas, eps, weight_decay } = Fields::deserialize(source)?;
    Ok(Adam { lr, betas, eps, weight_decay, decoupled: false })
}

/// The same as AdamW.
pub(super) fn decoupled<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<Adam, D::Error> {
    Ok(Adam { decoupled: true, ..coupled(source)? })
}

/// Both, told apart by the optimiser's name.
pub(super) fn described<S: Serializer>(adam: &Adam, target: S) -> std::result::Result<S::Ok, S::Error> {
    let Adam { lr, betas, eps, weight_decay, decoupled: _ } = *adam;
    Fields { lr, betas, eps, weight_decay }.serialize(target)
}

pub(super) const KEPT: &[&str] = &["mean", "mean of squares"];

pub(super) fn with(adam: &Adam, lr: f64, weight_decay: f64) -> Adam {
    Adam { lr, weight_decay, ..*adam }
}

pub(super) fn update(adam: &Adam, executor: &Executor, update: Update) -> Result<()> {
    Ok(adam::step(executor, adam, update)?)
}
