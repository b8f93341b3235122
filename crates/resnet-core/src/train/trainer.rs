//! One update after the other.

use super::accumulation::Accumulation;
use super::optimizer::{OptimizerState, Updater};
use super::settings::UpdateConfig;
use super::step::{step, step_shards, Updating};
use crate::data::{Batch, Input, LabelsRef, Mixed};
use crate::device::Compute;
use crate::distributed::Group;
use crate::engine::{Execution, ShardedExecution};
use crate::error::{Code, Error, Result};
use crate::loss::Loss;
use crate::metrics::Metrics;
use crate::session::Session;
use crate::tensor::{Images, Named};
use crate::trainer_memory::TrainerShare;
use resnet_ops::Real;

/// Shards of batches that there is to be room for.
pub(crate) struct PreparedFor<'a> {
    /// The ranks.
    pub group: Group<'a>,
    /// (N, C, H, W) of the largest shard.
    pub shape: [usize; 4],
    /// Whether batch norms have the statistics of all shards.
    pub synced: bool,
}

impl PreparedFor<'_> {
    /// The same for a while.
    fn lent(&mut self) -> PreparedFor<'_> {
        let Self { group: Group { communicator, sharding, all_reduce }, shape, synced } = self;
        let group =
            Group { communicator: &mut **communicator, sharding: *sharding, all_reduce: all_reduce.as_deref_mut() };
        PreparedFor { group, shape: *shape, synced: *synced }
    }
}

/// Makes updates: holds what an optimiser keeps between steps.
pub struct Trainer {
    pub(super) updating: Updating,
    loss: Loss,
    stepped: bool,
    share: TrainerShare,
}

impl Trainer {
    /// A trainer with a fresh optimiser.
    pub fn new(config: impl Into<UpdateConfig>) -> Self {
        let UpdateConfig { optimizer, parameters, clip, accumulate, loss } = config.into();
        let accumulation = Accumulation::new(accumulate);
        let updater = Updater::new(optimizer, parameters, clip);
        let updating = Updating { accumulation, updater, ema: None };
        Self { updating, loss, stepped: false, share: TrainerShare::default() }
    }

    /// One update on images with their labels, or the gradients of one of its batches if it has several; returns loss and accuracy before
    /// it.
    ///
    /// # Errors
    /// `ERR_SHAPE` and `ERR_LABEL` if the images or labels do not fit the network; `ERR_NON_FINITE_LOSS`. Each leaves the
    /// weights and running statistics as they were. `ERR_NON_FINITE_WEIGHTS` if the update made some of them NaN or infinite, which a GPU
    /// tells at the next step; they are of no use then, and what the optimiser has kept is forgotten.
    pub fn step(&mut self, session: &mut Session, images: Images, labels: &[u32]) -> Result<Metrics> {
        self.step_mixed(session, images, labels.into(), None)
    }

    /// [`Trainer::step`] on images with labels of any kind, into which others may have been mixed, that have labels of the same kind.
    ///
    /// # Errors
    /// As [`Trainer::step`]; `ERR_INVALID_ARGUMENT` if the share is not from 0 to 1, or the loss is not for such labels.
    pub fn step_mixed(
        &mut self,
        session: &mut Session,
        images: Images,
        labels: LabelsRef,
        mixed: Option<&Mixed>,
    ) -> Result<Metrics> {
        images.check()?;
        let execution = self.prepare(session, images.shape)?;
        execution.check_labels(labels)?;
        if let Some(Mixed { labels, share }) = mixed {
            execution.check_labels(labels.all())?;
            if !(0.0..=1.0).contains(share) {
                return Err(Error::expected(Code::InvalidArgument, "mixed.share", "a number from 0 to 1", share));
            }
        }
        let outputs = execution.output_shape().channels();
        self.loss.check_labels(outputs, labels)?;
        mixed.map_or(Ok(()), |mixed| self.loss.check_labels(outputs, mixed.labels.all()))?;
        let metrics = self.update(execution, images.into(), labels, mixed, false);
        let metrics = metrics.map_err(|error| lost(error, "before this step"));
        self.tell_memory(session);
        let checked = metrics.and_then(|metrics| {
            Self::check_done(session).map(|()| metrics).map_err(|error| lost(error, "after this step"))
        });
        if checked.as_ref().is_err_and(|error| error.code == Code::NonFiniteWeights) {
            // What it keeps is not finite either, and would spoil the weights that a file brings.
            self.updating.updater.state = OptimizerState::default();
            self.updating.accumulation.forget();
        }
        checked
    }

    /// [`Trainer::step`] on a batch, whose images may be on the GPU, with labels that have been checked. What it says of weights is about the
    /// update before. The batch `is_last` of its update at the latest.
    pub(crate) fn step_on(
        &mut self,
        session: &mut Session,
        images: Input,
        batch: &Batch,
        is_last: bool,
    ) -> Result<Metrics> {
        let execution = self.prepare(session, images.shape)?;
        let metrics = self.update(execution, images, batch.labels.all(), batch.mixed.as_ref(), is_last);
        self.tell_memory(session);
        metrics
    }

    /// The same of the shards of a batch that are this rank's; none if the whole batch has no image.
    pub(crate) fn step_on_shards(
        &mut self,
        session: &mut Session,
        mut shards: PreparedFor,
        images: Input,
        batch: &Batch,
        is_last: bool,
    ) -> Result<Option<Metrics>> {
        let execution = self.prepare_shards(session, shards.lent())?;
        let metrics = step_shards(execution, &mut self.updating, images, (batch, &self.loss), is_last);
        self.stepped = true;
        self.tell_memory(session);
        metrics
    }

    /// Makes ready for steps on shards of batches.
    pub(super) fn prepare_shards<'a>(
        &mut self,
        session: &'a mut Session,
        shards: PreparedFor<'a>,
    ) -> Result<ShardedExecution<'a>> {
        let updater = &mut self.updating.updater;
        let PreparedFor { group, shape, synced } = shards;
        updater.look_at(session.bound_to(shape)?)?;
        session.prepare_shards(shape, updater.mode(), group, synced)
    }

    /// Says what it keeps where the session's memory is asked for.
    fn tell_memory(&mut self, session: &Session) {
        self.share.set(session.trainer_memory(), self.updating.bytes());
    }

    /// Makes ready for steps on images (N, C, H, W); looks at the network's parameters and binds the input channels.
    pub(super) fn prepare<'a>(&mut self, session: &'a mut Session, shape: [usize; 4]) -> Result<Execution<'a>> {
        let updater = &mut self.updating.updater;
        updater.look_at(session.bound_to(shape)?)?;
        session.prepare(shape, updater.mode())
    }

    fn update(
        &mut self,
        execution: Execution,
        images: Input,
        labels: LabelsRef,
        mixed: Option<&Mixed>,
        is_last: bool,
    ) -> Result<Metrics> {
        let (n, targets) = (images.shape[0], self.loss.targets(labels, mixed.map(Mixed::other)));
        let metrics = step(execution, &mut self.updating, (n, images), |execution| execution.loss(targets), is_last)?;
        self.stepped = true;
        Ok(metrics)
    }

    /// Whether the last batch made an update, or none has come.
    pub(super) fn is_between_updates(&self) -> bool {
        self.updating.accumulation.batches() == 0
    }

    /// The learning rate of the next updates, before the factors of groups.
    pub fn lr(&self) -> f64 {
        self.updating.updater.lr
    }

    /// Sets it, to a number of at least 0.
    pub fn set_lr(&mut self, lr: f64) {
        self.updating.updater.lr = lr;
    }

    /// Refuses weights that the last update has made NaN or infinite, unless a GPU may still be at it.
    pub(crate) fn check_done(session: &Session) -> Result<()> {
        match session.executor().gpu() {
            None => session.check_updated(),
            Some(_) => Ok(()),
        }
    }

    /// The last step's gradients by parameter name, in canonical order, before weight decay, of all parameters that are not frozen; empty
    /// before the first step. In f32, or in f64 from the f64 backend.
    ///
    /// # Errors
    /// `ERR_NOT_BUILT` before the input channels are known.
    pub fn gradients<V: Real>(&self, session: &Session) -> Result<Named<V>> {
        if !self.stepped {
            return Ok(Vec::new());
        }
        session.gradients(&self.updating.updater.mode().frozen)
    }
}

/// The error with when the weights were lost, if it is about them.
pub(super) fn lost(error: Error, when: impl std::fmt::Display) -> Error {
    if error.code != Code::NonFiniteWeights {
        return error;
    }
    Error::new(error.code, format!("{} {when}; these weights are lost", error.message))
}

/// Moves a session's weights, and what its trainers keep between steps, to another device, or to the same one with other settings.
///
/// # Errors
/// `ERR_DEVICE`, `ERR_OUT_OF_MEMORY`; everything has stayed where it was then.
pub fn move_to<'a>(
    session: &mut Session,
    compute: Compute,
    trainers: impl IntoIterator<Item = &'a mut Trainer>,
) -> Result<()> {
    let copied = session.copied_to(compute)?;
    let moved = trainers.into_iter().map(|trainer| {
        // An average is kept by fits alone, whose trainers do not move.
        let Updating { accumulation, updater, ema: _ } = &trainer.updating;
        let (accumulation, state) = (accumulation.copied(&copied.executor)?, updater.state.copied(&copied.executor)?);
        Ok((accumulation, state, trainer))
    });
    for (accumulation, state, trainer) in moved.collect::<Result<Vec<_>>>()? {
        trainer.updating.accumulation = accumulation;
        trainer.updating.updater.state = state;
    }
    session.settle(copied);
    Ok(())
}
