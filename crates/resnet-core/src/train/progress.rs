//! Where a training run is, in numbers. With the weights, and what the trainer and [`super::best::Best`] keep, it is all that a run goes on from.

use super::early_stopping::{BestPlace, StoppingState};
use super::EpochRow;
use crate::metrics::Metrics;
use serde::{Deserialize, Serialize};

/// The place of a run between two of its batches. As JSON and back it is the same to the last bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The epoch that is under way, or comes next; counts from 1.
    pub epoch: usize,
    /// Batches of its pass that have been used or left out.
    pub batches: usize,
    /// Updates made in it.
    pub steps: usize,
    /// Updates made in the run.
    pub updates: usize,
    /// Learning rate of the last of them.
    pub lr: f64,
    /// What was measured before the epoch's updates.
    pub metrics: Metrics,
    /// The same of the batches since the last update.
    pub pending: Metrics,
    /// The last evaluation over the validation set, and how many updates had been made then.
    pub validated: Option<(usize, Metrics)>,
    /// The rows of the epochs that have ended.
    pub rows: Vec<EpochRow>,
    /// The losses that schedules look at: of each evaluation, or without a validation set of each epoch.
    pub losses: Vec<f64>,
    /// How long the run has waited for an improvement.
    pub stopping: StoppingState,
    /// Where the best weights were.
    pub best: Option<BestPlace>,
    /// Whether the run has ended early.
    pub stopped_early: bool,
    /// The time spent.
    pub seconds: Seconds,
}

/// Time spent at work, without that in which listeners held the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// In the whole run.
    pub run: f64,
    /// In the epoch, evaluations included.
    pub epoch: f64,
    /// In the epoch's steps.
    pub steps: f64,
    /// Of that, waiting for their data.
    pub waiting: f64,
}

impl Seconds {
    /// The share of the time of the epoch's steps, from 0 to 1, in which they waited for their data.
    pub fn waiting_share(&self) -> f64 {
        if self.steps > 0.0 {
            (self.waiting / self.steps).min(1.0)
        } else {
            0.0
        }
    }
}

impl Progress {
    /// At the beginning of the epoch after `epochs` others.
    pub fn after(epochs: usize) -> Self {
        Self {
            epoch: epochs + 1,
            batches: 0,
            steps: 0,
            updates: 0,
            lr: 0.0,
            metrics: Metrics::default(),
            pending: Metrics::default(),
            validated: None,
            rows: Vec::new(),
            losses: Vec::new(),
            stopping: StoppingState::default(),
            best: None,
            stopped_early: false,
            seconds: Seconds::default(),
        }
    }

    /// Goes to the beginning of the next epoch.
    pub fn end_epoch(&mut self, row: EpochRow) {
        self.rows.push(row);
        self.epoch += 1;
        (self.batches, self.steps) = (0, 0);
        (self.metrics, self.pending) = (Metrics::default(), Metrics::default());
        self.seconds = Seconds { run: self.seconds.run, ..Seconds::default() };
    }

    /// What the last evaluation gave, if no update has been made since.
    pub fn validation(&self) -> Option<Metrics> {
        self.validated.filter(|(updates, _)| *updates == self.updates).map(|(_, metrics)| metrics)
    }
}
