//! What training and evaluation measure.

use resnet_ops::Outcome;
use serde::{Deserialize, Serialize};

/// Loss and accuracy over samples, each with the same weight unless classes have weights of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    loss_sum: f64,
    /// What that is divided by.
    weight: f64,
    correct: usize,
    decisions: usize,
    samples: usize,
}

impl Metrics {
    /// Adds a batch.
    pub fn add(&mut self, outcome: Outcome, samples: usize) {
        self.loss_sum += outcome.loss_sum;
        self.weight += outcome.weight;
        self.correct += outcome.correct;
        self.decisions += outcome.decisions;
        self.samples += samples;
    }

    /// Adds the samples that `other` has counted.
    pub fn merge(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.weight += other.weight;
        self.correct += other.correct;
        self.decisions += other.decisions;
        self.samples += other.samples;
    }

    /// How many numbers it is.
    pub(crate) const NUMBERS: usize = 5;

    /// As numbers, by which ranks tell each other; counts are exact.
    pub(crate) fn numbers(&self) -> [f64; Self::NUMBERS] {
        let Self { loss_sum, weight, correct, decisions, samples } = *self;
        [loss_sum, weight, correct as f64, decisions as f64, samples as f64]
    }

    /// The metrics that [`Metrics::numbers`] gave.
    pub(crate) fn of_numbers(numbers: &[f64]) -> Self {
        let [correct, decisions, samples] = [2, 3, 4].map(|index| numbers[index] as usize);
        Self { loss_sum: numbers[0], weight: numbers[1], correct, decisions, samples }
    }

    /// Mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.weight
    }

    /// Share of samples whose largest logit is at the label; of any number of labels for each sample, the share of right decisions about
    /// samples and classes.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.decisions as f64
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }
}
