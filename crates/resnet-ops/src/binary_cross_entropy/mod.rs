//! Binary cross-entropy, for samples of which several classes may be right, or none: loss\[n\] is the mean over classes c of
//! w\[c\] · (v\[c\] · t · −log σ(x) + (1 − t) · −log(1 − σ(x))), where x is a logit, σ(x) = 1 / (1 + exp(−x)) and t is 1 where the class
//! is right and 0 elsewhere, or the mean of two samples' by their shares; then (1 − ε) · t + ε / 2. Weights w of classes and v of what is
//! right are 1 and the smoothing ε is 0 unless they are given.

use crate::allocate::with_room;
use crate::executor::by_backend;
use crate::outcome::Outcome;
use crate::{Buffer, Executor, Result};
use candle_core::bail;
use std::borrow::Cow;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// What a batch's logits are held against.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// (N, classes): 1 where a class is right, else 0.
    pub labels: &'a [u8],
    /// The same of other samples, and the share from 0 to 1 that the labels have: the rest is the others'.
    pub mixed: Option<(&'a [u8], f64)>,
    /// A weight for each class. The mean is that over samples and classes all the same.
    pub class_weights: Option<&'a [f64]>,
    /// A weight for each class where it is right.
    pub positive_weights: Option<&'a [f64]>,
    /// How near wanted probabilities are to a half, from 0 to 1, where they are nothing else.
    pub label_smoothing: f64,
    /// Where these are a part of a batch's samples, how many the batch has. Gradients are those of the whole batch's mean then.
    pub whole: Option<f64>,
}

impl<'a> From<&'a [u8]> for Targets<'a> {
    fn from(labels: &'a [u8]) -> Self {
        Self { labels, mixed: None, class_weights: None, positive_weights: None, label_smoothing: 0.0, whole: None }
    }
}

/// Targets as the kernels take them.
struct Problem<'a> {
    /// Logits of a sample.
    classes: usize,
    /// (N, classes): 1 where the class is right, and 2 more where it is of the sample that was mixed in.
    codes: &'a [u8],
    /// The probability that each code asks for.
    wanted: [f64; 4],
    /// The bit of a code by which a decision is judged.
    judge: u8,
    /// Of each class the weight where it is wrong and where it is right.
    weights: &'a [[f64; 2]],
    /// What gradients are multiplied by.
    share: f64,
}

impl Problem<'_> {
    /// Number of samples.
    fn samples(&self) -> usize {
        self.codes.len() / self.classes
    }
}

impl Targets<'_> {
    fn check(&self, classes: usize) -> Result<()> {
        let others = self.mixed.map_or(self.labels, |(others, _)| others);
        if classes == 0 || !self.labels.len().is_multiple_of(classes) || others.len() != self.labels.len() {
            bail!("{} and {} labels are none of samples of {classes} classes", self.labels.len(), others.len());
        }
        if let Some(place) = [self.labels, others].iter().find_map(|labels| labels.iter().position(|&label| label > 1))
        {
            bail!("the label of sample {}, class {} is neither 0 nor 1", place / classes, place % classes);
        }
        match [self.class_weights, self.positive_weights].into_iter().flatten().find(|all| all.len() != classes) {
            Some(weights) => bail!("{} weights of {classes} classes", weights.len()),
            None => Ok(()),
        }
    }

    fn codes(&self) -> Result<Cow<'_, [u8]>> {
        let Some((others, _)) = self.mixed else { return Ok(Cow::Borrowed(self.labels)) };
        let mut codes = with_room(self.labels.len())?;
        codes.extend(self.labels.iter().zip(others).map(|(label, other)| label | other << 1));
        Ok(Cow::Owned(codes))
    }

    fn wanted(&self, code: u8) -> f64 {
        let share = self.mixed.map_or(1.0, |(_, share)| share);
        let plain = f64::from(code & 1) * share + f64::from(code >> 1) * (1.0 - share);
        (1.0 - self.label_smoothing) * plain + 0.5 * self.label_smoothing
    }

    fn weights(&self, classes: usize) -> Vec<[f64; 2]> {
        let at = |weights: Option<&[f64]>, class: usize| weights.map_or(1.0, |weights| weights[class]);
        let of = |class| {
            let weight = at(self.class_weights, class);
            [weight, weight * at(self.positive_weights, class)]
        };
        (0..classes).map(of).collect()
    }
}

/// Loss and right decisions of a batch with `classes` logits for each sample, (N, classes) in the executor's layout. A class is decided
/// for where its probability is at least a half, and judged by the labels or by those with the larger share; a NaN decides nothing right.
/// If `dlogits` is given, it gets the gradient of the mean loss, in the logits' layout.
///
/// # Errors
/// If targets do not fit each other or a label is neither 0 nor 1; if a buffer is of another type or on another device; if the device fails.
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
    let (codes, weights) = (targets.codes()?, targets.weights(classes));
    let problem = &Problem {
        classes,
        codes: &codes,
        wanted: [0, 1, 2, 3].map(|code| targets.wanted(code)),
        judge: if targets.mixed.is_some_and(|(_, share)| share < 0.5) { 2 } else { 1 },
        weights: &weights,
        share: 1.0 / targets.whole.map_or(codes.len() as f64, |samples| samples * classes as f64),
    };
    let outcome: Result<Outcome> = by_backend!(executor, evaluate(problem, logits, dlogits));
    Ok(Outcome { weight: problem.samples() as f64, decisions: codes.len(), ..outcome? })
}
