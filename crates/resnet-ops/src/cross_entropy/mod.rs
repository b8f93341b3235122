//! Softmax cross-entropy: loss\[n\] = Σ_c w\[c\] · t\[n, c\] · −(1 − p\[n, c\])^γ · log p\[n, c\], where p is the softmax of the logits and t
//! says which classes are wanted: 1 at the label and 0 elsewhere, or shares of two labels that were mixed; then (1 − ε) · t + ε / classes.
//! Weights w are 1, the smoothing ε (Szegedy et al., 2016) and the focus γ (Lin et al., 2017) are 0 unless they are given; without them
//! this is log Σ exp(logits\[n\]) − logits\[n, label\], with the maximum taken off first.

use crate::executor::by_backend;
use crate::outcome::Outcome;
use crate::{Buffer, Executor, Result};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// What a batch's logits are held against.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// A class for each sample.
    pub labels: &'a [u32],
    /// Another class for each sample, and the share from 0 to 1 that is the label's: the rest is the other's.
    pub mixed: Option<(&'a [u32], f64)>,
    /// A weight for each class of the network. The mean is that over the weights of the labels then, as PyTorch's; but where classes are
    /// mixed, as PyTorch's of probabilities, that over the samples.
    pub class_weights: Option<&'a [f64]>,
    /// The share of a sample that all classes have in equal parts, from 0 to 1; the rest is its own classes'.
    pub label_smoothing: f64,
    /// How much less classes count the surer they are, at least 0.
    pub gamma: f64,
    /// Where these are a part of a batch's samples, what the sum of all their losses is divided by: the [weight](Targets::weight) of all
    /// parts together. Gradients are those of the whole batch's mean then.
    pub whole: Option<f64>,
}

impl<'a> From<&'a [u32]> for Targets<'a> {
    fn from(labels: &'a [u32]) -> Self {
        Self { labels, mixed: None, class_weights: None, label_smoothing: 0.0, gamma: 0.0, whole: None }
    }
}

/// The two classes of a sample, that with the larger share first, and their weights in its loss.
#[derive(Clone, Copy)]
struct Target {
    classes: [u32; 2],
    weights: [f64; 2],
}

/// Targets as the kernels take them.
struct Problem<'a> {
    /// Logits of a sample.
    classes: usize,
    /// Of each sample.
    targets: &'a [Target],
    /// What smoothing adds to the weight of each class in every sample; empty if nothing is smoothed.
    spread: &'a [f64],
    gamma: f64,
    /// What gradients are multiplied by.
    share: f64,
}

impl Problem<'_> {
    /// Whether all but the classes of a sample are out of its loss, and the logarithm is all of it.
    fn is_plain(&self) -> bool {
        self.spread.is_empty() && self.gamma == 0.0
    }
}

impl Targets<'_> {
    fn check(&self, classes: usize) -> Result<()> {
        let others = self.mixed.map_or(&[][..], |(others, _)| others);
        for labels in [self.labels, others] {
            if let Some((index, label)) = labels.iter().enumerate().find(|(_, &label)| label as usize >= classes) {
                bail!("label {label} of sample {index} is not one of {classes} classes");
            }
        }
        if self.mixed.is_some() && others.len() != self.labels.len() {
            bail!("{} other classes of {} samples", others.len(), self.labels.len());
        }
        match self.class_weights {
            Some(weights) if weights.len() != classes => bail!("{} weights of {classes} classes", weights.len()),
            Some(_) | None => Ok(()),
        }
    }

    /// What the sum of the samples' losses is divided by to be their mean.
    ///
    /// # Panics
    /// If a label is not below the classes that have weights.
    pub fn weight(&self) -> f64 {
        match self.mixed {
            None => self.labels.iter().map(|&label| self.weight_of(label)).sum(),
            Some(_) => self.labels.len() as f64,
        }
    }

    fn weight_of(&self, class: u32) -> f64 {
        self.class_weights.map_or(1.0, |weights| weights[class as usize])
    }

    /// Each sample's.
    fn resolved(&self) -> Vec<Target> {
        let sharp = 1.0 - self.label_smoothing;
        let target = |index: usize| {
            let (label, (other, share)) = (
                self.labels[index],
                self.mixed.map_or((self.labels[index], 1.0), |(others, share)| (others[index], share)),
            );
            let parts = [(label, share), (other, 1.0 - share)];
            let [first, second] = if share >= 0.5 { parts } else { [parts[1], parts[0]] };
            let weights = [first, second].map(|(class, share)| self.weight_of(class) * share * sharp);
            Target { classes: [first.0, second.0], weights }
        };
        (0..self.labels.len()).map(target).collect()
    }

    fn spread(&self, classes: usize) -> Vec<f64> {
        if self.label_smoothing == 0.0 {
            return Vec::new();
        }
        let each = self.label_smoothing / classes as f64;
        (0..classes).map(|class| self.class_weights.map_or(1.0, |weights| weights[class]) * each).collect()
    }
}

/// Loss and hits of a batch with `classes` logits for each sample, (N, classes) in the executor's layout. A sample is a hit if its
/// largest logit is at the label, or at that with the larger share: of equal logits the first counts, infinity is the largest, and of a
/// sample with a NaN none is. If `dlogits` is given, it gets the gradient of the mean loss, in the logits' layout.
///
/// # Errors
/// If a label is not below `classes`; if targets do not fit each other; if a buffer is of another type or on another device; if the device
/// fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn evaluate(
    executor: &Executor,
    classes: usize,
    logits: &Buffer,
    targets: Targets,
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    targets.check(classes)?;
    let (resolved, weight) = (targets.resolved(), targets.weight());
    let (spread, gamma) = (&targets.spread(classes)[..], targets.gamma);
    let share = 1.0 / targets.whole.unwrap_or(weight);
    let problem = &Problem { classes, targets: &resolved, spread, gamma, share };
    let outcome: Result<Outcome> = by_backend!(executor, evaluate(problem, logits, dlogits));
    Ok(Outcome { weight, decisions: resolved.len(), ..outcome? })
}
