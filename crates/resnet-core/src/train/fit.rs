//! The training loop: its settings, and what is refused before the first step.

mod checkpoint;
mod ranks;
mod run;
mod run_state;

pub use checkpoint::CheckpointConfig;

use super::course::CourseConfig;
use super::schedule::Schedule;
use super::settings::{one, UpdateConfig};
use super::{Clip, Control, EpochRow, Optimizer, ParameterSettings, Trainer};
use crate::data::{Augment, DataPass, Dataset, Order, ResidentDataset};
use crate::distributed::{Communicator, GpuAllReduce};
use crate::engine::BatchExecution;
use crate::error::{Code, Error, Result};
use crate::interface::Interface;
use crate::loss::Loss;
use crate::session::Session;
use checkpoint::{Checkpoint, Checkpoints, Identity};
use ranks::Ranks;
use run::Run;
use run_state::RunState;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// How many times the training set is gone through.
    pub epochs: usize,
    /// Samples of a batch.
    pub batch_size: usize,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// What is not the same for all parameters.
    #[serde(default)]
    pub parameters: ParameterSettings,
    /// How gradients are clipped, if they are.
    #[serde(default)]
    pub clip: Option<Clip>,
    /// Batches of an update, whose gradients are those of one large batch; an epoch's last update may have fewer.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// The learning rate's schedule; the optimiser's rate if absent.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Seed of the sample order; the session's if absent.
    pub seed: Option<u64>,
    /// Whether each epoch takes the samples in an order of its own.
    pub shuffle: bool,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
    /// How images are changed at random.
    #[serde(default)]
    pub augment: Augment,
    /// Rare classes more often: see [`Order::Balanced`], instead of each sample once.
    #[serde(default)]
    pub balance: Option<f64>,
    /// What training makes small.
    #[serde(default)]
    pub loss: Loss,
    /// Threads that prepare batches, as many as are usual if absent.
    #[serde(default)]
    pub loader_threads: Option<usize>,
    /// How it goes through its epochs.
    #[serde(default)]
    pub course: CourseConfig,
    /// Where and when it writes checkpoints, if it does.
    #[serde(default)]
    pub checkpoint: Option<CheckpointConfig>,
    /// Shards of a batch, on whose number results depend where they do not on that of ranks; as many as there are ranks if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
    /// Whether batch norms have the statistics of a whole batch, and not of each shard.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub sync_batch_norm: bool,
    /// The checkpoint to go on from, or a folder with such, of which it is the last; if the folder is that of the run's own checkpoints and
    /// there is none in it, the run begins.
    #[serde(default)]
    pub resume: Option<PathBuf>,
}

impl FitConfig {
    /// The settings of a description such as
    /// `{"epochs":10,"batch_size":128,"optimizer":{"type":"sgd",…},"shuffle":true,"drop_last":false}`; for the optimiser's see
    /// [`Optimizer::from_json`].
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("fit: {error}")))
    }

    /// Whether it writes checkpoints or goes on from one.
    fn has_checkpoints(&self) -> bool {
        (self.checkpoint.is_some() || self.resume.is_some()) && self.course.fast_dev_run.is_none()
    }

    /// Whether it goes on from a checkpoint, if there is one.
    fn resumes(&self) -> bool {
        self.resume.is_some() && self.has_checkpoints()
    }

    /// How updates are made.
    pub(super) fn update(&self) -> UpdateConfig {
        let Self { optimizer, ref parameters, clip, accumulate, ref loss, .. } = *self;
        UpdateConfig { optimizer, parameters: parameters.clone(), clip, accumulate, loss: loss.clone() }
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_true(value: &bool) -> bool {
    *value
}

/// Trains, each batch's shards shared by the ranks that all call this with the same session, data and settings; each gets the same. Returns a
/// row for each epoch. Rank 0 alone writes checkpoints.
///
/// # Errors
/// What would make a step fail is refused before the first one. `ERR_NON_FINITE_LOSS` names the step, or the epoch after which the
/// validation's is not; `ERR_ABORTED` if the control stopped the run. After these the weights are those of the last whole step.
/// `ERR_NON_FINITE_WEIGHTS` names the step that made some of them NaN or infinite; they are of no use then. `ERR_DISTRIBUTED` if ranks
/// differ in what they were given, or one is lost. An error on one rank is one on all, at the latest within the next step.
pub fn fit(
    session: &mut Session,
    train: &Dataset,
    validation: Option<&Dataset>,
    config: &FitConfig,
    control: &mut dyn Control,
    communicator: &mut dyn Communicator,
) -> Result<Vec<EpochRow>> {
    let mut state = RunState::new(config);
    let ended = go_on(session, train, validation, config, control, communicator, &mut state);
    if let Err(error) = &ended {
        let reason = control.reason().filter(|_| error.code == Code::Aborted);
        communicator.fail(&reason.map_or_else(|| error.clone(), |reason| Error::new(Code::Aborted, reason)));
    }
    ended.map(|()| state.progress.rows)
}

/// The same from where a run of this session, with the same data and settings, was stopped. What stops it leaves the state to go on from.
pub(in crate::train) fn go_on(
    session: &mut Session,
    train: &Dataset,
    validation: Option<&Dataset>,
    config: &FitConfig,
    control: &mut dyn Control,
    communicator: &mut dyn Communicator,
    state: &mut RunState,
) -> Result<()> {
    let sharding = config.sharding(communicator)?;
    let config = &FitConfig { shards: sharding.map(|sharding| sharding.shards), ..config.clone() };
    for (parameter, value) in [("epochs", config.epochs), ("batchSize", config.batch_size)] {
        if value == 0 {
            return Err(Error::expected(Code::InvalidArgument, parameter, "at least 1", 0));
        }
    }
    config.update().check()?;
    if let Some(schedule) = &config.schedule {
        schedule.check(config.epochs)?;
    }
    config.course.check(config.epochs, validation.is_some())?;
    config.checkpoint.iter().try_for_each(CheckpointConfig::check)?;
    let batches = DataPass::new(train, config.batch_size, Order::Sequential, config.drop_last)?.steps();
    let course = config.course.of(config.epochs, config.batch_size, batches, config.accumulate)?;
    let batch_size = config.batch_size.min(train.len());
    let rest = if config.drop_last { 0 } else { train.len() % batch_size };
    let last_batch = if rest == 0 || course.batches < batches { batch_size } else { rest };
    session.check_not_quantized("model")?;
    session.check_data("images", train)?;
    let is_told = communicator.size() > 1 || config.has_checkpoints();
    let identity = is_told.then(|| Identity::of(config, train, validation)).transpose()?;
    let (mut checkpoints, mut checkpoint) = open_checkpoints(session, config, communicator, identity.as_ref())?;
    let RunState { trainer, .. } = &mut *state;
    // Before anything that may be cancelled: from here on the weights are this data set's.
    session.set_interface(Interface::of(train))?;
    let mut ranks = Ranks { communicator, sharding, synced: config.sync_batch_norm, all_reduce: None };
    check_training(session, trainer, train, [batch_size, last_batch], &mut ranks)?;
    session.check_loss(&config.loss, train)?;
    if let Some(validation) = validation {
        session.check_data("validation", validation)?;
    }
    train.check_augment(&config.augment)?;
    if let Some(validation) = validation {
        session.check_names("validation", validation)?;
    }
    let train = match config.augment.is_empty() {
        true => session.resident(train)?,
        false => ResidentDataset::on_host(train),
    };
    let validation = validation.filter(|_| config.course.overfit_batches.is_none());
    let validation = validation.map(|data| session.resident(&data.take(course.evaluated)?)).transpose()?;
    if let Some(identity) = identity.filter(|_| ranks.communicator.size() > 1) {
        ranks.agree(session, &identity, config.resumes())?;
    }
    for (checkpoint, checkpoints) in checkpoint.iter_mut().zip(&checkpoints) {
        checkpoint.set_damaged_aside(checkpoints, session.cancel())?;
    }
    let checkpoint = if config.resumes() { ranks.share(checkpoint, session.cancel())? } else { None };
    let resumed = checkpoint.map(|checkpoint| checkpoint.give(session, state)).transpose()?;
    // A step that was aborted may have left another count, by which dropout would drop otherwise.
    session.weights_mut()?.1.batch = state.trainer.updating.accumulation.batches() as u64;
    let (train, validation, since) = (&train, validation.as_ref(), Instant::now());
    let tells_best = (config.has_checkpoints() && config.checkpoint.is_some()) || resumed.is_some();
    let checkpoints = checkpoints.as_mut();
    let mut run =
        Run { session, config, control, course, train, validation, state, since, checkpoints, tells_best, ranks };
    run.go(resumed)?;
    run.ranks.all_reduce.into_iter().for_each(GpuAllReduce::finish);
    Ok(())
}

/// The folder to write checkpoints to, if there is one, and the checked checkpoint to resume from, if there is one; both of rank 0 alone.
fn open_checkpoints(
    session: &Session,
    config: &FitConfig,
    communicator: &dyn Communicator,
    identity: Option<&Identity>,
) -> Result<(Option<Checkpoints>, Option<Checkpoint>)> {
    let FitConfig { checkpoint, resume, .. } = config;
    let Some(identity) = identity.filter(|_| config.has_checkpoints() && communicator.rank() == 0) else {
        return Ok((None, None));
    };
    let checkpoints = checkpoint.as_ref().map(|config| Checkpoints::take(config, identity.clone())).transpose()?;
    let begins = |from: &&Path| checkpoint.as_ref().is_some_and(|config| config.is_begun_by(from));
    let from = resume.as_deref().filter(|from| !begins(from));
    checkpoints.iter().try_for_each(|checkpoints| checkpoints.check(resume.as_deref()))?;
    let checkpoint = from.map(|from| Checkpoint::read(from, communicator.size() > 1, session.cancel())).transpose()?;
    checkpoint.iter().try_for_each(|checkpoint| checkpoint.check(session, config.epochs, identity))?;
    Ok((checkpoints, checkpoint))
}

/// Refuses what a step would refuse, of a batch and the last one; makes room for the steps.
fn check_training(
    session: &mut Session,
    trainer: &mut Trainer,
    data: &Dataset,
    [batch_size, last_batch]: [usize; 2],
    ranks: &mut Ranks,
) -> Result<()> {
    let [channels, height, width] = data.image_shape();
    let shape = [batch_size, channels, height, width];
    if let Some(shards) = ranks.prepared_for(shape) {
        let mut execution = trainer.prepare_shards(session, shards)?;
        execution.check_updated()?;
        execution.check_norms(batch_size)?;
        execution.check_norms(last_batch)?;
        return trainer.updating.reserve(execution.parts());
    }
    let mut execution = trainer.prepare(session, shape)?;
    execution.check_updated()?;
    trainer.updating.reserve(execution.parts())?;
    execution.check_norms(batch_size)?;
    execution.check_norms(last_batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Sgd;

    const JSON: &str = r#"{"epochs":3,"batch_size":32,
        "optimizer":{"type":"sgd","lr":0.30000000000000004,"momentum":0.9,"nesterov":true,"weight_decay":0},
        "seed":9007199254740991,"shuffle":true,"drop_last":false}"#;

    #[test]
    fn json_gives_the_settings_to_the_last_bit() {
        let sgd = Sgd { lr: 0.1 + 0.2, momentum: 0.9, dampening: 0.0, nesterov: true, weight_decay: 0.0 };
        let expected = FitConfig {
            epochs: 3,
            batch_size: 32,
            optimizer: Optimizer::Sgd(sgd),
            parameters: ParameterSettings::default(),
            clip: None,
            accumulate: 1,
            schedule: None,
            seed: Some((1 << 53) - 1),
            shuffle: true,
            drop_last: false,
            augment: Augment::default(),
            balance: None,
            loss: Loss::default(),
            loader_threads: None,
            course: CourseConfig::default(),
            checkpoint: None,
            shards: None,
            sync_batch_norm: true,
            resume: None,
        };
        assert_eq!(FitConfig::from_json(JSON).unwrap(), expected);
        let without_seed = JSON.replace(r#""seed":9007199254740991,"#, "");
        assert_eq!(FitConfig::from_json(&without_seed).unwrap(), FitConfig { seed: None, ..expected });
    }

    #[test]
    fn what_describes_no_run_is_refused() {
        for (from, to) in [("drop_last", "dropLast"), ("3,", "-3,"), ("sgd", "adamax"), (r#""shuffle":true,"#, "")] {
            let error = FitConfig::from_json(&JSON.replace(from, to)).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.starts_with("fit: "), "{error}");
        }
    }
}
