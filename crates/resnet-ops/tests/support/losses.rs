//! Losses as functions of logits.

use super::ops::Op;
use super::{activation, blank_activation, read_activation, Random};
use resnet_ops::{binary_cross_entropy, cross_entropy, Buffer, Executor, Outcome, Result};

/// Mean cross-entropy, with another class for each label if a share is mixed.
#[derive(Debug, Default)]
pub struct Loss {
    pub classes: usize,
    pub labels: Vec<u32>,
    pub share: Option<f64>,
    pub weights: Option<Vec<f64>>,
    pub label_smoothing: f64,
    pub gamma: f64,
}

impl Loss {
    fn evaluate(&self, executor: &Executor, logits: &Buffer, dlogits: Option<&mut Buffer>) -> Result<Outcome> {
        let others: Vec<u32> = self.labels.iter().map(|label| (label + 1) % self.classes as u32).collect();
        let targets = cross_entropy::Targets {
            labels: &self.labels,
            mixed: self.share.map(|share| (&others[..], share)),
            class_weights: self.weights.as_deref(),
            label_smoothing: self.label_smoothing,
            whole: None,
            gamma: self.gamma,
        };
        cross_entropy::evaluate(executor, self.classes, logits, targets, dlogits)
    }
}

impl Op for Loss {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.labels.len() * self.classes).iter().map(|value| value * 4.0).collect()]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let logits = activation(executor, [self.labels.len(), self.classes, 1, 1], &inputs[0])?;
        let outcome = self.evaluate(executor, &logits, None)?;
        Ok(vec![outcome.loss_sum / outcome.weight])
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let shape = [self.labels.len(), self.classes, 1, 1];
        let (logits, mut dlogits) = (activation(executor, shape, &inputs[0])?, blank_activation(executor, shape));
        self.evaluate(executor, &logits, Some(&mut dlogits))?;
        let dlogits = read_activation(executor, shape, &dlogits)?;
        Ok(vec![dlogits.iter().map(|value| value * dy[0]).collect()])
    }
}

/// Mean binary cross-entropy, with other labels if a share is mixed.
#[derive(Debug, Default)]
pub struct BinaryLoss {
    pub classes: usize,
    pub labels: Vec<u8>,
    pub share: Option<f64>,
    pub weights: Option<[Vec<f64>; 2]>,
    pub label_smoothing: f64,
}

impl BinaryLoss {
    fn shape(&self) -> [usize; 4] {
        [self.labels.len() / self.classes, self.classes, 1, 1]
    }

    fn evaluate(&self, executor: &Executor, logits: &Buffer, dlogits: Option<&mut Buffer>) -> Result<Outcome> {
        let others: Vec<u8> = self.labels.iter().rev().copied().collect();
        let targets = binary_cross_entropy::Targets {
            labels: &self.labels,
            mixed: self.share.map(|share| (&others[..], share)),
            class_weights: self.weights.as_ref().map(|[weights, _]| &weights[..]),
            positive_weights: self.weights.as_ref().map(|[_, weights]| &weights[..]),
            label_smoothing: self.label_smoothing,
            whole: None,
        };
        binary_cross_entropy::evaluate(executor, self.classes, logits, targets, dlogits)
    }
}

impl Op for BinaryLoss {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.labels.len()).iter().map(|value| value * 4.0).collect()]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let outcome = self.evaluate(executor, &activation(executor, self.shape(), &inputs[0])?, None)?;
        Ok(vec![outcome.loss_sum / outcome.weight])
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let logits = activation(executor, self.shape(), &inputs[0])?;
        let mut dlogits = blank_activation(executor, self.shape());
        self.evaluate(executor, &logits, Some(&mut dlogits))?;
        let dlogits = read_activation(executor, self.shape(), &dlogits)?;
        Ok(vec![dlogits.iter().map(|value| value * dy[0]).collect()])
    }
}

/// Cross-entropies.
pub fn losses() -> Vec<Loss> {
    let mut random = Random::new(8);
    let mut list = Vec::new();
    for classes in [1, 2, 10, 16, 17, 33, 100] {
        for n in [1, 2, 7, 64, 300] {
            let labels = (0..n).map(|_| random.below(classes) as u32).collect();
            list.push(Loss { classes, labels, ..Loss::default() });
        }
        // What else a loss may have, alone and together.
        for (i, gamma) in [0.0, 0.5, 1.0, 2.0, 3.5].into_iter().enumerate() {
            list.push(Loss {
                classes,
                labels: (0..9).map(|_| random.below(classes) as u32).collect(),
                share: [None, Some(0.7), Some(0.2)][i % 3],
                weights: (i % 2 == 0).then(|| random.values(classes).iter().map(|value| value + 1.25).collect()),
                label_smoothing: [0.1, 0.0, 0.5][i % 3],
                gamma,
            });
        }
    }
    list
}

/// Binary cross-entropies.
pub fn binary_losses() -> Vec<BinaryLoss> {
    let mut random = Random::new(9);
    let mut list = Vec::new();
    for classes in [1, 2, 10, 16, 17, 100] {
        for (i, n) in [1, 2, 7, 64, 300].into_iter().enumerate() {
            let mut positive = || random.values(classes).iter().map(|value| value + 1.25).collect();
            let weights = (i % 2 == 1).then(|| [positive(), positive()]);
            list.push(BinaryLoss {
                classes,
                labels: (0..n * classes).map(|_| random.below(2) as u8).collect(),
                share: [None, None, Some(0.7), Some(0.2)][i % 4],
                weights,
                label_smoothing: [0.0, 0.1][i % 2],
            });
        }
    }
    list
}
