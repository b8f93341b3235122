//! The training loop.

use super::{Control, EpochRow, Event, FitConfig, Flow, Metrics, Trainer};
use crate::data::{Dataset, Order, ResidentDataset};
use crate::error::{Code, Error, Result};
use crate::plan::Mode;
use crate::session::Session;
use std::time::Instant;

/// Trains; returns a row for each epoch.
///
/// # Errors
/// What would make a step fail is refused before the first one. `ERR_NON_FINITE_LOSS` names the step. `ERR_ABORTED` if the
/// control stopped the run. After any of them the weights are those of the last whole step.
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
    check_training(session, train, batch_size, last_batch)?;
    if let Some(validation) = validation {
        session.check_data("validation", validation)?;
    }
    let train = session.resident(train)?;
    let validation = validation.map(|data| session.resident(data)).transpose()?;
    let mut run = Run { session, config, control, trainer: Trainer::new(config.optimizer) };
    (1..=config.epochs).map(|epoch| run.epoch(&train, validation.as_ref(), epoch)).collect()
}

/// Refuses what a step would refuse; makes room for the steps.
fn check_training(session: &mut Session, data: &Dataset, batch_size: usize, last_batch: usize) -> Result<()> {
    let [channels, height, width] = data.image_shape();
    session.check_data("images", data)?;
    let execution = session.prepare([batch_size, channels, height, width], &Mode::TRAIN)?;
    execution.check_norms(batch_size)?;
    execution.check_norms(last_batch)
}

struct Run<'a> {
    session: &'a mut Session,
    config: &'a FitConfig,
    control: &'a mut dyn Control,
    trainer: Trainer,
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
        let order = match self.config.shuffle {
            true => Order::Shuffled { seed, epoch: epoch as u64 },
            false => Order::Sequential,
        };
        let mut loader = train.loader(self.config.batch_size, order, self.config.drop_last)?;
        let steps = loader.steps();
        let mut total = Metrics::default();
        for step in 1..=steps {
            let batch = loader.next().ok_or_else(|| Error::new(Code::Internal, "the loader ended early"))??;
            let stepped = self.trainer.step_on(self.session, train.input(batch), &batch.labels);
            let metrics = stepped.map_err(|error| at(error, epoch, step))?;
            total.merge(metrics);
            let seconds = began.elapsed().as_secs_f64();
            self.tell(&Event::Step {
                epoch,
                step,
                steps,
                loss: metrics.loss(),
                accuracy: metrics.accuracy(),
                images_per_second: total.samples() as f64 / seconds,
                seconds_left: seconds / step as f64 * (steps - step) as f64,
            })?;
        }
        let validated = validation.map(|data| self.validate(data, epoch)).transpose()?;
        let row = EpochRow {
            epoch,
            loss: total.loss(),
            accuracy: total.accuracy(),
            validation_loss: validated.map(|metrics| metrics.loss()),
            validation_accuracy: validated.map(|metrics| metrics.accuracy()),
            lr: self.config.optimizer.lr(),
            seconds: began.elapsed().as_secs_f64(),
        };
        self.tell(&Event::EpochEnd(row.clone()))?;
        Ok(row)
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

/// The error with the step at which it happened.
fn at(error: Error, epoch: usize, step: usize) -> Error {
    if error.code != Code::NonFiniteLoss {
        return error;
    }
    Error::new(error.code, format!("{} at epoch {epoch}, step {step}", error.message))
}
