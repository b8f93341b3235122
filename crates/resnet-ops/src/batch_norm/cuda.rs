//! Batch normalisation on a GPU.

use super::{Backward, BatchNorm, ForwardEval, ForwardTrain, Statistics, UpdateRunning};
use crate::cuda::{arguments, padded, Address, Cuda, OCTET, PIXEL_THREADS};
use crate::{Buffer, DType, Result, View, ViewMut};

/// Most octets that a block sums side by side.
const MOST_SUMMED: usize = 8;
/// Threads of a block that adds up what the images' blocks have summed.
const SUM_THREADS: usize = 32 * OCTET;

pub(super) fn moments(cuda: &Cuda, op: &BatchNorm, n: usize, x: &Buffer, moments: &mut Buffer) -> Result<()> {
    moments_of(cuda, op.channels, op.size, n, cuda.real(x, len(op, n))?, moments)
}

/// The moments of a map at an address.
pub(crate) fn moments_of(
    cuda: &Cuda,
    channels: usize,
    size: [usize; 2],
    n: usize,
    x: Address,
    moments: &mut Buffer,
) -> Result<()> {
    let (octets, pixels) = (padded(channels) / OCTET, size[0] * size[1]);
    let moments = cuda.address(moments, DType::F64, 2 * n * padded(channels))?;
    let (blocks, threads, per_block) = sum_blocks(octets, n);
    let arguments = arguments![pixels as i32, octets as i32, per_block as i32, x, moments];
    // SAFETY: x has `n` images of so many pixels, and there are two moments for each lane of each.
    unsafe { cuda.launch_blocks("norm_moments", blocks, threads, arguments) }
}

/// Blocks, threads of a block and octets side by side in it, for sums over each image's pixels.
fn sum_blocks(octets: usize, n: usize) -> (usize, usize, usize) {
    let per_block = octets.min(MOST_SUMMED);
    (n * octets.div_ceil(per_block), PIXEL_THREADS / per_block * per_block, per_block)
}

/// Makes the statistics of a batch of its moments and saves them.
pub(crate) fn finish_moments(
    cuda: &Cuda,
    op: &BatchNorm,
    n: usize,
    moments: &Buffer,
    saved: &mut Buffer,
) -> Result<()> {
    let lanes = padded(op.channels);
    let moments = cuda.address(moments, DType::F64, 2 * n * lanes)?;
    let saved = cuda.address(saved, DType::F32, op.saved_len())?;
    let (pixels, part) = (op.size[0] * op.size[1], op.saved_len() / 3);
    let arguments = arguments![n as i32, pixels as i32, op.channels as i32, part as i32, op.eps, moments, saved];
    // SAFETY: there are two moments for each lane of each image, and three statistics for each lane.
    unsafe { cuda.launch_blocks("norm_statistics", lanes / OCTET, SUM_THREADS, arguments) }
}

pub(super) fn forward_train(cuda: &Cuda, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, shortcut, params, moments, saved, y } = call;
    finish_moments(cuda, op, n, moments, saved)?;
    let [mean, inverse] = statistics(cuda, op, saved)?;
    apply(cuda, op, n, x, shortcut, params, [mean, inverse], false, y)
}

pub(super) fn save_running(cuda: &Cuda, op: &BatchNorm, running: View, saved: &mut Buffer) -> Result<()> {
    let (channels, part) = (op.channels as i32, op.saved_len() / 3);
    let running = running.device_address(2 * op.channels)?;
    let saved = cuda.address(saved, DType::F32, op.saved_len())?;
    let arguments = arguments![channels, part as i32, op.eps as f32, running, saved];
    // SAFETY: there are two running statistics for each channel, and three parts to write.
    unsafe { cuda.launch("norm_save_running", part, arguments) }
}

pub(super) fn forward_eval(cuda: &Cuda, op: &BatchNorm, call: ForwardEval) -> Result<()> {
    let ForwardEval { n, x, shortcut, params, running, y } = call;
    let mean = running.device_address(2 * op.channels)?;
    apply(cuda, op, n, x, shortcut, params, [mean, mean.plus_f32(op.channels)], true, y)
}

/// Mean and inverse deviation.
pub(crate) fn statistics(cuda: &Cuda, op: &BatchNorm, saved: &Buffer) -> Result<[Address; 2]> {
    let mean = cuda.address(saved, DType::F32, op.saved_len())?;
    Ok([mean, mean.plus_f32(op.saved_len() / 3 * 2)])
}

/// With `invert`, the second statistic is the variance, else the inverse deviation.
fn apply(
    cuda: &Cuda,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    shortcut: Option<&Buffer>,
    params: View,
    [mean, statistics]: [Address; 2],
    invert: bool,
    y: &mut Buffer,
) -> Result<()> {
    let (len, params) = (len(op, n), params.device_address(2 * op.channels)?);
    let (x, y) = (cuda.real(x, len)?, cuda.real(y, len)?);
    let shortcut = shortcut.map_or(Ok(Address::NULL), |shortcut| cuda.real(shortcut, len))?;
    let (total, channels, eps) = ((len / OCTET) as i64, op.channels as i32, op.eps as f32);
    let arguments = arguments![total, channels, x, shortcut, params, mean, statistics, invert, eps, op.relu, y];
    // SAFETY: the maps have so many octets, and parameters and statistics are there for each channel.
    unsafe { cuda.launch("norm_apply", len / OCTET, arguments) }
}

pub(crate) fn backward(cuda: &Cuda, op: &BatchNorm, call: Backward) -> Result<()> {
    let Backward { n, x, y, params, saved, sums, dy, dx, grads, statistics: whose } = call;
    let (len, octets, pixels) = (len(op, n), padded(op.channels) / OCTET, op.size[0] * op.size[1]);
    let (x, dy, params) = (cuda.real(x, len)?, cuda.real(dy, len)?, params.device_address(2 * op.channels)?);
    let y = y.map_or(Ok(Address::NULL), |y| cuda.real(y, len))?;
    let dx = dx.map_or(Ok(dy), |dx| cuda.real(dx, len))?;
    let [mean, inverse] = statistics(cuda, op, saved)?;
    let partial = cuda.address(sums, DType::F64, 2 * n * octets * OCTET)?;
    let (grads, channels) = (grads.device_address(2 * op.channels)?, op.channels as i32);
    let (blocks, threads, per_block) = sum_blocks(octets, n);
    let sizes = [pixels as i32, octets as i32, channels, per_block as i32];
    let [pixels_, octets_, channels_, per_block_] = sizes;
    let arguments =
        arguments![pixels_, octets_, channels_, per_block_, x, y, dy, params, mean, inverse, op.relu, partial];
    // SAFETY: the maps have `n` images of so many pixels, parameters, statistics and sums are there for each channel.
    unsafe { cuda.launch_blocks("norm_backward_sums", blocks, threads, arguments)? };
    // SAFETY: likewise, and there are two gradients for each channel.
    unsafe {
        cuda.launch_blocks("norm_gradients", octets, SUM_THREADS, arguments![n as i32, channels, partial, grads])?
    };
    let (total, count) = ((len / OCTET) as i64, (n * pixels) as f32);
    let (constant, masks) = (whose == Statistics::Running, op.relu && y == Address::NULL);
    let arguments = arguments![total, channels, count, x, dy, params, mean, inverse, grads, constant, masks, dx];
    // SAFETY: likewise.
    unsafe { cuda.launch("norm_backward", len / OCTET, arguments) }
}

pub(super) fn update_running(cuda: &Cuda, op: &BatchNorm, call: UpdateRunning) -> Result<()> {
    let UpdateRunning { n, saved, elided_bias, running, non_finite } = call;
    let saved = cuda.address(saved, DType::F32, op.saved_len())?;
    let elided_bias = elided_bias.map_or(Ok(Address::NULL), |bias| bias.device_address(op.channels))?;
    let (running, count) = (running.device_address(2 * op.channels)?, (n * op.size[0] * op.size[1]) as f64);
    let (channels, part) = (op.channels as i32, (op.saved_len() / 3) as i32);
    let (momentum, non_finite) = (op.momentum as f32, cuda.address(non_finite, DType::F32, 1)?);
    let arguments = arguments![channels, part, count, momentum, saved, elided_bias, running, non_finite];
    // SAFETY: statistics are there for each channel.
    unsafe { cuda.launch("norm_update", op.channels, arguments) }
}

pub(super) fn fold(cuda: &Cuda, op: &BatchNorm, conv: View, norm: View, running: View, folded: ViewMut) -> Result<()> {
    let weights = folded.len() - op.channels;
    let bias = match conv.len() > weights {
        true => conv.device_address(weights + op.channels)?.plus_f32(weights),
        false => Address::NULL,
    };
    let (conv, norm) = (conv.device_address(weights)?, norm.device_address(2 * op.channels)?);
    let (running, folded) = (running.device_address(2 * op.channels)?, folded.device_address(weights + op.channels)?);
    let (channels, fan_in) = (op.channels as i32, (weights / op.channels) as i32);
    let arguments = arguments![channels, fan_in, op.eps, conv, bias, norm, running, folded];
    // SAFETY: there are so many weights, and biases, parameters and statistics for each channel.
    unsafe { cuda.launch_blocks("norm_fold", op.channels, SUM_THREADS, arguments) }
}

/// Elements of a map.
fn len(op: &BatchNorm, n: usize) -> usize {
    n * op.size[0] * op.size[1] * padded(op.channels)
}
