//! A training run as JavaScript sees it: events to fetch, and an epoch's end to acknowledge.

use crate::actor::{cancellable, disposed, Actor, Context, Inbox, Trainers};
use crate::error::guarded;
use crate::reply::Reply;
use napi::bindgen_prelude::PromiseRaw;
use napi::Env;
use napi_derive::napi;
use resnet_core::cancel::{Cancel, CancelFlag};
use resnet_core::data::Dataset;
use resnet_core::train::{fit, Control, EpochRow, Event, FitConfig, Flow};
use resnet_core::{Code, Error, Result, Session};
use std::sync::atomic::{AtomicUsize, Ordering};
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
pub struct NativeProgress {
    /// The newest step.
    pub step: Option<NativeStep>,
    /// The newest batch of the validation.
    pub validation: Option<NativeValidation>,
    /// An epoch's end; the run waits until it is acknowledged.
    pub epoch: Option<NativeEpoch>,
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
    pub waiting: f64,
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

#[napi]
impl NativeRun {
    /// What has happened since the last call, or will happen next; rejects once the run has failed.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, NativeProgress>> {
        let (reply, promise) = Reply::new(env)?;
        let mut state = self.mailbox.lock();
        state.waiting = Some(reply.telling(self.actor.memory()));
        state.deliver();
        Ok(promise)
    }

    /// Acknowledges the end of an epoch, so that the run goes on.
    #[napi]
    pub fn resume(&self, epoch: u32) {
        self.mailbox.acknowledged.fetch_max(epoch as usize, Ordering::AcqRel);
        self.wake();
    }

    /// Stops the run after the step that it is at.
    #[napi]
    pub fn cancel(&self) {
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
    pub fn start(actor: &Arc<Actor>, train: Dataset, validation: Option<Dataset>, config: FitConfig) -> Result<Self> {
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
                    fit(session, &train, validation.as_ref(), &config, &mut listener).map(drop)
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

/// Events on their way to JavaScript. A newer step or validation event takes the place of one that was not fetched; an
/// epoch's end cannot be overtaken, since the run waits for its acknowledgement.
#[derive(Default)]
struct Mailbox {
    state: Mutex<MailboxState>,
    acknowledged: AtomicUsize,
}

#[derive(Default)]
struct MailboxState {
    progress: NativeProgress,
    end: Option<Result<()>>,
    waiting: Option<Reply<NativeProgress>>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: &Event) {
        let mut state = self.lock();
        match event.clone() {
            Event::Step { epoch, step, steps, loss, accuracy, lr, images_per_second, seconds_left, waiting } => {
                let (epoch, step, steps) = (epoch as u32, step as u32, steps as u32);
                state.progress.step = Some(NativeStep {
                    epoch,
                    step,
                    steps,
                    loss,
                    accuracy,
                    lr,
                    images_per_second,
                    seconds_left,
                    waiting,
                });
            }
            Event::Validation { epoch, done, total } => {
                let (epoch, done, total) = (epoch as u32, done as u32, total as u32);
                state.progress.validation = Some(NativeValidation { epoch, done, total });
            }
            Event::EpochEnd(row) => state.progress.epoch = Some(row.into()),
        }
        state.deliver();
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
        let progress = &self.progress;
        let any = progress.step.is_some() || progress.validation.is_some() || progress.epoch.is_some();
        if !any && self.end.is_none() {
            return;
        }
        let Some(waiting) = self.waiting.take() else { return };
        match &self.end {
            Some(Err(error)) if !any => waiting.settle::<NativeProgress>(Err(error.clone())),
            end => {
                let done = matches!(end, Some(Ok(())));
                waiting.settle(Ok(NativeProgress { done, ..std::mem::take(&mut self.progress) }));
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
        self.mailbox.put(event);
        let stopped = || self.cancel.is_raised();
        let unread = |epoch| self.mailbox.acknowledged.load(Ordering::Acquire) < epoch;
        let held = || matches!(event, Event::EpochEnd(row) if unread(row.epoch)) && !stopped();
        self.inbox.serve_between_steps(&mut Context { session, trainers: self.trainers }, held);
        if stopped() {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

impl From<EpochRow> for NativeEpoch {
    fn from(row: EpochRow) -> Self {
        let EpochRow { epoch, loss, accuracy, validation_loss, validation_accuracy, lr, seconds, waiting } = row;
        Self { epoch: epoch as u32, loss, accuracy, validation_loss, validation_accuracy, lr, seconds, waiting }
    }
}
