//! LARS (You et al., 2017): a learning rate for each weight, by how long its gradient is beside it.

use super::sgd;
use crate::error::Result;
use resnet_ops::sgd::Sgd;
use resnet_ops::sum_of_squares::sum_of_squares;
use resnet_ops::update::{Clip, Update};
use resnet_ops::Executor;
use serde::{Deserialize, Serialize};

/// Settings of LARS. With g the clipped gradient of a convolution's or linear layer's weight w and r = trust_coefficient·‖w‖ /
/// (‖g‖ + weight_decay·‖w‖), or 1 if ‖w‖ or ‖g‖ is 0: v = momentum·v + r·(g + weight_decay·w); w = w − lr·v. For norms and biases r is 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lars {
    /// Learning rate.
    pub lr: f64,
    /// Weight of the previous velocity.
    pub momentum: f64,
    /// Weight of the parameters in the gradient.
    pub weight_decay: f64,
    /// How far a weight moves, relative to its length, at a learning rate of 1.
    pub trust_coefficient: f64,
}

pub(super) fn kept(lars: &Lars) -> &'static [&'static str] {
    sgd::kept(&descent(lars))
}

pub(super) fn with(lars: &Lars, lr: f64, weight_decay: f64) -> Lars {
    Lars { lr, weight_decay, ..*lars }
}

/// Whether it is one whole weight decides on its rate.
pub(super) fn update(lars: &Lars, executor: &Executor, is_weight: bool, mut update: Update) -> Result<()> {
    let mut descent = descent(lars);
    if is_weight {
        let ratio = trust_ratio(lars, executor, &update)?;
        descent.weight_decay *= ratio;
        update.clip = Clip { scale: update.clip.scale * ratio, limit: update.clip.limit * ratio };
    }
    sgd::update(&descent, executor, update)
}

fn trust_ratio(lars: &Lars, executor: &Executor, update: &Update) -> Result<f64> {
    let weight = sum_of_squares(executor, &update.params.view())?.sqrt();
    // Of gradients that are limited one by one it is the length before that: an upper bound.
    let gradient = update.clip.scale * sum_of_squares(executor, &update.grads)?.sqrt();
    if weight > 0.0 && gradient > 0.0 {
        return Ok(lars.trust_coefficient * weight / (gradient + lars.weight_decay * weight));
    }
    Ok(1.0)
}

fn descent(lars: &Lars) -> Sgd {
    let &Lars { lr, momentum, weight_decay, .. } = lars;
    Sgd { lr, momentum, dampening: 0.0, nesterov: false, weight_decay }
}
