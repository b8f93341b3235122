//! Batch normalisation in two passes over memory, one (image, block) plane per task: sums, which forward the convolution before
//! may have left, then values.
//!
//! Sums of a plane are f32 vectors for a few pixels, then f64; planes are added up over images in order, so that the
//! number of threads changes nothing.

use super::{Backward, BatchNorm, ForwardEval, ForwardTrain, Statistics, Total, UpdateRunning};
use crate::affine::{Affine, Lanes};
use crate::blocked::{blocked_len, blocks, LANES};
use crate::{finite, Buffer, Cpu, Isa, Result, View};
use plane::{ReluMask, Slope};

pub(crate) mod joint;
pub(crate) mod plane;
#[cfg(test)]
mod tests;

pub(super) fn moments(cpu: &Cpu, op: &BatchNorm, n: usize, x: &Buffer, moments: &mut Buffer) -> Result<()> {
    let (plane, values) = (plane_len(op), x.slice::<f32>()?);
    let moments = &mut moments.slice_mut::<f64>()?[..op.sums_len(n)];
    cpu.pool.chunks_mut(moments, 2 * LANES, |index, moments| {
        plane::moments(cpu.isa, &values[index * plane..][..plane], moments);
    });
    Ok(())
}

pub(super) fn forward_train(cpu: &Cpu, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, shortcut, params, moments, saved, y } = call;
    let saved = statistics(cpu, op, n, moments, saved)?;
    let params = params.slice::<f32>()?;
    normalise(cpu, op, n, x, shortcut, |block| saved.affine(op, params, block), y)
}

/// Makes the statistics of a batch of its moments and saves them.
pub(crate) fn statistics<'a>(
    cpu: &Cpu,
    op: &BatchNorm,
    n: usize,
    moments: &Buffer,
    saved: &'a mut Buffer,
) -> Result<Saved<'a>> {
    let (plane, blocks) = (plane_len(op), blocks(op.channels));
    let (moments, _) = moments.slice::<f64>()?[..op.sums_len(n)].as_chunks::<LANES>();
    let saved = &mut saved.slice_mut::<f32>()?[..op.saved_len()];
    let (mean, rest) = saved.split_at_mut(blocks * LANES);
    let (variance, invstd) = rest.split_at_mut(blocks * LANES);
    let count = (plane / LANES) as f64 * n as f64;
    cpu.pool.zip_chunks_mut(mean, LANES, variance, LANES, |block, mean, variance| {
        let [center, square] = block_moments(op, n, moments, block);
        for lane in 0..LANES {
            mean[lane] = center[lane] as f32;
            variance[lane] = (square[lane] / count) as f32;
        }
    });
    save_deviations(op, variance, invstd);
    Ok(Saved { mean, invstd })
}

/// Mean of a block's channels over `n` images, and the squared distances from it, of the moments of each image.
fn block_moments(op: &BatchNorm, n: usize, moments: &[[f64; LANES]], block: usize) -> [[f64; LANES]; 2] {
    let (blocks, pixels) = (blocks(op.channels), (plane_len(op) / LANES) as f64);
    let planes = || (0..n).map(|image| (image * blocks + block) * 2);
    let mut center = [0f64; LANES];
    for index in planes() {
        for lane in 0..LANES {
            center[lane] += moments[index][lane];
        }
    }
    center = center.map(|sum| sum / n as f64);
    // Chan, Golub and LeVeque's update, for parts of one size.
    let mut square = [0f64; LANES];
    for index in planes() {
        for lane in 0..LANES {
            let distance = moments[index][lane] - center[lane];
            square[lane] += moments[index + 1][lane] + pixels * distance * distance;
        }
    }
    [center, square]
}

/// Zero beyond the channels.
fn save_deviations(op: &BatchNorm, variance: &[f32], invstd: &mut [f32]) {
    invstd.fill(0.0);
    for (invstd, &variance) in invstd.iter_mut().zip(&variance[..op.channels]) {
        *invstd = inverse_std(variance, op.eps);
    }
}

/// The statistics that an output was made with.
pub(crate) struct Saved<'a> {
    mean: &'a [f32],
    invstd: &'a [f32],
}

impl<'a> Saved<'a> {
    pub(crate) fn new(op: &BatchNorm, saved: &'a Buffer) -> Result<Self> {
        let (mean, rest) = saved.slice::<f32>()?[..op.saved_len()].split_at(op.saved_len() / 3);
        Ok(Self { mean, invstd: &rest[rest.len() / 2..] })
    }

    pub(crate) fn mean(&self, block: usize) -> Lanes {
        lanes(self.mean, block)
    }

    pub(crate) fn affine(&self, op: &BatchNorm, params: &[f32], block: usize) -> Affine {
        affine(op, params, self.mean(block), lanes(self.invstd, block), block)
    }

    /// What the gradient of x is made of, from those of the parameters: statistics that depend on x have a part in it.
    pub(crate) fn slope(
        &self,
        op: &BatchNorm,
        n: usize,
        statistics: Statistics,
        params: &[f32],
        grads: &[f32],
        block: usize,
    ) -> Slope {
        let (mean, scale) = (self.mean(block), self.affine(op, params, block).scale);
        let (dgamma, dbeta) = grads.split_at(op.channels);
        let (dgamma, dbeta, invstd) = (lanes(dgamma, block), lanes(dbeta, block), lanes(self.invstd, block));
        let count = (n * plane_len(op) / LANES) as f32;
        let constant = dbeta.map(|dbeta| dbeta / count);
        let linear = std::array::from_fn(|lane| -invstd[lane] * dgamma[lane] / count);
        Slope { statistics, mean, constant, linear, scale }
    }

    /// Writes the gradients of the parameters from the sums of each (image, block) plane.
    pub(crate) fn parameter_gradients(&self, cpu: &Cpu, op: &BatchNorm, n: usize, sums: &[f64], grads: &mut [f32]) {
        let ((sums, _), blocks) = (sums.as_chunks::<LANES>(), blocks(op.channels));
        let (dgamma, dbeta) = grads.split_at_mut(op.channels);
        cpu.pool.zip_chunks_mut(dgamma, LANES, dbeta, LANES, |block, dgamma, dbeta| {
            let (mut sum, mut product) = ([0f64; LANES], [0f64; LANES]);
            for image in 0..n {
                let index = (image * blocks + block) * 2;
                for lane in 0..LANES {
                    sum[lane] += sums[index][lane];
                    product[lane] += sums[index + 1][lane];
                }
            }
            for lane in 0..dgamma.len() {
                dgamma[lane] = (product[lane] * f64::from(self.invstd[block * LANES + lane])) as f32;
                dbeta[lane] = sum[lane] as f32;
            }
        });
    }
}

impl Saved<'_> {
    /// The gradients of the parameters from the sums of all shards of a batch.
    pub(crate) fn total_gradients(&self, op: &BatchNorm, total: Total) -> Vec<f32> {
        let (sums, products) = total.values.split_at(total.values.len() / 2);
        let gamma = products.iter().zip(self.invstd).map(|(product, invstd)| (product * f64::from(*invstd)) as f32);
        gamma.take(op.channels).chain(sums[..op.channels].iter().map(|&sum| sum as f32)).collect()
    }
}

pub(super) fn save_running(_: &Cpu, op: &BatchNorm, running: View, saved: &mut Buffer) -> Result<()> {
    let (mean, variance) = running.slice::<f32>()?[..2 * op.channels].split_at(op.channels);
    let saved = &mut saved.slice_mut::<f32>()?[..op.saved_len()];
    saved.fill(0.0);
    let part = saved.len() / 3;
    for channel in 0..op.channels {
        saved[channel] = mean[channel];
        saved[part + channel] = variance[channel];
        saved[2 * part + channel] = inverse_std(variance[channel], op.eps);
    }
    Ok(())
}

pub(super) fn forward_eval(cpu: &Cpu, op: &BatchNorm, call: ForwardEval) -> Result<()> {
    let ForwardEval { n, x, shortcut, params, running, y } = call;
    let params = params.slice::<f32>()?;
    let (mean, variance) = running.slice::<f32>()?[..2 * op.channels].split_at(op.channels);
    let invstd = |channel| variance.get(channel).map_or(0.0, |&variance| inverse_std(variance, op.eps));
    let affine = |block| {
        let invstd = std::array::from_fn(|lane| invstd(block * LANES + lane));
        affine(op, params, lanes(mean, block), invstd, block)
    };
    normalise(cpu, op, n, x, shortcut, affine, y)
}

pub(super) fn update_running(_: &Cpu, op: &BatchNorm, call: UpdateRunning) -> Result<()> {
    let UpdateRunning { n, saved, elided_bias, running, non_finite } = call;
    let (mean, rest) = saved.slice::<f32>()?.split_at(op.saved_len() / 3);
    let count = (n * op.size[0] * op.size[1]) as f64;
    let unbiased = count / (count - 1.0).max(1.0);
    let (running_mean, running_variance) = running.into_slice::<f32>()?.split_at_mut(op.channels);
    let blend = |old: f32, new: f64| ((1.0 - op.momentum) * f64::from(old) + op.momentum * new) as f32;
    let elided_bias = elided_bias.map(|values| values.slice::<f32>()).transpose()?;
    for channel in 0..op.channels {
        let mean = f64::from(mean[channel]) + elided_bias.map_or(0.0, |values| f64::from(values[channel]));
        running_mean[channel] = blend(running_mean[channel], mean);
        running_variance[channel] = blend(running_variance[channel], f64::from(rest[channel]) * unbiased);
    }
    finite::note::<f32>(non_finite, running_mean.iter().chain(running_variance.iter()).all(|value| value.is_finite()))
}

pub(super) fn backward(cpu: &Cpu, op: &BatchNorm, mut call: Backward) -> Result<()> {
    sum(cpu, op, &mut call)?;
    finish_backward(cpu, op, call)
}

/// Masks dy by y, if there is one, and writes its sums.
fn sum(cpu: &Cpu, op: &BatchNorm, call: &mut Backward) -> Result<()> {
    let summands = Summands::new(op, call.n, call.x, call.params.clone(), call.saved, call.y)?;
    let dy = &mut call.dy.slice_mut::<f32>()?[..activation_len(op, call.n)];
    let sums = &mut call.sums.slice_mut::<f64>()?[..op.sums_len(call.n)];
    cpu.pool.zip_chunks_mut(dy, plane_len(op), sums, 2 * LANES, |index, dy, sums| {
        summands.sum(cpu.isa, index, dy, sums);
    });
    Ok(())
}

/// What the sums of a gradient are made of, beside it.
pub(crate) struct Summands<'a> {
    op: &'a BatchNorm,
    x: &'a [f32],
    params: &'a [f32],
    saved: Saved<'a>,
    y: Option<&'a [f32]>,
}

impl<'a> Summands<'a> {
    pub(crate) fn new(
        op: &'a BatchNorm,
        n: usize,
        x: &'a Buffer,
        params: View<'a>,
        saved: &'a Buffer,
        y: Option<&'a Buffer>,
    ) -> Result<Self> {
        let len = activation_len(op, n);
        let y = y.map(|y| y.slice::<f32>()).transpose()?.map(|y| &y[..len]);
        Ok(Self { op, x: &x.slice::<f32>()?[..len], params: params.slice::<f32>()?, saved: Saved::new(op, saved)?, y })
    }

    /// Masks a plane of the gradient by y, if there is one, and writes its sums.
    pub(crate) fn sum(&self, isa: Isa, index: usize, dy: &mut [f32], sums: &mut [f64]) {
        let (plane, block) = (plane_len(self.op), index % blocks(self.op.channels));
        let mask = match self.y {
            _ if !self.op.relu => ReluMask::Everywhere,
            None => ReluMask::Input(self.saved.affine(self.op, self.params, block)),
            Some(y) => ReluMask::Output(&y[index * plane..][..plane]),
        };
        plane::gradient_sums(isa, &self.x[index * plane..][..plane], &self.saved.mean(block), &mask, dy, sums);
    }
}

pub(super) fn finish_backward(cpu: &Cpu, op: &BatchNorm, call: Backward) -> Result<()> {
    finish_with(cpu, op, call, None)
}

/// `whole` are the images of a batch of which this is a shard, and the gradients of the parameters from all of it.
fn finish_with(cpu: &Cpu, op: &BatchNorm, call: Backward, whole: Option<(usize, &[f32])>) -> Result<()> {
    let Backward { n, x, y: _, params, saved, sums, dy, dx, grads, statistics } = call;
    let (plane, blocks, len) = (plane_len(op), blocks(op.channels), activation_len(op, n));
    let (x, params) = (&x.slice::<f32>()?[..len], params.slice::<f32>()?);
    let saved = Saved::new(op, saved)?;
    let affine = |block| saved.affine(op, params, block);
    let dy = &mut dy.slice_mut::<f32>()?[..len];
    let dx = dx.map(|dx| dx.slice_mut::<f32>()).transpose()?.map(|dx| &mut dx[..len]);
    let sums = &sums.slice::<f64>()?[..op.sums_len(n)];
    let grads = &mut grads.into_slice::<f32>()?[..2 * op.channels];
    saved.parameter_gradients(cpu, op, n, sums, grads);
    let (n, grads) = whole.unwrap_or((n, grads));
    let slope = |block| saved.slope(op, n, statistics, params, grads, block);
    match dx {
        Some(dx) => cpu.pool.chunks_mut(dx, plane, |index, dx| {
            let part = index * plane..(index + 1) * plane;
            plane::input_gradient(cpu.isa, &x[part.clone()], Some(&dy[part]), None, &slope(index % blocks), dx);
        }),
        None => cpu.pool.chunks_mut(dy, plane, |index, dy| {
            let (x, mask) = (&x[index * plane..][..plane], op.relu.then(|| affine(index % blocks)));
            plane::input_gradient(cpu.isa, x, None, mask.as_ref(), &slope(index % blocks), dy);
        }),
    }
    Ok(())
}

/// y = act(x·scale + shift + shortcut), with the scale and shift that `affine` gives for a block.
fn normalise(
    cpu: &Cpu,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    shortcut: Option<&Buffer>,
    affine: impl Fn(usize) -> Affine + Sync,
    y: &mut Buffer,
) -> Result<()> {
    let (plane, blocks, len) = (plane_len(op), blocks(op.channels), activation_len(op, n));
    let x = &x.slice::<f32>()?[..len];
    let shortcut = shortcut.map(|shortcut| shortcut.slice::<f32>()).transpose()?;
    let y = &mut y.slice_mut::<f32>()?[..len];
    cpu.pool.chunks_mut(y, plane, |index, y| {
        let shortcut = shortcut.map(|shortcut| &shortcut[index * plane..][..plane]);
        plane::normalise(cpu.isa, &x[index * plane..][..plane], &affine(index % blocks), shortcut, op.relu, y);
    });
    Ok(())
}

/// Scale and shift of a block, worked out alike in every pass so that the ReLU's mask is too.
fn affine(op: &BatchNorm, params: &[f32], mean: Lanes, invstd: Lanes, block: usize) -> Affine {
    let (gamma, beta) = params.split_at(op.channels);
    let (gamma, beta) = (lanes(gamma, block), lanes(beta, block));
    let scale: Lanes = std::array::from_fn(|lane| gamma[lane] * invstd[lane]);
    let shift = |lane: usize| (f64::from(beta[lane]) - f64::from(mean[lane]) * f64::from(scale[lane])) as f32;
    Affine { scale, shift: std::array::from_fn(shift) }
}

/// Elements of a plane: one block of one image.
fn plane_len(op: &BatchNorm) -> usize {
    op.size[0] * op.size[1] * LANES
}

fn activation_len(op: &BatchNorm, n: usize) -> usize {
    blocked_len(n, op.channels, op.size[0], op.size[1])
}

fn inverse_std(variance: f32, eps: f64) -> f32 {
    (1.0 / (f64::from(variance) + eps).sqrt()) as f32
}

/// The values of a block's channels, zero beyond the last.
fn lanes(values: &[f32], block: usize) -> Lanes {
    let values = &values[block * LANES..];
    let mut lanes = [0.0; LANES];
    let count = values.len().min(LANES);
    lanes[..count].copy_from_slice(&values[..count]);
    lanes
}
