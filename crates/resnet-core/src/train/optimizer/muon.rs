//! Muon for weights, AdamW for norms and biases.

use super::adam;
use crate::error::Result;
use resnet_ops::adam::Adam;
use resnet_ops::muon;
use resnet_ops::update::Update;
use resnet_ops::Executor;
use serde::{Deserialize, Serialize};

/// Settings of Muon. A convolution's or linear layer's weight is a matrix (out, in · height · width) for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Muon {
    /// Learning rate, of both.
    pub lr: f64,
    /// Weight of the previous velocity.
    pub momentum: f64,
    /// Whether to look ahead along the new velocity.
    pub nesterov: bool,
    /// Weight of the parameters in the step, of both.
    pub weight_decay: f64,
    /// How long steps are for a matrix's sizes.
    pub adjust_lr: AdjustLr,
}

/// How long Muon's steps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdjustLr {
    /// √max(1, rows / columns) times the learning rate, as Jordan has it.
    Original,
    /// 0.2·√max(rows, columns) times it, about as long as AdamW's (Liu et al., 2025).
    MatchRmsAdamw,
}

pub(super) const KEPT: &[&str] = adam::KEPT;

pub(super) fn with(muon: &Muon, lr: f64, weight_decay: f64) -> Muon {
    Muon { lr, weight_decay, ..*muon }
}

/// `rows` are those of a weight.
pub(super) fn update(muon: &Muon, executor: &Executor, rows: Option<usize>, mut update: Update) -> Result<()> {
    let &Muon { lr, momentum, nesterov, weight_decay, adjust_lr } = muon;
    match rows {
        Some(rows) => {
            // Its velocity takes the place of AdamW's first mean; there is no second.
            update.kept.truncate(1);
            let match_adamw = adjust_lr == AdjustLr::MatchRmsAdamw;
            let op = muon::Muon { lr, momentum, nesterov, weight_decay, match_adamw };
            Ok(muon::step(executor, &op, rows, update)?)
        }
        None => {
            let op = Adam { lr, betas: [0.9, 0.95], eps: 1e-8, weight_decay, decoupled: true };
            adam::update(&op, executor, update)
        }
    }
}
