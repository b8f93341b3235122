//! What a training run tells while it goes on.

use super::early_stopping::BestPlace;
use crate::session::Session;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Something that happened in a training run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An update was made.
    Step {
        /// Counts from 1.
        epoch: usize,
        /// Counts from 1 in each epoch.
        step: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Mean loss of the batch, before the update.
        loss: f64,
        /// Accuracy of the batch, before the update.
        accuracy: f64,
        /// Learning rate of the update, before the factors of groups.
        lr: f64,
        /// Images a second since the epoch began.
        images_per_second: f64,
        /// Seconds until the epoch's last step at that speed.
        seconds_left: f64,
        /// Norm of all gradients that are not frozen together, before clipping, if it is wanted.
        gradient_norm: Option<f64>,
        /// Share of the epoch's time so far, from 0 to 1, in which steps waited for their data.
        waiting: f64,
    },
    /// An epoch is about to begin.
    EpochBegin {
        /// Counts from 1.
        epoch: usize,
        /// Steps of the epoch.
        steps: usize,
    },
    /// A batch of the validation set was evaluated.
    Validation {
        /// Counts from 1.
        epoch: usize,
        /// Samples evaluated.
        done: usize,
        /// Samples in all.
        total: usize,
    },
    /// The whole validation set was evaluated.
    Evaluated {
        /// Counts from 1.
        epoch: usize,
        /// Steps of the epoch that had been made.
        step: usize,
        /// Mean loss of the validation samples.
        loss: f64,
        /// Accuracy of the validation samples.
        accuracy: f64,
    },
    /// The weights are the best so far.
    Best(BestPlace),
    /// No improvement came in time: the run ends.
    StoppedEarly,
    /// An epoch came to its end.
    EpochEnd(EpochRow),
    /// The run goes on from a checkpoint, these epochs having ended before.
    Resumed {
        /// The checkpoint's file.
        path: PathBuf,
        /// The epochs' rows.
        rows: Vec<EpochRow>,
        /// Steps of an epoch.
        steps: usize,
        /// Newer ones in its folder, which are damaged.
        skipped: Vec<SkippedCheckpoint>,
    },
    /// A checkpoint was written: it is there to stay, whatever happens.
    Checkpoint {
        /// Its file.
        path: PathBuf,
        /// The epoch that is under way or comes next; counts from 1.
        epoch: usize,
        /// Steps of that epoch that had been made.
        step: usize,
    },
}

/// A checkpoint that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedCheckpoint {
    /// Its file, where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRow {
    /// Counts from 1.
    pub epoch: usize,
    /// Mean loss of the training samples, each before the update that used it.
    pub loss: f64,
    /// Accuracy of the training samples, likewise.
    pub accuracy: f64,
    /// Mean loss of the validation samples after the epoch, if there is a validation set.
    pub validation_loss: Option<f64>,
    /// Accuracy of the validation samples after the epoch, likewise.
    pub validation_accuracy: Option<f64>,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Seconds that the epoch took, validation included.
    pub seconds: f64,
    /// Share of the time of its steps, from 0 to 1, in which they waited for their data.
    pub waiting: f64,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop before the next step.
    Stop,
}

/// Listens to a training run between its steps, when the session's weights are those of a whole step.
pub trait Control {
    /// Called after each event. May read the session, and may take its time: the run waits.
    fn on_event(&mut self, session: &mut Session, event: &Event) -> Flow;

    /// Why it stops the run, for other ranks; by default nothing is known.
    fn reason(&self) -> Option<String> {
        None
    }
}
