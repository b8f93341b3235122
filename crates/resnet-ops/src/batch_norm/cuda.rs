//! Batch normalisation on a GPU.

use super::{Backward, BatchNorm, ForwardEval, ForwardTrain, Moments, Statistics, UpdateRunning, Updating};
use crate::cuda::sums::Slices;
use crate::cuda::{arguments, padded, Address, Argument, Cuda, OCTET, THREADS};
use crate::{Buffer, DType, Result, View, ViewMut};

pub(crate) mod joint;

/// Threads of a block that folds a channel.
const FOLD_THREADS: usize = 256;
/// Norms that the arguments of a launch have room for, and words that tell of one, as in batch_norm.cu.
const MOST_UPDATED: usize = 80;
const UPDATED_WORDS: usize = 6;

/// The moments of a map, and the batch's statistics.
pub(super) fn moments(cuda: &Cuda, n: usize, x: &Buffer, moments: Moments) -> Result<()> {
    moments_of(cuda, n, cuda.real(x, len(moments.op, n))?, moments)
}

/// The same of a map at an address.
pub(crate) fn moments_of(cuda: &Cuda, n: usize, x: Address, Moments { op, sums: _, saved }: Moments) -> Result<()> {
    let (pixels, saved) = (n * op.size[0] * op.size[1], saved_address(cuda, op, saved)?);
    let slices = Slices::new(cuda, pixels, op.channels);
    let ([octets, per_block, per_slice], [sums, arrived]) = (slices.sizes(), slices.memory(cuda, 2)?);
    let (channels, part) = (op.channels as i32, (op.saved_len() / 3) as i32);
    let arguments =
        arguments![pixels as i64, octets, channels, per_block, per_slice, part, op.eps, x, sums, saved, arrived];
    let (blocks, threads) = slices.blocks();
    // SAFETY: x has so many pixels, there are three statistics for each lane, and room for what the slices sum and count.
    unsafe { cuda.launch_blocks("norm_moments", blocks, threads, arguments) }
}

fn saved_address(cuda: &Cuda, op: &BatchNorm, saved: &Buffer) -> Result<Address> {
    cuda.address(saved, DType::F32, op.saved_len())
}

pub(super) fn forward_train(cuda: &Cuda, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, shortcut, params, moments: _, saved, y } = call;
    apply(cuda, op, n, x, shortcut, params, statistics(cuda, op, saved)?, false, y)
}

pub(super) fn save_running(cuda: &Cuda, op: &BatchNorm, running: View, saved: &mut Buffer) -> Result<()> {
    let (channels, part) = (op.channels as i32, op.saved_len() / 3);
    let running = running.device_address(2 * op.channels)?;
    let saved = saved_address(cuda, op, saved)?;
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
    let mean = saved_address(cuda, op, saved)?;
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
    unsafe { cuda.launch_octets("norm_apply", len / OCTET, op.channels, arguments) }
}

pub(crate) fn backward(cuda: &Cuda, op: &BatchNorm, call: Backward) -> Result<()> {
    sum(cuda, op, &call)?;
    let (grads, count) = (call.grads.device_address(2 * op.channels)?, call.n * op.size[0] * op.size[1]);
    give(cuda, op, call, grads, count)
}

/// The gradients of the parameters. What a ReLU stopped, of which the output tells, is taken out of dy.
fn sum(cuda: &Cuda, op: &BatchNorm, call: &Backward) -> Result<()> {
    let (len, pixels) = (len(op, call.n), call.n * op.size[0] * op.size[1]);
    let [x, dy, y] = maps(cuda, call, len)?;
    let params = call.params.device_address(2 * op.channels)?;
    let [mean, inverse] = statistics(cuda, op, call.saved)?;
    let (grads, channels) = (call.grads.device_address(2 * op.channels)?, op.channels as i32);
    let slices = Slices::new(cuda, pixels, op.channels);
    let ([octets, per_block, per_slice], [sums, arrived]) = (slices.sizes(), slices.memory(cuda, 2)?);
    let arguments = arguments![
        pixels as i64,
        octets,
        channels,
        per_block,
        per_slice,
        x,
        y,
        dy,
        params,
        mean,
        inverse,
        op.relu,
        sums,
        grads,
        arrived
    ];
    let (blocks, threads) = slices.blocks();
    // SAFETY: the maps have so many pixels, parameters and statistics are there for each channel, two gradients too, and room for what the
    // slices sum and count.
    unsafe { cuda.launch_blocks("norm_backward_sums", blocks, threads, arguments) }
}

/// The gradient of x, after [`sum`], by the parameters' gradients of a batch with so many values of a channel.
fn give(cuda: &Cuda, op: &BatchNorm, call: Backward, grads: Address, count: usize) -> Result<()> {
    let len = len(op, call.n);
    let [x, dy, y] = maps(cuda, &call, len)?;
    let Backward { params, saved, dx, statistics: whose, .. } = call;
    let params = params.device_address(2 * op.channels)?;
    let dx = dx.map_or(Ok(dy), |dx| cuda.real(dx, len))?;
    let [mean, inverse] = statistics(cuda, op, saved)?;
    let (total, channels) = ((len / OCTET) as i64, op.channels as i32);
    let (constant, masks) = (whose == Statistics::Running, op.relu && y == Address::NULL);
    let arguments = arguments![total, channels, count as f32, x, dy, params, mean, inverse, grads, constant, masks, dx];
    // SAFETY: the maps have so many octets, and parameters, statistics and two gradients are there for each channel.
    unsafe { cuda.launch_octets("norm_backward", len / OCTET, op.channels, arguments) }
}

/// x, dy and, if a shortcut was added, y.
fn maps(cuda: &Cuda, call: &Backward, len: usize) -> Result<[Address; 3]> {
    let y = call.y.map_or(Ok(Address::NULL), |y| cuda.real(y, len))?;
    Ok([cuda.real(call.x, len)?, cuda.real(call.dy, len)?, y])
}

pub(super) fn update_running(cuda: &Cuda, op: &BatchNorm, call: UpdateRunning) -> Result<()> {
    let UpdateRunning { n, saved, elided_bias, running, non_finite } = call;
    let running = running.device_address(2 * op.channels)?;
    update(cuda, n, &[(op, saved, elided_bias, running)], non_finite)
}

pub(super) fn update_together(
    cuda: &Cuda,
    n: usize,
    every: &[Updating],
    running: &Buffer,
    non_finite: &Buffer,
) -> Result<()> {
    let every = every.iter().map(|Updating { op, saved, elided_bias, running: place }| {
        let running = running.view(place.clone()).device_address(2 * op.channels)?;
        Ok((*op, *saved, elided_bias.clone(), running))
    });
    update(cuda, n, &every.collect::<Result<Vec<_>>>()?, non_finite)
}

/// Updates the running statistics at these addresses, of as many norms at a time as a launch takes.
fn update(
    cuda: &Cuda,
    n: usize,
    every: &[(&BatchNorm, &Buffer, Option<View>, Address)],
    non_finite: &Buffer,
) -> Result<()> {
    let non_finite = cuda.address(non_finite, DType::F32, 1)?;
    for every in every.chunks(MOST_UPDATED) {
        let mut blocks = 0;
        let mut arguments = vec![Argument::from(every.len() as i32), Argument::from(non_finite)];
        for (op, saved, elided_bias, running) in every {
            let elided_bias =
                elided_bias.as_ref().map_or(Ok(Address::NULL), |bias| bias.device_address(op.channels))?;
            let addresses = [saved_address(cuda, op, saved)?, elided_bias, *running];
            arguments.extend(addresses.map(Argument::from));
            arguments.push(((n * op.size[0] * op.size[1]) as f64).into());
            arguments.push(Argument::pair(blocks as i32, op.channels as i32));
            arguments.push(Argument::pair((op.saved_len() / 3) as i32, (op.momentum as f32).to_bits() as i32));
            blocks += op.channels.div_ceil(THREADS);
        }
        // A launch reads as many as the kernel has room for.
        arguments.resize_with(2 + MOST_UPDATED * UPDATED_WORDS, || Argument(0));
        // SAFETY: statistics are there for each channel of each norm.
        unsafe { cuda.launch_blocks("norm_update", blocks, THREADS, &mut arguments)? };
    }
    Ok(())
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
    unsafe { cuda.launch_blocks("norm_fold", op.channels, FOLD_THREADS, arguments) }
}

/// Elements of a map.
fn len(op: &BatchNorm, n: usize) -> usize {
    n * op.size[0] * op.size[1] * padded(op.channels)
}
