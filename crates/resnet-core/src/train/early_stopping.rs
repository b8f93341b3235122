//! What a run looks at to tell its best epoch, and when it has waited long enough for a better one: Keras' `EarlyStopping`.

use crate::error::{Code, Error, Result};
use crate::metrics::Metrics;
use serde::{Deserialize, Serialize};

/// A number that tells how good the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Monitor {
    /// Loss over the validation set.
    ValidationLoss,
    /// Accuracy over the validation set.
    ValidationAccuracy,
    /// Loss over the training samples of an epoch.
    Loss,
    /// Accuracy over the training samples of an epoch.
    Accuracy,
}

/// A monitor, and by how much it has to be better to count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// What is looked at.
    pub monitor: Monitor,
    /// What is not more than this is no improvement.
    #[serde(default)]
    pub min_delta: f64,
}

/// When a run ends early.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// What is looked at.
    pub watch: Watch,
    /// How many values in a row may be no improvement; the run ends with the last of them (0 is as 1).
    pub patience: usize,
}

/// How long a run has waited for an improvement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppingState {
    /// The value of the last improvement.
    pub best: Option<f64>,
    /// Values since then.
    pub values: usize,
}

/// Where a run's best weights were.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestPlace {
    /// Counts from 1.
    pub epoch: usize,
    /// Updates of that epoch made until then.
    pub step: usize,
    /// What was looked at.
    pub monitor: Monitor,
    /// Its value.
    pub value: f64,
    /// Loss of the same samples, by which equal accuracies are told apart.
    pub loss: f64,
}

impl Monitor {
    /// Its name, as users know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ValidationLoss => "validationLoss",
            Self::ValidationAccuracy => "validationAccuracy",
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }

    /// Whether it is about the validation set.
    pub fn is_validation(self) -> bool {
        match self {
            Self::ValidationLoss | Self::ValidationAccuracy => true,
            Self::Loss | Self::Accuracy => false,
        }
    }

    /// Its value.
    pub fn of(self, metrics: &Metrics) -> f64 {
        match self {
            Self::ValidationLoss | Self::Loss => metrics.loss(),
            Self::ValidationAccuracy | Self::Accuracy => metrics.accuracy(),
        }
    }
}

impl Watch {
    /// What is looked at where nothing else is said.
    pub const VALIDATION_LOSS: Self = Self { monitor: Monitor::ValidationLoss, min_delta: 0.0 };

    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the least change is no number of at least 0, or the monitor is about a validation set that is not there.
    pub fn check(&self, parameter: &str, has_validation: bool) -> Result<()> {
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            let parameter = format!("{parameter}.minDelta");
            return Err(Error::expected(Code::InvalidArgument, &parameter, "a number of at least 0", self.min_delta));
        }
        if self.monitor.is_validation() && !has_validation {
            let expected = "the monitor \"loss\" or \"accuracy\", as nothing is validated";
            return Err(Error::expected(Code::InvalidArgument, parameter, expected, self.monitor.name()));
        }
        Ok(())
    }

    /// Whether what was measured is better than the best so far: of equal accuracies the one with the smaller loss is.
    pub fn is_best(&self, metrics: &Metrics, best: Option<BestPlace>) -> bool {
        let value = self.monitor.of(metrics);
        let is_smaller = |best: BestPlace| best.value == value && metrics.loss() < best.loss;
        self.is_better(value, best.map(|best| best.value)) || best.is_some_and(is_smaller)
    }

    /// Whether a value is an improvement on the best one so far.
    pub fn is_better(&self, value: f64, best: Option<f64>) -> bool {
        best.is_none_or(|best| match self.monitor {
            Monitor::ValidationLoss | Monitor::Loss => value + self.min_delta < best,
            Monitor::ValidationAccuracy | Monitor::Accuracy => value - self.min_delta > best,
        })
    }
}

impl EarlyStopping {
    /// Takes the next value; whether that was the last one.
    pub fn observe(&self, state: &mut StoppingState, value: f64) -> bool {
        if self.watch.is_better(value, state.best) {
            *state = StoppingState { best: Some(value), values: 0 };
            return false;
        }
        state.values += 1;
        state.values >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the value that ends a run.
    fn ends(monitor: Monitor, min_delta: f64, patience: usize, values: &[f64]) -> Option<usize> {
        let stopping = EarlyStopping { watch: Watch { monitor, min_delta }, patience };
        let mut state = StoppingState::default();
        values.iter().position(|&value| stopping.observe(&mut state, value)).map(|at| at + 1)
    }

    #[test]
    fn ends_where_keras_does() {
        let losses = [1.0, 0.9, 0.95, 0.85, 0.85, 0.9, 0.8];
        assert_eq!(ends(Monitor::Loss, 0.0, 0, &losses), Some(3));
        assert_eq!(ends(Monitor::Loss, 0.0, 1, &losses), Some(3));
        assert_eq!(ends(Monitor::ValidationLoss, 0.0, 2, &losses), Some(6), "the same value again is no improvement");
        assert_eq!(ends(Monitor::Loss, 0.0, 3, &losses), None);
        assert_eq!(ends(Monitor::Loss, 0.11, 3, &losses), Some(7), "1, not 0.9, is what 0.85 improves on");
        assert_eq!(ends(Monitor::Accuracy, 0.0, 2, &[0.5, 0.6, 0.6, 0.55]), Some(4));
        assert_eq!(ends(Monitor::ValidationAccuracy, 0.2, 3, &[0.5, 0.6, 0.65, 0.71, 0.8, 0.9, 0.92]), None);
    }
}
