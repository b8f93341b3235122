//! See [`crate::batch_norm::joint`].

use super::{block_moments, finish_with, plane_len, Saved};
use crate::batch_norm::{Backward, BatchNorm, ForwardTrain, Total};
use crate::blocked::{blocks, LANES};
use crate::{Buffer, Cpu, Result};

pub(in crate::batch_norm) fn moments_part(
    cpu: &Cpu,
    op: &BatchNorm,
    n: usize,
    _: &Buffer,
    moments: &Buffer,
    _: &Buffer,
    part: &mut [f64],
) -> Result<()> {
    let (moments, _) = moments.slice::<f64>()?[..op.sums_len(n)].as_chunks::<LANES>();
    let (mean, square) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
    cpu.pool.zip_chunks_mut(mean, LANES, square, LANES, |block, mean, square| {
        let [center, squares] = block_moments(op, n, moments, block);
        mean.copy_from_slice(&center);
        square.copy_from_slice(&squares);
    });
    Ok(())
}

pub(crate) fn save(_: &Cpu, op: &BatchNorm, total: Total, saved: &mut Buffer) -> Result<()> {
    let Total { n, values } = total;
    let (means, squares) = values.split_at(values.len() / 2);
    let count = (plane_len(op) / LANES) as f64 * n as f64;
    let saved = &mut saved.slice_mut::<f32>()?[..op.saved_len()];
    let (mean, rest) = saved.split_at_mut(blocks(op.channels) * LANES);
    let (variance, invstd) = rest.split_at_mut(blocks(op.channels) * LANES);
    for channel in 0..mean.len() {
        mean[channel] = means[channel] as f32;
        variance[channel] = (squares[channel] / count) as f32;
    }
    super::save_deviations(op, variance, invstd);
    Ok(())
}

pub(in crate::batch_norm) fn normalise(cpu: &Cpu, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, shortcut, params, moments: _, saved, y } = call;
    let (saved, params) = (Saved::new(op, saved)?, params.slice::<f32>()?);
    super::normalise(cpu, op, n, x, shortcut, |block| saved.affine(op, params, block), y)
}

pub(in crate::batch_norm) fn sums_part(
    cpu: &Cpu,
    op: &BatchNorm,
    call: &mut Backward,
    summed: bool,
    part: &mut [f64],
) -> Result<()> {
    if !summed {
        super::sum(cpu, op, call)?;
    }
    add_up(cpu, op, &call.sums.slice::<f64>()?[..op.sums_len(call.n)], part);
    Ok(())
}

/// Adds up the sums of planes, over images in order.
pub(crate) fn add_up(cpu: &Cpu, op: &BatchNorm, sums: &[f64], part: &mut [f64]) {
    let ((sums, _), blocks) = (sums.as_chunks::<LANES>(), blocks(op.channels));
    let (gradient, product) = part[..op.part_len()].split_at_mut(op.part_len() / 2);
    cpu.pool.zip_chunks_mut(gradient, LANES, product, LANES, |block, gradient, product| {
        gradient.fill(0.0);
        product.fill(0.0);
        for planes in sums[block * 2..].chunks(2 * blocks) {
            for lane in 0..LANES {
                gradient[lane] += planes[0][lane];
                product[lane] += planes[1][lane];
            }
        }
    });
}

pub(in crate::batch_norm) fn finish(cpu: &Cpu, op: &BatchNorm, call: Backward, total: Total) -> Result<()> {
    let grads = Saved::new(op, call.saved)?.total_gradients(op, total);
    finish_with(cpu, op, call, Some((total.n, &grads)))
}
