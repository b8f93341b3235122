//! The training loop.

use super::schedule::{Clock, Schedule};
use super::settings::{one, UpdateConfig};
use super::trainer::lost;
use super::{Clip, Control, EpochRow, Event, Flow, Metrics, Optimizer, ParameterSettings, Trainer};
use crate::data::{Augment, DataPass, Dataset, Mixed, Order, ResidentDataset};
use crate::error::{named, Code, Error, Result};
use crate::interface::Interface;
use crate::plan::Mode;
use crate::session::Session;
use resnet_ops::cross_entropy::Targets;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

/// Settings of a training run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
    /// A weight for each class in the loss of training; see [`Targets`].
    #[serde(default)]
    pub class_weights: Option<Vec<f64>>,
    /// Threads that prepare batches, as many as are usual if absent.
    #[serde(default)]
    pub loader_threads: Option<usize>,
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

    /// How updates are made.
    fn update(&self) -> UpdateConfig {
        let Self { optimizer, ref parameters, clip, accumulate, .. } = *self;
        UpdateConfig { optimizer, parameters: parameters.clone(), clip, accumulate }
    }
}

/// Trains; returns a row for each epoch.
///
/// # Errors
/// What would make a step fail is refused before the first one. `ERR_NON_FINITE_LOSS` names the step, or the epoch after which the
/// validation's is not; `ERR_ABORTED` if the control stopped the run. After these the weights are those of the last whole step.
/// `ERR_NON_FINITE_WEIGHTS` names the step that made some of them NaN or infinite; they are of no use then.
pub fn fit(
    session: &mut Session,
    train: &Dataset,
    validation: Option<&Dataset>,
    config: &FitConfig,
    control: &mut dyn Control,
) -> Result<Vec<EpochRow>> {
    for (parameter, value) in [("epochs", config.epochs), ("batchSize", config.batch_size)] {
        if value == 0 {
            return Err(Error::expected(Code::InvalidArgument, parameter, "at least 1", 0));
        }
    }
    let batch_size = config.batch_size.min(train.len());
    let rest = if config.drop_last { 0 } else { train.len() % batch_size };
    let last_batch = if rest == 0 { batch_size } else { rest };
    let update = config.update();
    update.check()?;
    if let Some(schedule) = &config.schedule {
        schedule.check(config.epochs)?;
    }
    let mut trainer = Trainer::new(update);
    session.check_data("images", train)?;
    // Before anything that may be cancelled: from here on the weights are this data set's.
    session.set_interface(Interface::of(train))?;
    check_training(session, &mut trainer, train, batch_size, last_batch)?;
    if let Some(weights) = &config.class_weights {
        session.check_class_weights(weights, train)?;
    }
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
    let validation = validation.map(|data| session.resident(data)).transpose()?;
    let mut run = Run { session, config, control, trainer, losses: Vec::new() };
    (1..=config.epochs).map(|epoch| run.epoch(&train, validation.as_ref(), epoch)).collect()
}

/// Refuses what a step would refuse; makes room for the steps.
fn check_training(
    session: &mut Session,
    trainer: &mut Trainer,
    data: &Dataset,
    batch_size: usize,
    last_batch: usize,
) -> Result<()> {
    let [channels, height, width] = data.image_shape();
    let mut execution = session.prepare([batch_size, channels, height, width], &Mode::TRAIN)?;
    execution.check_updated()?;
    let (executor, params, _) = execution.parts();
    trainer.updating.updater.reserve(executor, params)?;
    trainer.updating.accumulation.reserve(executor, params.parameters_len())?;
    execution.check_norms(batch_size)?;
    execution.check_norms(last_batch)
}

struct Run<'a> {
    session: &'a mut Session,
    config: &'a FitConfig,
    control: &'a mut dyn Control,
    trainer: Trainer,
    /// The losses that schedules look at, epoch by epoch.
    losses: Vec<f64>,
}

impl Run<'_> {
    fn epoch(
        &mut self,
        train: &ResidentDataset,
        validation: Option<&ResidentDataset>,
        epoch: usize,
    ) -> Result<EpochRow> {
        let began = Instant::now();
        let seed = self.config.seed.unwrap_or(self.session.seed());
        let FitConfig { batch_size, shuffle, drop_last, augment, balance, loader_threads, .. } = self.config;
        let order = match (*balance, *shuffle) {
            (Some(power), _) => Order::Balanced { seed, epoch: epoch as u64, power },
            (None, true) => Order::Shuffled { seed, epoch: epoch as u64 },
            (None, false) => Order::Sequential,
        };
        let pass = DataPass::new(train.data(), *batch_size, order, *drop_last)?;
        let pass = pass.augmented(&Arc::new(augment.clone()), seed, epoch as u64)?.cancelled_by(self.session.cancel());
        let mut loader = train.loader_of(pass, *loader_threads)?;
        let (batches, every) = (loader.steps(), self.config.accumulate);
        let steps = batches.div_ceil(every);
        let mut total = Metrics::default();
        let mut waiting = 0.0;
        for step in 1..=steps {
            self.set_lr((epoch - 1) * steps + step - 1, steps);
            let mut metrics = Metrics::default();
            for number in (step - 1) * every + 1..=(step * every).min(batches) {
                // Where pictures are skipped there may be fewer.
                let Some(batch) = loader.next() else { break };
                let batch = batch?;
                let targets = Targets {
                    labels: &batch.labels,
                    mixed: batch.mixed.as_ref().map(Mixed::target),
                    class_weights: self.config.class_weights.as_deref(),
                };
                let is_last = number == batches;
                let stepped = self.trainer.step_on(self.session, train.input(batch), targets, is_last);
                metrics.merge(stepped.map_err(|error| at(error, epoch, step))?);
            }
            if metrics.samples() == 0 {
                break;
            }
            Trainer::check_done(self.session).map_err(|error| after(error, epoch, step))?;
            total.merge(metrics);
            let seconds = began.elapsed().as_secs_f64();
            waiting = loader.waited().as_secs_f64() / seconds;
            self.tell(&Event::Step {
                epoch,
                step,
                steps,
                loss: metrics.loss(),
                accuracy: metrics.accuracy(),
                lr: self.trainer.lr(),
                images_per_second: total.samples() as f64 / seconds,
                seconds_left: seconds / step as f64 * (steps - step) as f64,
                waiting,
            })?;
        }
        if total.samples() == 0 {
            let expected = "at least one sample that can be read";
            return Err(Error::expected(Code::DataCorrupt, "data.train", expected, "none"));
        }
        self.session.check_updated().map_err(|error| after(error, epoch, steps))?;
        let validated = validation.map(|data| self.validate(data, epoch)).transpose()?;
        check_validated(validated, epoch)?;
        self.losses.push(validated.unwrap_or(total).loss());
        let row = EpochRow {
            epoch,
            loss: total.loss(),
            accuracy: total.accuracy(),
            validation_loss: validated.map(|metrics| metrics.loss()),
            validation_accuracy: validated.map(|metrics| metrics.accuracy()),
            lr: self.trainer.lr(),
            seconds: began.elapsed().as_secs_f64(),
            waiting,
        };
        self.tell(&Event::EpochEnd(row.clone()))?;
        Ok(row)
    }

    /// Sets the rate of the update that follows on `step` others, of which an epoch has `epoch_steps`.
    fn set_lr(&mut self, step: usize, epoch_steps: usize) {
        if let Some(schedule) = &self.config.schedule {
            let total = self.config.epochs.saturating_mul(epoch_steps);
            let clock = Clock { step, epoch_steps, total, losses: &self.losses };
            self.trainer.set_lr(schedule.lr(self.config.optimizer.lr(), &clock));
        }
    }

    fn validate(&mut self, data: &ResidentDataset, epoch: usize) -> Result<Metrics> {
        let control = &mut *self.control;
        self.session.evaluate_resident(data, self.config.batch_size, |session, done, total| {
            control.on_event(session, &Event::Validation { epoch, done, total }) == Flow::Continue
        })
    }

    fn tell(&mut self, event: &Event) -> Result<()> {
        match self.control.on_event(self.session, event) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(Error::new(Code::Aborted, "the training run was cancelled")),
        }
    }
}

/// The error of a step with its place; what it says of weights is the step before's doing.
fn at(error: Error, epoch: usize, step: usize) -> Error {
    if error.code != Code::NonFiniteLoss {
        return after(error, epoch, step - 1);
    }
    Error::new(error.code, format!("{} at epoch {epoch}, step {step}", error.message))
}

/// The error with the step after which weights are lost, if it is about them.
fn after(error: Error, epoch: usize, step: usize) -> Error {
    lost(error, format_args!("after epoch {epoch}, step {step}"))
}

/// Weights that are finite may give logits that are not.
fn check_validated(validated: Option<Metrics>, epoch: usize) -> Result<()> {
    match validated.map(|metrics| metrics.loss()).filter(|loss| !loss.is_finite()) {
        None => Ok(()),
        Some(loss) => {
            let got = format!("{} after epoch {epoch}", named(loss));
            Err(Error::expected(Code::NonFiniteLoss, "validation loss", "a finite number", got))
        }
    }
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
            class_weights: None,
            loader_threads: None,
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
