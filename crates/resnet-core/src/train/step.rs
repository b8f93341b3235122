//! One training step: a batch, and the update if it is its last.

use super::accumulation::Accumulation;
use super::ema::Ema;
use super::optimizer::Updater;
use crate::data::{Batch, Input};
use crate::engine::{BatchExecution, ShardedExecution};
use crate::error::{named, Code, Error, Result};
use crate::loss::Loss;
use crate::metrics::Metrics;
use crate::model::params::Params;
use crate::weights::Weights;
use resnet_ops::{Executor, Outcome};
use std::ops::Range;

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
    pub fn reserve(&mut self, (executor, params, weights): (&Executor, &Params, &mut Weights)) -> Result<()> {
        self.updater.reserve(executor, params)?;
        self.accumulation.reserve(executor, params.parameters_len())?;
        self.ema.iter_mut().try_for_each(|ema| ema.reserve(executor, weights))
    }
}

/// The gradients of a batch of `n` images, where it has been prepared for training, and the update that it completes, as it does
/// at the latest if `is_last`. Returns loss and accuracy before the update. A loss that is not finite is an error and changes nothing; so
/// are weights that the update before has made so, of which a GPU tells only now.
pub(super) fn step<E: BatchExecution>(
    mut execution: E,
    updating: &mut Updating,
    (n, images): (usize, Input),
    loss: impl FnOnce(&mut E) -> Result<Outcome>,
    is_last: bool,
) -> Result<Metrics> {
    execution.check_norms(n)?;
    updating.reserve(execution.parts())?;
    execution.forward(images)?;
    let outcome = loss(&mut execution)?;
    // First: of such weights no loss says anything.
    execution.check_updated()?;
    check_finite(outcome)?;
    execution.backward()?;
    // Before the parameters move: a bias that was left out of the batch's mean joins it as the forward pass would have used it.
    execution.update_statistics()?;
    update(execution.parts(), updating, outcome.weight, is_last)?;
    execution.keep_packed();
    let mut metrics = Metrics::default();
    metrics.add(outcome, n);
    Ok(metrics)
}

/// [`step`] of a batch whose shards are on several ranks, of which `batch` has this rank's; none if none of its pictures could be read. All
/// ranks come to the same.
pub(super) fn step_shards(
    mut execution: ShardedExecution,
    updating: &mut Updating,
    images: Input,
    (batch, loss): (&Batch, &Loss),
    is_last: bool,
) -> Result<Option<Metrics>> {
    let (labels, mixed) = (batch.labels.all(), batch.mixed.as_ref());
    let targets = |part: Range<usize>| {
        let other = mixed.map(|mixed| (mixed.labels.all().part(part.clone()), mixed.share));
        loss.targets(labels.part(part), other)
    };
    let mut first = 0;
    let own = batch.shards.iter().map(|&count| {
        let part = first..first + count;
        first = part.end;
        (count, targets(part).weight(count))
    });
    let (n, weight) = execution.begin(&own.collect::<Vec<_>>())?;
    if n == 0 {
        return Ok(None);
    }
    step(execution, updating, (n, images), |execution| execution.loss(weight, targets), is_last).map(Some)
}

fn check_finite(outcome: Outcome) -> Result<()> {
    if outcome.loss_sum.is_finite() {
        return Ok(());
    }
    let message = format!("loss: expected a finite number, got {}", named(outcome.loss_sum / outcome.weight));
    Err(Error::new(Code::NonFiniteLoss, message))
}

/// The update that the gradients of a batch of this weight complete, if they do.
fn update(
    (executor, _, weights): (&Executor, &Params, &mut Weights),
    updating: &mut Updating,
    weight: f64,
    is_last: bool,
) -> Result<()> {
    let Updating { accumulation, updater, ema } = updating;
    if accumulation.take(executor, weights, weight, is_last)? {
        let clip = updater.clip(executor, &weights.gradients)?;
        updater.step(executor, weights, clip, ema.as_mut())?;
        weights.updates += 1;
    }
    weights.batch = accumulation.batches() as u64;
    Ok(())
}
