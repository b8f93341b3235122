//! One training step: a batch, and the update if it is its last.

use super::accumulation::Accumulation;
use super::ema::Ema;
use super::optimizer::Updater;
use crate::data::Input;
use crate::engine::{Execution, Targets};
use crate::error::{named, Code, Error, Result};
use crate::metrics::Metrics;

/// What makes updates.
pub(super) struct Updating {
    pub accumulation: Accumulation,
    pub updater: Updater,
    /// The average of the weights, if one is kept.
    pub ema: Option<Ema>,
}

impl Updating {
    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let Self { accumulation, updater, ema } = self;
        accumulation.bytes() + updater.state.bytes() + ema.as_ref().map_or(0, Ema::bytes)
    }

    /// Makes room for what lives longer than a step; only the first time does it anything.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if groups do not fit the network; `ERR_OUT_OF_MEMORY`; if the device fails.
    pub fn reserve(&mut self, execution: &mut Execution) -> Result<()> {
        let (executor, params, weights) = execution.parts();
        self.updater.reserve(executor, params)?;
        self.accumulation.reserve(executor, params.parameters_len())?;
        self.ema.iter_mut().try_for_each(|ema| ema.reserve(executor, weights))
    }
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
    execution.check_norms(n)?;
    updating.reserve(&mut execution)?;
    let Updating { accumulation, updater, ema } = updating;
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
        updater.step(executor, weights, clip, ema.as_mut())?;
        weights.updates += 1;
    }
    weights.batch = accumulation.batches() as u64;
    execution.keep_packed();
    let mut metrics = Metrics::default();
    metrics.add(outcome, n);
    Ok(metrics)
}
