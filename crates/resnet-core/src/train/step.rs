//! One training step: a batch, and the update if it is its last.

use super::accumulation::Accumulation;
use super::optimizer::Updater;
use crate::data::Input;
use crate::engine::Execution;
use crate::error::{named, Code, Error, Result};
use crate::metrics::Metrics;
use resnet_ops::cross_entropy::Targets;

/// What makes updates.
pub(super) struct Updating {
    pub accumulation: Accumulation,
    pub updater: Updater,
}

/// The gradients of a batch, where it has been prepared for training, and the update that it completes, as it does
/// at the latest if `is_last`. Returns loss and accuracy before the update. A loss that is not finite is an error and changes nothing; so
/// are weights that the update before has made so, of which a GPU tells only now.
pub(super) fn step(
    mut execution: Execution,
    updating: &mut Updating,
    images: Input,
    targets: Targets,
    is_last: bool,
) -> Result<Metrics> {
    let n = images.shape[0];
    let Updating { accumulation, updater } = updating;
    execution.check_norms(n)?;
    let (executor, params, _) = execution.parts();
    updater.reserve(executor, params)?;
    accumulation.reserve(executor, params.parameters_len())?;
    execution.forward(images)?;
    let outcome = execution.loss(targets)?;
    // First: of such weights no loss says anything.
    execution.check_updated()?;
    if !outcome.loss_sum.is_finite() {
        let message = format!("loss: expected a finite number, got {}", named(outcome.loss_sum / outcome.weight));
        return Err(Error::new(Code::NonFiniteLoss, message));
    }
    execution.backward()?;
    // Before the parameters move: a bias that was left out of the batch's mean joins it as the forward pass would have used it.
    execution.update_statistics()?;
    let (executor, _, weights) = execution.parts();
    if accumulation.take(executor, weights, outcome.weight, is_last)? {
        let clip = updater.clip(executor, &weights.gradients)?;
        updater.step(executor, weights, clip)?;
        weights.updates += 1;
    }
    weights.batch = accumulation.batches() as u64;
    execution.keep_packed();
    let mut metrics = Metrics::default();
    metrics.add(outcome, n);
    Ok(metrics)
}
