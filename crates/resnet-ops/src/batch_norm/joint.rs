//! Batch normalisation with the statistics of a batch that is computed in parts, its shards, each by a call of its own, on this
//! machine or another: what [`forward_train`](super::forward_train) and [`backward`](super::backward) do, cut where they need the other
//! shards. A first half leaves a *part*, [`BatchNorm::part_len`] f64; parts are merged pair by pair ([`merge_moments`], or added up); a second half
//! goes on with what came of that.
//!
//! With one shard all is the same, to the last bit, as without shards.

#[cfg(feature = "cuda-kernels")]
use super::cuda;
use super::{cpu, reference, Backward, BatchNorm, ForwardTrain, Total};
use crate::{Buffer, Executor, Result};

/// Has the moments of `n` images, at least one, take in those of `more` (Chan, Golub and LeVeque, 1983): both as [`moments_part`] writes
/// them, of a norm with so many pixels.
pub fn merge_moments(pixels: usize, n: usize, part: &mut [f64], more: usize, other: &[f64]) {
    if more == 0 {
        return;
    }
    let (mean, square) = part.split_at_mut(part.len() / 2);
    let (other_mean, other_square) = other.split_at(other.len() / 2);
    let (count, more) = ((n * pixels) as f64, (more * pixels) as f64);
    for channel in 0..mean.len() {
        let distance = other_mean[channel] - mean[channel];
        mean[channel] += distance * (more / (count + more));
        square[channel] += other_square[channel] + distance * distance * (count * more / (count + more));
    }
}

/// Calls the form of an executor.
macro_rules! joint {
    ($executor:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $executor {
            Executor::ReferenceF32 => reference::joint::$function::<f32>($($argument),*),
            Executor::ReferenceF64 => reference::joint::$function::<f64>($($argument),*),
            Executor::Cpu(cpu) => cpu::joint::$function(cpu, $($argument),*),
            #[cfg(feature = "cuda-kernels")]
            Executor::Cuda(cuda) => cuda::joint::$function(cuda, $($argument),*),
        }
    };
}

/// The part of `n` images, at least one: for each channel the mean and the squared distances from it. `moments` and `saved` are what
/// [`moments`](super::moments), or the convolution before, wrote of x.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer or the part is too short.
pub fn moments_part(
    executor: &Executor,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    moments: &Buffer,
    saved: &Buffer,
    part: &mut [f64],
) -> Result<()> {
    joint!(executor, moments_part(op, n, x, moments, saved, part))
}

/// Saves the whole batch's statistics, made of its moments, as [`forward_train`](super::forward_train) does.
///
/// # Errors
/// As for [`moments_part`].
pub fn save(executor: &Executor, op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
    joint!(executor, save(op, total, saved))
}

/// The part of `n` images, at least one, that have statistics of their own, for [`save_mean`]: what is saved of them.
///
/// # Errors
/// As for [`moments_part`].
pub fn saved_part(executor: &Executor, op: &BatchNorm, n: usize, saved: &Buffer, part: &mut [f64]) -> Result<()> {
    match executor {
        Executor::ReferenceF64 => reference::joint::saved_part::<f64>(op, n, saved, part),
        Executor::ReferenceF32 | Executor::Cpu(_) => reference::joint::saved_part::<f32>(op, n, saved, part),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => cuda::joint::saved_part(op, n, saved, part),
    }
}

/// Saves, of parts that were added up, the mean of the shards' means and of their unbiased variances, each with the weight of its images, as
/// what [`update_running`](super::update_running) makes the same running statistics of.
///
/// # Errors
/// As for [`moments_part`].
pub fn save_mean(executor: &Executor, op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
    match executor {
        Executor::ReferenceF64 => reference::joint::save_mean::<f64>(op, total, saved),
        Executor::ReferenceF32 | Executor::Cpu(_) => reference::joint::save_mean::<f32>(op, total, saved),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => cuda::joint::save_mean(op, total, saved),
    }
}

/// Normalises a shard with the statistics that [`save`] has saved; does not read its moments.
///
/// # Errors
/// As for [`moments_part`].
pub fn normalise(executor: &Executor, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    joint!(executor, normalise(op, call))
}

/// The first half of a [`backward`](super::backward), and its part. With `summed`, a convolution has begun it, as for
/// [`finish_backward`](super::finish_backward).
///
/// # Errors
/// As for [`moments_part`].
pub fn sums_part(
    executor: &Executor,
    op: &BatchNorm,
    call: &mut Backward,
    summed: bool,
    part: &mut [f64],
) -> Result<()> {
    joint!(executor, sums_part(op, call, summed, part))
}

/// The second half: the gradients of x and the shortcut by the whole batch's sums, those of the parameters by the shard's own, which are to
/// be added to those of the other shards.
///
/// # Errors
/// As for [`moments_part`].
pub fn finish(executor: &Executor, op: &BatchNorm, call: Backward, total: Total) -> Result<()> {
    joint!(executor, finish(op, call, total))
}
