use super::{Backward, ForwardTrain, NormPool};
use crate::batch_norm::{self, Statistics};
use crate::element::Real;
use crate::{max_pool2d, Buffer, Executor, GradientTarget, Result};

pub(super) fn forward_train<T: Real>(op: &NormPool, call: ForwardTrain) -> Result<()> {
    let ForwardTrain { n, x, params, moments, saved, y, argmax } = call;
    let executor = executor::<T>();
    let mut normalised = Buffer::zeros(T::DTYPE, x.len())?;
    let call = batch_norm::ForwardTrain { n, x, shortcut: None, params, moments, saved, y: &mut normalised };
    batch_norm::forward_train(&executor, &op.norm, call)?;
    max_pool2d::forward(&executor, &op.pool, max_pool2d::Forward { n, x: &normalised, y, argmax: Some(argmax) })
}

pub(super) fn backward<T: Real>(op: &NormPool, call: Backward) -> Result<()> {
    let Backward { n, x, params, saved, argmax, sums, dy, dx, grads } = call;
    let executor = executor::<T>();
    max_pool2d::backward(&executor, &op.pool, n, dy, argmax, GradientTarget { buffer: dx, accumulate: false })?;
    let statistics = Statistics::Batch;
    let call = batch_norm::Backward { n, x, y: None, params, saved, sums, dy: dx, dx: None, grads, statistics };
    batch_norm::backward(&executor, &op.norm, call)
}

fn executor<T: Real>() -> Executor {
    if T::DTYPE == crate::DType::F64 {
        Executor::ReferenceF64
    } else {
        Executor::ReferenceF32
    }
}
