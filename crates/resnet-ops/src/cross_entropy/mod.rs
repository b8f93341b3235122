//! Softmax cross-entropy: loss\[n\] = log Σ exp(logits\[n\]) − logits\[n, label\], with the maximum taken off first; of weighted and mixed
//! classes the weighted sum of such losses.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// What a batch's logits say about its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The samples' losses, added up.
    pub loss_sum: f64,
    /// What that sum is divided by to be the mean loss: how many samples there are, or the sum of their labels' weights.
    pub weight: f64,
    /// How many samples have their largest logit at the label, or at that with the larger share: of equal logits the first counts,
    /// infinity is the largest, and of a sample with a NaN none is.
    pub correct: usize,
}

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
}

impl<'a> From<&'a [u32]> for Targets<'a> {
    fn from(labels: &'a [u32]) -> Self {
        Self { labels, mixed: None, class_weights: None }
    }
}

/// The two classes of a sample, that with the larger share first, and their weights in its loss.
#[derive(Clone, Copy)]
struct Target {
    classes: [u32; 2],
    weights: [f64; 2],
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

    /// Each sample's, and what the sum of their losses is divided by.
    fn resolved(&self) -> (Vec<Target>, f64) {
        let weight = |class: u32| self.class_weights.map_or(1.0, |weights| weights[class as usize]);
        let target = |index: usize| {
            let (label, (other, share)) = (
                self.labels[index],
                self.mixed.map_or((self.labels[index], 1.0), |(others, share)| (others[index], share)),
            );
            let parts = [(label, share), (other, 1.0 - share)];
            let [first, second] = if share >= 0.5 { parts } else { [parts[1], parts[0]] };
            Target { classes: [first.0, second.0], weights: [weight(first.0) * first.1, weight(second.0) * second.1] }
        };
        let targets: Vec<Target> = (0..self.labels.len()).map(target).collect();
        let divisor = match self.mixed {
            None => targets.iter().map(|target| target.weights[0]).sum(),
            Some(_) => targets.len() as f64,
        };
        (targets, divisor)
    }
}

/// Loss and hits of a batch with `classes` logits for each sample, (N, classes) in the executor's layout. A sample's loss is that of its
/// class, or those of its two classes by their shares. If `dlogits` is given, it gets the gradient of the mean loss, in the logits' layout.
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
    let (targets, divisor) = targets.resolved();
    let (targets, share) = (&targets[..], 1.0 / divisor);
    let outcome: Result<Outcome> = by_backend!(executor, evaluate(classes, logits, targets, share, dlogits));
    Ok(Outcome { weight: divisor, ..outcome? })
}
