//! A run at work: epoch after epoch, step after step, from wherever its progress says that it is.

use super::checkpoint::{Checkpoints, Origin};
use super::ranks::Ranks;
use super::run_state::RunState;
use super::FitConfig;
use crate::cancel::Cancel;
use crate::data::{DataPass, Loader, Order, ResidentDataset};
use crate::error::{named, Code, Error, Result};
use crate::session::Session;
use crate::train::best::Best;
use crate::train::course::Course;
use crate::train::early_stopping::{BestPlace, Watch};
use crate::train::progress::Progress;
use crate::train::schedule::Clock;
use crate::train::trainer::lost;
use crate::train::{Control, EpochRow, Event, Flow, Metrics, Trainer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run that has been checked.
pub(super) struct Run<'a> {
    pub session: &'a mut Session,
    pub config: &'a FitConfig,
    pub control: &'a mut dyn Control,
    pub course: Course,
    pub train: &'a ResidentDataset,
    pub validation: Option<&'a ResidentDataset>,
    pub state: &'a mut RunState,
    /// Where checkpoints go, if some are written.
    pub checkpoints: Option<&'a mut Checkpoints>,
    /// Whether the best epoch is told unasked: its model lies beside checkpoints, and a run that goes on from one counts it on.
    pub tells_best: bool,
    /// Who shares its batches.
    pub ranks: Ranks<'a>,
    /// Since when time is spent that is not in the progress yet.
    pub since: Instant,
}

impl Run<'_> {
    /// Goes on to the end, from this checkpoint if there is one. What stops it leaves the weights of the last whole step, or after an epoch's
    /// end what has been evaluated.
    pub fn go(&mut self, resumed: Option<Origin>) -> Result<()> {
        if let Some(Origin { path, skipped, lacks_best }) = resumed {
            if lacks_best {
                self.replace_best()?;
            }
            self.checkpoints.iter_mut().for_each(|checkpoints| checkpoints.begin_after(self.state.progress.updates));
            let Progress { rows, best, stopped_early, .. } = self.state.progress.clone();
            self.tell(&Event::Resumed { path, rows, steps: self.course.steps, skipped })?;
            self.tell_all(
                best.map(Event::Best).into_iter().chain(stopped_early.then_some(Event::StoppedEarly)).collect(),
            )?;
        }
        let ended = self.epochs();
        if ended.is_err() && self.state.progress.batches > 0 {
            self.put_averages(false)?;
        }
        match ended {
            Err(error) if error.code == Code::Aborted => self.checkpoint_after_abort().and(Err(error)),
            ended => ended,
        }
    }

    /// Makes up for a best model whose file was damaged or gone: by the weights that are kept, or else by the next that are evaluated, which then count
    /// as the best.
    fn replace_best(&mut self) -> Result<()> {
        let (Some(best), Some(checkpoints)) = (&self.state.best, &self.checkpoints) else {
            self.state.progress.best = None;
            return Ok(());
        };
        let (executor, weights) = self.session.weights_mut()?;
        let trained = Best::of(executor, weights)?;
        best.give(weights)?;
        let written = checkpoints.write_best(self.session);
        trained.give(self.session.weights_mut()?.1)?;
        written
    }

    fn epochs(&mut self) -> Result<()> {
        while self.is_more() {
            self.put_averages(false)?;
            self.epoch()?;
            self.checkpoint_after_epoch()?;
        }
        self.put_averages(true)?;
        if let Some(best) = &self.state.best {
            best.give(self.session.weights_mut()?.1)?;
        }
        Ok(())
    }

    /// Whether an epoch is under way or comes.
    fn is_more(&self) -> bool {
        let Progress { epoch, batches, stopped_early, .. } = self.state.progress;
        batches > 0 || (!stopped_early && epoch <= self.course.last_epoch)
    }

    fn epoch(&mut self) -> Result<()> {
        let (epoch, steps) = (self.state.progress.epoch, self.course.steps);
        if self.state.progress.batches == 0 {
            self.tell(&Event::EpochBegin { epoch, steps })?;
        }
        let mut loader = self.loader(epoch)?;
        loop {
            if self.is_evaluation_due() {
                self.evaluate()?;
                self.put_averages(false)?;
            }
            self.checkpoint_if_due()?;
            if self.state.progress.stopped_early || !self.update(&mut loader)? {
                break;
            }
        }
        drop(loader);
        self.end_epoch()
    }

    /// The batches of an epoch that are left.
    fn loader(&self, epoch: usize) -> Result<Loader> {
        let seed = self.config.seed.unwrap_or(self.session.seed());
        let FitConfig { shuffle, drop_last, augment, balance, loader_threads, course, .. } = self.config;
        let order = match (course.overfit_batches, *balance, *shuffle) {
            (None, Some(power), _) => Order::Balanced { seed, epoch: epoch as u64, power },
            (None, None, true) => Order::Shuffled { seed, epoch: epoch as u64 },
            (Some(_), _, _) | (None, None, false) => Order::Sequential,
        };
        let pass = DataPass::new(self.train.data(), self.config.batch_size, order, *drop_last)?;
        let pass = pass.augmented(&Arc::new(augment.clone()), seed, epoch as u64)?.cancelled_by(self.session.cancel());
        let pass = pass.limited_to(self.course.batches).from_batch(self.state.progress.batches);
        let pass = match self.ranks.sharding {
            Some(sharding) => pass.sharded(sharding),
            None => pass,
        };
        self.train.loader_of(pass, *loader_threads)
    }

    /// Makes the next update and tells of it; false if there are no batches for one.
    fn update(&mut self, loader: &mut Loader) -> Result<bool> {
        let (epoch, step) = (self.state.progress.epoch, self.state.progress.steps + 1);
        self.lap();
        let waited = loader.waited();
        while let Some(next) = loader.next_placed() {
            let (place, batch) = next?;
            self.set_lr();
            let RunState { progress, trainer, .. } = &mut *self.state;
            let is_last = place == self.course.batches;
            let images = self.train.input(batch);
            let [_, channels, height, width] = images.shape;
            let shape = [self.config.batch_size.min(self.train.data().len()), channels, height, width];
            let stepped = match self.ranks.prepared_for(shape) {
                Some(shards) => trainer.step_on_shards(self.session, shards, images, batch, is_last),
                None => trainer.step_on(self.session, images, batch, is_last).map(Some),
            };
            let stepped = stepped.map_err(|error| at(error, epoch, step))?;
            progress.batches = place;
            let Some(metrics) = stepped else { continue };
            progress.pending.merge(metrics);
            if trainer.is_between_updates() {
                let metrics = std::mem::take(&mut progress.pending);
                progress.metrics.merge(metrics);
                (progress.steps, progress.updates, progress.lr) = (step, progress.updates + 1, trainer.lr());
                let spent = self.lap();
                let seconds = &mut self.state.progress.seconds;
                seconds.steps += spent;
                seconds.waiting += (loader.waited() - waited).as_secs_f64();
                self.ranks.compare(self.session, self.state.progress.updates, false)?;
                self.updated(metrics)?;
                return Ok(true);
            }
        }
        // Where the last pictures were skipped, their update comes with the next epoch's first.
        let progress = &mut self.state.progress;
        progress.metrics.merge(std::mem::take(&mut progress.pending));
        progress.batches = self.course.batches;
        Ok(false)
    }

    fn updated(&mut self, metrics: Metrics) -> Result<()> {
        let RunState { progress, trainer, .. } = &mut *self.state;
        let (epoch, step, steps) = (progress.epoch, progress.steps, self.course.steps);
        Trainer::check_done(self.session).map_err(|error| after(error, epoch, step))?;
        let seconds = progress.seconds.steps;
        let event = Event::Step {
            epoch,
            step,
            steps,
            loss: metrics.loss(),
            accuracy: metrics.accuracy(),
            lr: progress.lr,
            images_per_second: progress.metrics.samples() as f64 / seconds,
            seconds_left: seconds / step as f64 * (steps.saturating_sub(step)) as f64,
            gradient_norm: trainer.updating.updater.norm,
            waiting: progress.seconds.waiting_share(),
        };
        self.tell(&event)
    }

    fn is_evaluation_due(&self) -> bool {
        let Progress { updates, .. } = self.state.progress;
        let is_at = |every| updates > 0 && updates % every == 0;
        self.config.course.every_steps().is_some_and(is_at) && self.state.progress.validation().is_none()
    }

    /// Evaluates the validation set, with the averages if they are kept, which stay with the session.
    fn evaluate(&mut self) -> Result<()> {
        let Some(validation) = self.validation else { return Ok(()) };
        let (epoch, step) = (self.state.progress.epoch, self.state.progress.steps);
        self.session.check_updated().map_err(|error| after(error, epoch, step))?;
        self.put_averages(true)?;
        let control = &mut *self.control;
        let mut held = Duration::ZERO;
        let validated =
            self.ranks.evaluate(self.session, validation, self.config.batch_size, |session, done, total| {
                let began = Instant::now();
                let flow = control.on_event(session, &Event::Validation { epoch, done, total });
                held += began.elapsed();
                flow == Flow::Continue
            })?;
        self.since += held;
        check_validated(validated, epoch)?;
        let events = self.observe(true, validated)?;
        let progress = &mut self.state.progress;
        progress.validated = Some((progress.updates, validated));
        progress.losses.push(validated.loss());
        self.tell_all(events)?;
        self.tell(&Event::Evaluated { epoch, step, loss: validated.loss(), accuracy: validated.accuracy() })
    }

    fn end_epoch(&mut self) -> Result<()> {
        let Progress { epoch, steps, metrics, .. } = self.state.progress;
        if metrics.samples() == 0 {
            let expected = "at least one sample that can be read";
            return Err(Error::expected(Code::DataCorrupt, "data.train", expected, "none"));
        }
        self.session.check_updated().map_err(|error| after(error, epoch, steps))?;
        self.ranks.compare(self.session, self.state.progress.updates, true)?;
        if self.config.course.is_evaluated(epoch) && self.state.progress.validation().is_none() {
            self.evaluate()?;
        }
        self.put_averages(true)?;
        let events = self.observe(false, metrics)?;
        if self.validation.is_none() {
            self.state.progress.losses.push(metrics.loss());
        }
        self.lap();
        let validated = self.state.progress.validation();
        let row = EpochRow {
            epoch,
            loss: metrics.loss(),
            accuracy: metrics.accuracy(),
            validation_loss: validated.map(|metrics| metrics.loss()),
            validation_accuracy: validated.map(|metrics| metrics.accuracy()),
            lr: self.state.progress.lr,
            seconds: self.state.progress.seconds.epoch,
            waiting: self.state.progress.seconds.waiting_share(),
        };
        self.state.progress.end_epoch(row.clone());
        self.tell_all(events)?;
        self.tell(&Event::EpochEnd(row))
    }

    /// Writes a checkpoint if it is time for one after an update.
    fn checkpoint_if_due(&mut self) -> Result<()> {
        match &self.checkpoints {
            Some(checkpoints) if checkpoints.is_due(&self.state.progress) => self.checkpoint(),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes one if it is time for one after the epoch that has ended.
    fn checkpoint_after_epoch(&mut self) -> Result<()> {
        let (epoch, is_last) = (self.state.progress.epoch - 1, !self.is_more());
        match &self.checkpoints {
            Some(checkpoints) if checkpoints.is_due_after_epoch(epoch, is_last) => self.checkpoint(),
            Some(_) | None => self.checkpoint_if_due(),
        }
    }

    /// Writes one where the run was aborted, if it is to.
    fn checkpoint_after_abort(&mut self) -> Result<()> {
        if !self.checkpoints.as_ref().is_some_and(|checkpoints| checkpoints.is_due_after_abort(&self.state.progress)) {
            return Ok(());
        }
        // What ended the run must not end this too.
        let ended_by = self.session.cancelled_by(Cancel::default());
        let written = self.checkpoint();
        self.session.cancelled_by(ended_by);
        match written {
            // Whoever hears of it says so to every event after an abort; the file is written.
            Err(error) if error.code == Code::Aborted => Ok(()),
            written => written,
        }
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.lap();
        let averages = self.state.trainer.updating.ema.as_ref().is_some_and(|ema| ema.in_use);
        self.put_averages(false)?;
        let written = self.checkpoints.as_mut().map(|checkpoints| checkpoints.write(self.session, self.state));
        self.put_averages(averages)?;
        let Some(path) = written.transpose()? else { return Ok(()) };
        let Progress { epoch, steps: step, .. } = self.state.progress;
        self.tell(&Event::Checkpoint { path, epoch, step })
    }

    /// Looks whether these are the best values so far, and whether it is time to stop; what is to be told of that. If it is aborted the
    /// progress stays as it was, so that a run that goes on from there does it again.
    fn observe(&mut self, is_validation: bool, metrics: Metrics) -> Result<Vec<Event>> {
        let course = &self.config.course;
        let RunState { progress, best, .. } = &mut *self.state;
        let unasked = (self.tells_best && is_validation).then_some(Watch::VALIDATION_LOSS);
        let watch = course.best().or(unasked).filter(|watch| watch.monitor.is_validation() == is_validation);
        let mut events = Vec::new();
        if let Some(watch) = watch {
            let (monitor, value) = (watch.monitor, watch.monitor.of(&metrics));
            if watch.is_best(&metrics, progress.best) {
                let (epoch, step, loss) = (progress.epoch, progress.steps, metrics.loss());
                let place = BestPlace { epoch, step, monitor, value, loss };
                if let Some(checkpoints) = &self.checkpoints {
                    checkpoints.write_best(self.session)?;
                }
                if course.keeps_best() {
                    let (executor, weights) = self.session.weights_mut()?;
                    match best {
                        Some(best) => best.take(weights)?,
                        None => *best = Some(Best::of(executor, weights)?),
                    }
                }
                progress.best = Some(place);
                events.push(Event::Best(place));
            }
        }
        if let Some(stopping) =
            course.stopping().filter(|stopping| stopping.watch.monitor.is_validation() == is_validation)
        {
            if stopping.observe(&mut progress.stopping, stopping.watch.monitor.of(&metrics)) {
                progress.stopped_early = true;
                events.push(Event::StoppedEarly);
            }
        }
        Ok(events)
    }

    /// Sets the rate of the update that is about to be made.
    fn set_lr(&mut self) {
        if let Some(schedule) = &self.config.schedule {
            let Progress { epoch, steps, ref losses, .. } = self.state.progress;
            let epoch_steps = self.course.clock_steps;
            let total = self.config.epochs.saturating_mul(epoch_steps);
            let clock = Clock { step: (epoch - 1) * epoch_steps + steps, epoch_steps, total, losses };
            self.state.trainer.set_lr(schedule.lr(self.config.optimizer.lr(), &clock));
        }
    }

    /// Gives the session the averages of the weights, if there are some, or the weights that are trained.
    fn put_averages(&mut self, averages: bool) -> Result<()> {
        match &mut self.state.trainer.updating.ema {
            Some(ema) => ema.put(averages, self.session.weights_mut()?.1),
            None => Ok(()),
        }
    }

    /// Counts the time up to now, which it returns.
    fn lap(&mut self) -> f64 {
        let seconds = &mut self.state.progress.seconds;
        let spent = self.since.elapsed().as_secs_f64();
        self.since += Duration::from_secs_f64(spent);
        seconds.run += spent;
        seconds.epoch += spent;
        spent
    }

    fn tell_all(&mut self, events: Vec<Event>) -> Result<()> {
        events.iter().try_for_each(|event| self.tell(event))
    }

    /// The time that it takes does not count.
    fn tell(&mut self, event: &Event) -> Result<()> {
        let began = Instant::now();
        let flow = self.control.on_event(self.session, event);
        self.since += began.elapsed();
        match flow {
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
fn check_validated(validated: Metrics, epoch: usize) -> Result<()> {
    if validated.loss().is_finite() {
        return Ok(());
    }
    let got = format!("{} after epoch {epoch}", named(validated.loss()));
    Err(Error::expected(Code::NonFiniteLoss, "validation loss", "a finite number", got))
}

#[cfg(test)]
pub(super) mod tests;
