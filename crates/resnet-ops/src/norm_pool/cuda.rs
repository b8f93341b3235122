//! Batch norm and max-pooling on a GPU.

use super::{Backward, ForwardTrain, NormPool};
use crate::batch_norm::cuda::{self as norm, statistics};
use crate::batch_norm::{self, Statistics, Total};
use crate::cuda::{arguments, Cuda, OCTET};
use crate::max_pool2d::cuda::{backward as pool_backward, lengths, sizes};
use crate::{DType, GradientTarget, Result};

pub(super) fn forward_train(cuda: &Cuda, op: &NormPool, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, params, moments: _, saved, y, argmax } = call;
    let [mean, inverse] = statistics(cuda, &op.norm, saved)?;
    let [input, output] = lengths(&op.pool, n);
    let (x, y, argmax) = (cuda.real(x, input)?, cuda.real(y, output)?, cuda.address(argmax, DType::U8, output)?);
    let params = params.device_address(2 * op.norm.channels)?;
    let [octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw] = sizes(&op.pool);
    let (total, channels, relu) = ((output / OCTET) as i64, op.norm.channels as i32, op.norm.relu);
    let arguments = arguments![
        total, octets, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, channels, x, params, mean, inverse, relu, y, argmax
    ];
    // SAFETY: the buffers have the elements of `n` inputs and outputs, and what the norm needs is there for each channel.
    unsafe { cuda.launch_octets("norm_pool_forward", output / OCTET, op.norm.channels, arguments) }
}

pub(super) fn backward(cuda: &Cuda, op: &NormPool, mut call: Backward) -> Result<()> {
    unpool(cuda, op, &mut call)?;
    norm::backward(cuda, &op.norm, of_norm(&mut call))
}

/// Leaves the gradient of the norm's output where that of x goes.
fn unpool(cuda: &Cuda, op: &NormPool, call: &mut Backward) -> Result<()> {
    let target = GradientTarget { buffer: call.dx, accumulate: false };
    pool_backward(cuda, &op.pool, call.n, call.dy, call.argmax, target)
}

/// What the norm has to do then.
fn of_norm<'a>(call: &'a mut Backward) -> batch_norm::Backward<'a> {
    let Backward { n, x, params, saved, sums, dx, grads, .. } = call;
    let (params, grads) = (params.clone(), grads.reborrow());
    let statistics = Statistics::Batch;
    batch_norm::Backward { n: *n, x, y: None, params, saved, sums, dy: dx, dx: None, grads, statistics }
}

pub(super) fn normalise(cuda: &Cuda, op: &NormPool, call: ForwardTrain) -> Result<()> {
    forward_train(cuda, op, call)
}

pub(super) fn sums_part(cuda: &Cuda, op: &NormPool, call: &mut Backward, part: &mut [f64]) -> Result<()> {
    unpool(cuda, op, call)?;
    norm::joint::sums_part(cuda, &op.norm, &mut of_norm(call), false, part)
}

pub(super) fn finish(cuda: &Cuda, op: &NormPool, mut call: Backward, total: Total) -> Result<()> {
    norm::joint::finish(cuda, &op.norm, of_norm(&mut call), total)
}
