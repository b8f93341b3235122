use super::{Backward, BatchNorm, ForwardEval, ForwardTrain, Statistics, UpdateRunning};
use crate::element::Real;
use crate::{finite, Buffer, Result, View, ViewMut};
use std::ops::Range;

pub(super) fn forward_train<T: Real>(op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, shortcut, params, saved, y, .. } = call;
    let values = x.slice::<T>()?;
    let (mean, variance, inverse) = saved_parts_mut(op, saved.slice_mut::<T>()?);
    let count = T::of(count(op, n));
    for c in 0..op.channels {
        let channel = || planes(op, n, c).flat_map(|plane| &values[plane]).copied();
        mean[c] = channel().sum::<T>() / count;
        variance[c] = channel().map(|x| (x - mean[c]).powi(2)).sum::<T>() / count;
        inverse[c] = inverse_deviation(op, variance[c]);
    }
    normalise(op, n, values, shortcut, params, mean, inverse, y)
}

pub(super) fn forward_eval<T: Real>(op: &BatchNorm, call: ForwardEval) -> Result<()> {
    let ForwardEval { n, x, shortcut, params, running, y } = call;
    let (mean, variance) = running.slice::<T>()?.split_at(op.channels);
    let inverse: Vec<T> = variance.iter().map(|&variance| inverse_deviation(op, variance)).collect();
    normalise(op, n, x.slice::<T>()?, shortcut, params, mean, &inverse, y)
}

pub(super) fn save_running<T: Real>(op: &BatchNorm, running: View, saved: &mut Buffer) -> Result<()> {
    let (running_mean, running_variance) = running.slice::<T>()?.split_at(op.channels);
    let saved = saved.slice_mut::<T>()?;
    saved[..op.saved_len()].fill(T::zero());
    let (mean, variance, inverse) = saved_parts_mut(op, saved);
    for c in 0..op.channels {
        (mean[c], variance[c]) = (running_mean[c], running_variance[c]);
        inverse[c] = inverse_deviation(op, variance[c]);
    }
    Ok(())
}

/// In f64 throughout, so that a folded weight is rounded once.
pub(super) fn fold<T: Real>(op: &BatchNorm, conv: View, norm: View, running: View, folded: ViewMut) -> Result<()> {
    let (gamma, beta) = norm.slice::<T>()?.split_at(op.channels);
    let (mean, variance) = running.slice::<T>()?.split_at(op.channels);
    let folded = folded.into_slice::<T>()?;
    let (weights, bias) = folded.split_at_mut(folded.len() - op.channels);
    let (given_weights, given_bias) = conv.slice::<T>()?.split_at(weights.len());
    let fan_in = weights.len() / op.channels;
    for c in 0..op.channels {
        let scale = gamma[c].into() / (variance[c].into() + op.eps).sqrt();
        let filter = c * fan_in..(c + 1) * fan_in;
        for (folded, &weight) in weights[filter.clone()].iter_mut().zip(&given_weights[filter]) {
            *folded = T::of(scale * weight.into());
        }
        let shift = given_bias.get(c).map_or(0.0, |&bias| bias.into()) - mean[c].into();
        bias[c] = T::of(scale * shift + beta[c].into());
    }
    Ok(())
}

pub(super) fn update_running<T: Real>(op: &BatchNorm, call: UpdateRunning) -> Result<()> {
    let UpdateRunning { n, saved, elided_bias, running, non_finite } = call;
    let (mean, variance, _) = saved_parts(op, saved.slice::<T>()?);
    let (running_mean, running_variance) = running.into_slice::<T>()?.split_at_mut(op.channels);
    let momentum = T::of(op.momentum);
    let unbiased = T::of(count(op, n) / (count(op, n) - 1.0));
    let elided_bias = elided_bias.map(|values| values.slice::<T>()).transpose()?;
    for c in 0..op.channels {
        let mean = mean[c] + elided_bias.map_or(T::zero(), |values| values[c]);
        running_mean[c] = (T::one() - momentum) * running_mean[c] + momentum * mean;
        running_variance[c] = (T::one() - momentum) * running_variance[c] + momentum * variance[c] * unbiased;
    }
    finite::note::<T>(non_finite, running_mean.iter().chain(running_variance.iter()).all(|value| value.is_finite()))
}

pub(super) fn backward<T: Real>(op: &BatchNorm, mut call: Backward) -> Result<()> {
    mask::<T>(op, &mut call)?;
    let Backward { n, x, y: _, params, saved, dy, dx, grads, statistics, .. } = call;
    let (x, dy) = (x.slice::<T>()?, dy.slice_mut::<T>()?);
    let gamma = &params.slice::<T>()?[..op.channels];
    let (dgamma, dbeta) = grads.into_slice::<T>()?.split_at_mut(op.channels);
    let (mean, _, inverse) = saved_parts(op, saved.slice::<T>()?);
    let mut dx = dx.map(|dx| dx.slice_mut::<T>()).transpose()?;
    let count = T::of(count(op, n));
    for c in 0..op.channels {
        let normalised = |i: usize| (x[i] - mean[c]) * inverse[c];
        let channel = || planes(op, n, c).flatten();
        dbeta[c] = channel().map(|i| dy[i]).sum();
        dgamma[c] = channel().map(|i| dy[i] * normalised(i)).sum();
        for i in channel() {
            let gradient = match statistics {
                Statistics::Batch => dy[i] - dbeta[c] / count - normalised(i) * dgamma[c] / count,
                Statistics::Running => dy[i],
            };
            dx.as_deref_mut().unwrap_or(dy)[i] = gamma[c] * inverse[c] * gradient;
        }
    }
    Ok(())
}

/// Sets the gradient of the output to 0 where a ReLU has.
fn mask<T: Real>(op: &BatchNorm, call: &mut Backward) -> Result<()> {
    if !op.relu {
        return Ok(());
    }
    let (x, dy) = (call.x.slice::<T>()?, call.dy.slice_mut::<T>()?);
    let (gamma, beta) = call.params.slice::<T>()?.split_at(op.channels);
    let (mean, _, inverse) = saved_parts(op, call.saved.slice::<T>()?);
    let y = call.y.map(|y| y.slice::<T>()).transpose()?;
    for c in 0..op.channels {
        let (scale, shift) = scale_and_shift(gamma[c], beta[c], mean[c], inverse[c]);
        for i in planes(op, call.n, c).flatten() {
            let output = y.map_or(x[i] * scale + shift, |y| y[i]);
            dy[i] = if output > T::zero() { dy[i] } else { T::zero() };
        }
    }
    Ok(())
}

/// See [`super::joint`].
pub(super) mod joint {
    use super::super::Total;
    use super::*;

    pub(in super::super) fn moments_part<T: Real>(
        op: &BatchNorm,
        n: usize,
        x: &Buffer,
        _: &Buffer,
        _: &Buffer,
        part: &mut [f64],
    ) -> Result<()> {
        let (x, count) = (x.slice::<T>()?, count(op, n));
        let (mean, square) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
        for c in 0..op.channels {
            let channel = || planes(op, n, c).flat_map(|plane| &x[plane]).map(|&x| x.into());
            mean[c] = channel().sum::<f64>() / count;
            square[c] = channel().map(|x: f64| (x - mean[c]).powi(2)).sum();
        }
        Ok(())
    }

    pub(in super::super) fn save<T: Real>(op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
        let (means, squares) = total.values.split_at(op.part_len() / 2);
        let (mean, variance, inverse) = saved_parts_mut(op, saved.slice_mut::<T>()?);
        for c in 0..op.channels {
            (mean[c], variance[c]) = (T::of(means[c]), T::of(squares[c] / count(op, total.n)));
            inverse[c] = inverse_deviation(op, variance[c]);
        }
        Ok(())
    }

    /// Of a variance, what makes it unbiased.
    fn unbiased(op: &BatchNorm, n: usize) -> f64 {
        count(op, n) / (count(op, n) - 1.0).max(1.0)
    }

    pub(in super::super) fn saved_part<T: Real>(
        op: &BatchNorm,
        n: usize,
        saved: &Buffer,
        part: &mut [f64],
    ) -> Result<()> {
        let (means, variances, _) = saved_parts(op, saved.slice::<T>()?);
        let (mean, variance) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
        for c in 0..op.channels {
            mean[c] = n as f64 * means[c].into();
            variance[c] = n as f64 * unbiased(op, n) * variances[c].into();
        }
        Ok(())
    }

    pub(in super::super) fn save_mean<T: Real>(op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
        let (means, variances) = total.values.split_at(op.part_len() / 2);
        let (mean, variance, _) = saved_parts_mut(op, saved.slice_mut::<T>()?);
        let n = total.n as f64;
        for c in 0..op.channels {
            mean[c] = T::of(means[c] / n);
            variance[c] = T::of(variances[c] / n / unbiased(op, total.n));
        }
        Ok(())
    }

    pub(in super::super) fn normalise<T: Real>(op: &BatchNorm, call: ForwardTrain) -> Result<()> {
        let ForwardTrain { n, x, shortcut, params, saved, y, .. } = call;
        let (mean, _, inverse) = saved_parts(op, saved.slice::<T>()?);
        super::normalise(op, n, x.slice::<T>()?, shortcut, params, mean, inverse, y)
    }

    pub(in super::super) fn sums_part<T: Real>(
        op: &BatchNorm,
        call: &mut Backward,
        _: bool,
        part: &mut [f64],
    ) -> Result<()> {
        mask::<T>(op, call)?;
        let (x, dy) = (call.x.slice::<T>()?, call.dy.slice::<T>()?);
        let (mean, _, _) = saved_parts(op, call.saved.slice::<T>()?);
        let (gradient, product) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
        for c in 0..op.channels {
            let channel = || planes(op, call.n, c).flatten();
            gradient[c] = channel().map(|i| dy[i].into()).sum();
            product[c] = channel().map(|i| dy[i].into() * (x[i] - mean[c]).into()).sum();
        }
        Ok(())
    }

    pub(in super::super) fn finish<T: Real>(op: &BatchNorm, call: Backward, total: Total) -> Result<()> {
        let Backward { n, x, params, saved, dy, dx, grads, .. } = call;
        let (x, dy) = (x.slice::<T>()?, dy.slice_mut::<T>()?);
        let gamma = &params.slice::<T>()?[..op.channels];
        let (dgamma, dbeta) = grads.into_slice::<T>()?.split_at_mut(op.channels);
        let (mean, _, inverse) = saved_parts(op, saved.slice::<T>()?);
        let (sums, products) = total.values.split_at(op.part_len() / 2);
        let mut dx = dx.map(|dx| dx.slice_mut::<T>()).transpose()?;
        let count = T::of(count(op, total.n));
        for c in 0..op.channels {
            let normalised = |i: usize| (x[i] - mean[c]) * inverse[c];
            let channel = || planes(op, n, c).flatten();
            dbeta[c] = channel().map(|i| dy[i]).sum();
            dgamma[c] = channel().map(|i| dy[i] * normalised(i)).sum();
            let (of_shift, of_scale) = (T::of(sums[c]) / count, T::of(products[c]) * inverse[c] / count);
            for i in channel() {
                let gradient = dy[i] - of_shift - normalised(i) * of_scale;
                dx.as_deref_mut().unwrap_or(dy)[i] = gamma[c] * inverse[c] * gradient;
            }
        }
        Ok(())
    }
}

fn normalise<T: Real>(
    op: &BatchNorm,
    n: usize,
    x: &[T],
    shortcut: Option<&Buffer>,
    params: View,
    mean: &[T],
    inverse: &[T],
    y: &mut Buffer,
) -> Result<()> {
    let (gamma, beta) = params.slice::<T>()?.split_at(op.channels);
    let shortcut = shortcut.map(|shortcut| shortcut.slice::<T>()).transpose()?;
    let y = y.slice_mut::<T>()?;
    for c in 0..op.channels {
        let (scale, shift) = scale_and_shift(gamma[c], beta[c], mean[c], inverse[c]);
        for i in planes(op, n, c).flatten() {
            let sum = x[i] * scale + shift + shortcut.map_or(T::zero(), |shortcut| shortcut[i]);
            // Written so that a NaN passes.
            y[i] = if op.relu && sum < T::zero() { T::zero() } else { sum };
        }
    }
    Ok(())
}

/// γ·(x − mean)·inverse + β as x·scale + shift.
fn scale_and_shift<T: Real>(gamma: T, beta: T, mean: T, inverse: T) -> (T, T) {
    let scale = gamma * inverse;
    (scale, beta - mean * scale)
}

fn inverse_deviation<T: Real>(op: &BatchNorm, variance: T) -> T {
    (variance + T::of(op.eps)).sqrt().recip()
}

/// Values per channel.
fn count(op: &BatchNorm, n: usize) -> f64 {
    (n * op.size[0] * op.size[1]) as f64
}

/// Where each image's plane of channel `c` lies.
fn planes(op: &BatchNorm, n: usize, c: usize) -> impl Iterator<Item = Range<usize>> {
    let (channels, pixels) = (op.channels, op.size[0] * op.size[1]);
    (0..n).map(move |image| (image * channels + c) * pixels..(image * channels + c + 1) * pixels)
}

/// Mean, biased variance and inverse deviation.
fn saved_parts<'a, T>(op: &BatchNorm, saved: &'a [T]) -> (&'a [T], &'a [T], &'a [T]) {
    let part = op.saved_len() / 3;
    (&saved[..part], &saved[part..2 * part], &saved[2 * part..3 * part])
}

fn saved_parts_mut<'a, T>(op: &BatchNorm, saved: &'a mut [T]) -> (&'a mut [T], &'a mut [T], &'a mut [T]) {
    let part = op.saved_len() / 3;
    let (mean, rest) = saved.split_at_mut(part);
    let (variance, inverse) = rest.split_at_mut(part);
    (mean, variance, &mut inverse[..part])
}
