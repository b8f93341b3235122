//! See [`crate::batch_norm::joint`]. Parts, a few numbers for each channel, come to the host, where they are merged as all are.

use super::{give, sum};
use crate::batch_norm::{reference, Backward, BatchNorm, ForwardTrain, Total};
use crate::buffer::bytes_of;
use crate::cuda::Cuda;
use crate::{Buffer, Result};

/// Of the statistics that a GPU makes of moments at once.
pub(in crate::batch_norm) fn moments_part(
    _: &Cuda,
    op: &BatchNorm,
    n: usize,
    _: &Buffer,
    _: &Buffer,
    saved: &Buffer,
    part: &mut [f64],
) -> Result<()> {
    let statistics = saved.read::<f64>(0..op.saved_len())?;
    let (mean, variance) = statistics.split_at(op.saved_len() / 3);
    let (means, squares) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
    let count = (n * op.size[0] * op.size[1]) as f64;
    for channel in 0..op.channels {
        means[channel] = mean[channel];
        squares[channel] = variance[channel] * count;
    }
    Ok(())
}

pub(in crate::batch_norm) fn save(_: &Cuda, op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
    let mut host = Buffer::from_slice(&vec![0f32; op.saved_len()])?;
    reference::joint::save::<f32>(op, total, &mut host)?;
    saved.write(host.slice::<f32>()?)
}

pub(in crate::batch_norm) fn saved_part(op: &BatchNorm, n: usize, saved: &Buffer, part: &mut [f64]) -> Result<()> {
    let host = Buffer::from_slice(&saved.read::<f32>(0..op.saved_len())?)?;
    reference::joint::saved_part::<f32>(op, n, &host, part)
}

pub(in crate::batch_norm) fn save_mean(op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
    let mut host = Buffer::from_slice(&vec![0f32; op.saved_len()])?;
    reference::joint::save_mean::<f32>(op, total, &mut host)?;
    saved.write(host.slice::<f32>()?)
}

pub(in crate::batch_norm) fn normalise(cuda: &Cuda, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    super::forward_train(cuda, op, call)
}

/// Of the gradients of the parameters: in place of dy·(x − mean) it has dy·x̂, whose sums add up as well.
pub(crate) fn sums_part(cuda: &Cuda, op: &BatchNorm, call: &mut Backward, _: bool, part: &mut [f64]) -> Result<()> {
    sum(cuda, op, call)?;
    let gradients = call.grads.view().read::<f64>()?;
    let (sums, products) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
    products[..op.channels].copy_from_slice(&gradients[..op.channels]);
    sums[..op.channels].copy_from_slice(&gradients[op.channels..2 * op.channels]);
    Ok(())
}

pub(crate) fn finish(cuda: &Cuda, op: &BatchNorm, call: Backward, total: Total) -> Result<()> {
    let (sums, products) = total.values.split_at(op.part_len() / 2);
    let whole = products[..op.channels].iter().chain(&sums[..op.channels]);
    let whole: Vec<f32> = whole.map(|&sum| sum as f32).collect();
    let memory = cuda.scratch(size_of_val(&*whole))?;
    memory.write(0, bytes_of(&whole))?;
    give(cuda, op, call, memory.address(), total.n * op.size[0] * op.size[1])
}
