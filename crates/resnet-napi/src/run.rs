//! A training run as JavaScript sees it: events to fetch, of which some hold the run until they are acknowledged, and pauses.

use crate::actor::{cancellable, disposed, Actor, Context, Inbox, Trainers};
use crate::error::guarded;
use crate::ranks::{reached, GivenRanks};
use crate::reply::Reply;
use napi::bindgen_prelude::PromiseRaw;
use napi::Env;
use napi_derive::napi;
use resnet_core::cancel::{Cancel, CancelFlag};
use resnet_core::data::Dataset;
use resnet_core::train::{fit, BestPlace, Control, EpochRow, Event, FitConfig, Flow, SkippedCheckpoint};
use resnet_core::{Code, Error, Result, Session};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A training run.
#[napi]
pub struct NativeRun {
    actor: Arc<Actor>,
    mailbox: Arc<Mailbox>,
    cancel: CancelFlag,
}

/// What has happened since the last call of `next`.
#[napi(object)]
#[derive(Default)]
pub struct NativeNews {
    /// The newest step.
    pub step: Option<NativeStep>,
    /// The newest batch of the validation.
    pub validation: Option<NativeValidation>,
    /// An epoch's beginning.
    pub epoch_begin: Option<NativeEpochBegin>,
    /// The best weights so far, if there are newer ones.
    pub best: Option<NativeBest>,
    /// Whether the run ends before its last epoch.
    pub stopped_early: Option<bool>,
    /// What the whole validation set gave.
    pub evaluation: Option<NativeEvaluation>,
    /// An epoch's end.
    pub epoch: Option<NativeEpoch>,
    /// A checkpoint that was written.
    pub checkpoint: Option<NativeCheckpoint>,
    /// What the run goes on from.
    pub resumed: Option<NativeResumed>,
    /// The number of the event that holds the run, until it is acknowledged, if one does: all but steps and batches of a validation.
    pub held: Option<u32>,
    /// Whether the run is over.
    pub done: bool,
}

/// See [`Event::Step`].
#[napi(object)]
pub struct NativeStep {
    pub epoch: u32,
    pub step: u32,
    pub steps: u32,
    pub loss: f64,
    pub accuracy: f64,
    pub lr: f64,
    pub images_per_second: f64,
    pub seconds_left: f64,
    pub gradient_norm: Option<f64>,
    pub waiting: f64,
}

/// See [`Event::EpochBegin`].
#[napi(object)]
pub struct NativeEpochBegin {
    pub epoch: u32,
    pub steps: u32,
}

/// See [`BestPlace`].
#[napi(object)]
pub struct NativeBest {
    pub epoch: u32,
    pub step: u32,
    pub monitor: String,
    pub value: f64,
}

/// See [`Event::Evaluated`].
#[napi(object)]
pub struct NativeEvaluation {
    pub epoch: u32,
    pub step: u32,
    pub loss: f64,
    pub accuracy: f64,
}

/// See [`Event::Validation`].
#[napi(object)]
pub struct NativeValidation {
    pub epoch: u32,
    pub done: u32,
    pub total: u32,
}

/// See [`EpochRow`].
#[napi(object)]
pub struct NativeEpoch {
    pub epoch: u32,
    pub loss: f64,
    pub accuracy: f64,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    pub lr: f64,
    pub seconds: f64,
    pub waiting: f64,
}

/// See [`Event::Checkpoint`].
#[napi(object)]
pub struct NativeCheckpoint {
    pub path: String,
    pub epoch: u32,
    pub step: u32,
}

/// See [`Event::Resumed`].
#[napi(object)]
pub struct NativeResumed {
    pub path: String,
    pub rows: Vec<NativeEpoch>,
    pub steps: u32,
    pub skipped: Vec<NativeSkipped>,
}

/// See [`SkippedCheckpoint`].
#[napi(object)]
pub struct NativeSkipped {
    pub path: String,
    pub reason: String,
}

#[napi]
impl NativeRun {
    /// What has happened since the last call, or will happen next; rejects once the run has failed.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, NativeNews>> {
        let (reply, promise) = Reply::new(env)?;
        let mut state = self.mailbox.lock();
        state.reply = Some(reply.telling(self.actor.memory()));
        state.deliver();
        Ok(promise)
    }

    /// Acknowledges the event that holds the run, so that it goes on.
    #[napi]
    pub fn acknowledge(&self, held: u32) {
        self.mailbox.acknowledged.fetch_max(held, Ordering::AcqRel);
        self.wake();
    }

    /// Holds the run before its next step, or lets it go on.
    #[napi]
    pub fn pause(&self, paused: bool) {
        self.mailbox.paused.store(paused, Ordering::Release);
        self.wake();
    }

    /// Stops the run after the step that it is at; other processes that share it are told why.
    #[napi]
    pub fn cancel(&self, reason: String) {
        self.mailbox.lock().reason.get_or_insert(reason);
        self.cancel.raise();
        self.wake();
    }

    /// A command that does nothing makes a waiting run look again; a model that is gone needs no waking.
    fn wake(&self) {
        let _ = self.actor.post(|_, _| {});
    }
}

impl NativeRun {
    /// Starts a run. `ERR_BUSY` if another call writes to the model.
    pub fn start(
        actor: &Arc<Actor>,
        train: Dataset,
        validation: Option<Dataset>,
        config: FitConfig,
        ranks: Option<GivenRanks>,
    ) -> Result<Self> {
        let writer = actor.writer()?;
        let mailbox = Arc::new(Mailbox::default());
        let cancel = CancelFlag::default();
        let run = Self { actor: actor.clone(), mailbox: mailbox.clone(), cancel: cancel.clone() };
        let ending = Ending(mailbox.clone());
        actor.post(move |context, inbox| {
            let cancel = Cancel::by([cancel, inbox.closed.clone()]);
            let result = context.and_then(|context| {
                let run = |Context { session, trainers }: &mut Context| {
                    let mut listener = Listener { inbox, trainers, mailbox: &mailbox, cancel: &cancel };
                    let mut reached = reached(ranks.as_ref(), &cancel, || mailbox.reason())?;
                    fit(session, &train, validation.as_ref(), &config, &mut listener, &mut *reached).map(drop)
                };
                let result = guarded(|| cancellable(context, cancel.clone(), run));
                inbox.note(context.session, result.as_ref().err());
                result
            });
            let result = if inbox.closed.is_raised() && aborted(&result) { Err(disposed()) } else { result };
            drop(writer);
            ending.0.finish(result);
        })?;
        Ok(run)
    }
}

fn aborted(result: &Result<()>) -> bool {
    matches!(result, Err(Error { code: Code::Aborted, .. }))
}

/// Events on their way to JavaScript. A newer step or validation event takes the place of one that was not fetched; those that
/// hold the run cannot be overtaken, since it waits for their acknowledgement.
#[derive(Default)]
struct Mailbox {
    state: Mutex<MailboxState>,
    /// Number of the last event that no longer holds the run; they count from 1.
    acknowledged: AtomicU32,
    paused: AtomicBool,
}

#[derive(Default)]
struct MailboxState {
    news: NativeNews,
    end: Option<Result<()>>,
    reply: Option<Reply<NativeNews>>,
    /// Events that have held the run.
    held: u32,
    /// Why it was cancelled, if it was.
    reason: Option<String>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// Takes an event. The number that holds the run, if it is one that does.
    fn put(&self, event: &Event) -> Option<u32> {
        let mut state = self.lock();
        let news = &mut state.news;
        let holds = match event.clone() {
            Event::Step {
                epoch,
                step,
                steps,
                loss,
                accuracy,
                lr,
                images_per_second,
                seconds_left,
                gradient_norm,
                waiting,
            } => {
                let (epoch, step, steps) = (epoch as u32, step as u32, steps as u32);
                news.step = Some(NativeStep {
                    epoch,
                    step,
                    steps,
                    loss,
                    accuracy,
                    lr,
                    images_per_second,
                    seconds_left,
                    gradient_norm,
                    waiting,
                });
                false
            }
            Event::Validation { epoch, done, total } => {
                let (epoch, done, total) = (epoch as u32, done as u32, total as u32);
                news.validation = Some(NativeValidation { epoch, done, total });
                false
            }
            Event::EpochBegin { epoch, steps } => {
                news.epoch_begin = Some(NativeEpochBegin { epoch: epoch as u32, steps: steps as u32 });
                true
            }
            Event::Evaluated { epoch, step, loss, accuracy } => {
                let (epoch, step) = (epoch as u32, step as u32);
                news.evaluation = Some(NativeEvaluation { epoch, step, loss, accuracy });
                true
            }
            Event::Best(BestPlace { epoch, step, monitor, value, loss: _ }) => {
                let (epoch, step, monitor) = (epoch as u32, step as u32, monitor.name().to_owned());
                news.best = Some(NativeBest { epoch, step, monitor, value });
                return None;
            }
            // It comes with what follows.
            Event::StoppedEarly => {
                news.stopped_early = Some(true);
                return None;
            }
            Event::EpochEnd(row) => {
                news.epoch = Some(row.into());
                true
            }
            Event::Checkpoint { path, epoch, step } => {
                let (path, epoch, step) = (path.to_string_lossy().into_owned(), epoch as u32, step as u32);
                news.checkpoint = Some(NativeCheckpoint { path, epoch, step });
                true
            }
            Event::Resumed { path, rows, steps, skipped } => {
                let path = path.to_string_lossy().into_owned();
                let rows = rows.into_iter().map(NativeEpoch::from).collect();
                let skipped = skipped.into_iter().map(NativeSkipped::from).collect();
                news.resumed = Some(NativeResumed { path, rows, steps: steps as u32, skipped });
                true
            }
        };
        if holds {
            state.held += 1;
            state.news.held = Some(state.held);
        }
        let held = state.news.held;
        state.deliver();
        held
    }

    fn finish(&self, result: Result<()>) {
        let mut state = self.lock();
        state.end.get_or_insert(result);
        state.deliver();
    }
}

impl MailboxState {
    /// Settles the promise of a waiting call of `next`; the end of the run comes after its last events.
    fn deliver(&mut self) {
        let news = &self.news;
        let any = news.step.is_some() || news.validation.is_some() || news.held.is_some();
        if !any && self.end.is_none() {
            return;
        }
        let Some(reply) = self.reply.take() else { return };
        match &self.end {
            Some(Err(error)) if !any => reply.settle::<NativeNews>(Err(error.clone())),
            end => {
                let done = matches!(end, Some(Ok(())));
                reply.settle(Ok(NativeNews { done, ..std::mem::take(&mut self.news) }));
            }
        }
    }
}

/// Sees to it that a run which never begins comes to an end too.
struct Ending(Arc<Mailbox>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.finish(Err(disposed()));
    }
}

/// Sits between the steps: passes events on, serves readers, looks at the cancel flag.
struct Listener<'a> {
    inbox: &'a Inbox,
    trainers: &'a mut Trainers,
    mailbox: &'a Mailbox,
    cancel: &'a Cancel,
}

impl Control for Listener<'_> {
    fn on_event(&mut self, session: &mut Session, event: &Event) -> Flow {
        let held = self.mailbox.put(event);
        let stopped = || self.cancel.is_raised();
        let paused = || self.mailbox.paused.load(Ordering::Acquire);
        let unread = || held.is_some_and(|number| self.mailbox.acknowledged.load(Ordering::Acquire) < number);
        let waits = || (unread() || paused()) && !stopped();
        self.inbox.serve_between_steps(&mut Context { session, trainers: self.trainers }, waits);
        if stopped() {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }

    fn reason(&self) -> Option<String> {
        self.mailbox.reason()
    }
}

impl From<SkippedCheckpoint> for NativeSkipped {
    fn from(SkippedCheckpoint { path, reason }: SkippedCheckpoint) -> Self {
        Self { path: path.to_string_lossy().into_owned(), reason }
    }
}

impl From<EpochRow> for NativeEpoch {
    fn from(row: EpochRow) -> Self {
        let EpochRow { epoch, loss, accuracy, validation_loss, validation_accuracy, lr, seconds, waiting } = row;
        Self { epoch: epoch as u32, loss, accuracy, validation_loss, validation_accuracy, lr, seconds, waiting }
    }
}
