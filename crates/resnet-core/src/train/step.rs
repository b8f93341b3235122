//! One training step.

use super::optimizer::Updater;
use crate::data::Input;
use crate::engine::Execution;
use crate::error::{named, Code, Error, Result};
use crate::metrics::Metrics;
use resnet_ops::cross_entropy::Targets;

/// One update, where a batch has been prepared for in [`crate::plan::Mode::TRAIN`]. Returns loss and accuracy before the update. A loss
/// that is not finite is an error and changes nothing; so are weights that the update before has made so, of which a GPU tells only now.
pub(super) fn step(
    mut execution: Execution,
    updater: &mut Updater,
    images: Input,
    targets: Targets,
) -> Result<Metrics> {
    let n = images.shape[0];
    execution.check_norms(n)?;
    let (executor, params, _) = execution.parts();
    updater.reserve(executor, params)?;
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
    let (executor, params, weights) = execution.parts();
    updater.step(executor, params, weights)?;
    weights.updates += 1;
    let mut metrics = Metrics::default();
    metrics.add(outcome, n);
    Ok(metrics)
}
