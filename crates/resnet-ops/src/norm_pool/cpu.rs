//! One (image, block) plane at a time. Of the map between norm and pooling only the maxima matter:
//!
//! ```text
//!   forward:   statistics of x, then y = max over a window of act(x·scale + shift)
//!   backward:  dy is scattered into the plane of dx and summed up while that is at hand; then dx is worked out in its place
//! ```

use super::{Backward, ForwardTrain, NormPool};
use crate::batch_norm::cpu::joint::add_up;
use crate::batch_norm::cpu::plane::{self, ReluMask};
use crate::batch_norm::cpu::{statistics, Saved};
use crate::batch_norm::{Statistics, Total};
use crate::blocked::{blocked_len, blocks, LANES};
use crate::max_pool2d::cpu::{pool, scatter};
use crate::{Cpu, Result};

pub(super) fn forward_train(cpu: &Cpu, op: &NormPool, call: ForwardTrain) -> Result<()> {
    statistics(cpu, &op.norm, call.n, call.moments, &mut *call.saved)?;
    normalise(cpu, op, call)
}

/// With the statistics that have been saved.
pub(super) fn normalise(cpu: &Cpu, op: &NormPool, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, params, moments: _, saved, y, argmax } = call;
    let (plane, output_plane, blocks) = planes(op);
    let saved = Saved::new(&op.norm, saved)?;
    let (x, params) = (x.slice::<f32>()?, params.slice::<f32>()?);
    let len = n * blocks * output_plane;
    let (y, argmax) = (&mut y.slice_mut::<f32>()?[..len], &mut argmax.slice_mut::<u8>()?[..len]);
    cpu.pool.zip_chunks_mut(y, output_plane, argmax, output_plane, |index, y, argmax| {
        let affine = saved.affine(&op.norm, params, index % blocks);
        pool::<1>(cpu.isa, &op.pool, &x[index * plane..][..plane], &affine, op.norm.relu, y, argmax);
    });
    Ok(())
}

pub(super) fn backward(cpu: &Cpu, op: &NormPool, mut call: Backward) -> Result<()> {
    sum(cpu, op, &mut call)?;
    finish_with(cpu, op, call, None)
}

/// Scatters dy into dx and writes its sums.
fn sum(cpu: &Cpu, op: &NormPool, call: &mut Backward) -> Result<()> {
    let (plane, output_plane, blocks) = planes(op);
    let (saved, x) = (Saved::new(&op.norm, call.saved)?, call.x.slice::<f32>()?);
    let params = call.params.clone().slice::<f32>()?;
    let (dy, argmax) = (call.dy.slice::<f32>()?, call.argmax.slice::<u8>()?);
    let affine = |block| saved.affine(&op.norm, params, block);
    let sums = &mut call.sums.slice_mut::<f64>()?[..op.norm.sums_len(call.n)];
    let dx = &mut call.dx.slice_mut::<f32>()?[..call.n * blocks * plane];
    cpu.pool.zip_chunks_mut(dx, plane, sums, 2 * LANES, |index, dx, sums| {
        let (x, block, output) = (&x[index * plane..][..plane], index % blocks, index * output_plane);
        dx.fill(0.0);
        scatter(cpu.isa, &op.pool, &dy[output..][..output_plane], &argmax[output..][..output_plane], dx);
        let mask = if op.norm.relu { ReluMask::Input(affine(block)) } else { ReluMask::Everywhere };
        plane::gradient_sums(cpu.isa, x, &saved.mean(block), &mask, dx, sums);
    });
    Ok(())
}

/// See [`super::sums_part`].
pub(super) fn sums_part(cpu: &Cpu, op: &NormPool, call: &mut Backward, part: &mut [f64]) -> Result<()> {
    sum(cpu, op, call)?;
    add_up(cpu, &op.norm, &call.sums.slice::<f64>()?[..op.norm.sums_len(call.n)], part);
    Ok(())
}

/// From dx and its sums, and those of the whole batch if this is a shard of one.
pub(super) fn finish(cpu: &Cpu, op: &NormPool, call: Backward, total: Total) -> Result<()> {
    finish_with(cpu, op, call, Some(total))
}

fn finish_with(cpu: &Cpu, op: &NormPool, call: Backward, total: Option<Total>) -> Result<()> {
    let Backward { n, x, params, saved, argmax: _, sums, dy: _, dx, grads } = call;
    let (plane, _, blocks) = planes(op);
    let (saved, x, params) = (Saved::new(&op.norm, saved)?, x.slice::<f32>()?, params.slice::<f32>()?);
    let sums = &sums.slice::<f64>()?[..op.norm.sums_len(n)];
    let grads = &mut grads.into_slice::<f32>()?[..2 * op.norm.channels];
    saved.parameter_gradients(cpu, &op.norm, n, sums, grads);
    let whole = total.map(|total| (total.n, saved.total_gradients(&op.norm, total)));
    let (images, grads) = whole.as_ref().map_or((n, &*grads), |(images, grads)| (*images, grads));
    let dx = &mut dx.slice_mut::<f32>()?[..n * blocks * plane];
    cpu.pool.chunks_mut(dx, plane, |index, dx| {
        let block = index % blocks;
        let slope = saved.slope(&op.norm, images, Statistics::Batch, params, grads, block);
        let mask = op.norm.relu.then(|| saved.affine(&op.norm, params, block));
        plane::input_gradient(cpu.isa, &x[index * plane..][..plane], None, mask.as_ref(), &slope, dx);
    });
    Ok(())
}

/// Elements of a plane of input and output, and blocks of channels.
fn planes(op: &NormPool) -> (usize, usize, usize) {
    let len = |[height, width]: [usize; 2]| blocked_len(1, 1, height, width);
    (len(op.norm.size), len(op.pool.output()), blocks(op.norm.channels))
}
