//! Softmax cross-entropy: loss\[n\] = log Σ exp(logits\[n\]) − logits\[n, label\], with the maximum taken off first.

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
    /// How many samples have their largest logit at the label: of equal logits the first counts, infinity is the largest, and of a
    /// sample with a NaN none is.
    pub correct: usize,
}

/// Loss and hits of a batch of `labels.len()` samples with `classes` logits each, (N, classes) in the executor's layout.
/// If `dlogits` is given, it gets the gradient of the mean loss, in the logits' layout.
///
/// # Errors
/// If a label is not below `classes`; if a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn evaluate(
    executor: &Executor,
    classes: usize,
    logits: &Buffer,
    labels: &[u32],
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    if let Some((index, label)) = labels.iter().enumerate().find(|(_, &label)| label as usize >= classes) {
        bail!("label {label} of sample {index} is not one of {classes} classes");
    }
    by_backend!(executor, evaluate(classes, logits, labels, dlogits))
}
