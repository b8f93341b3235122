use super::NormPool;
use crate::executor::Real;
use crate::{batch_norm, max_pool2d, Buffer, Executor, Result, View, ViewMut};

pub(super) fn forward_train<T: Real>(
    op: &NormPool,
    n: usize,
    x: &Buffer,
    params: View,
    moments: &Buffer,
    saved: &mut Buffer,
    y: &mut Buffer,
    argmax: &mut Buffer,
) -> Result<()> {
    let executor = executor::<T>();
    let mut normalised = Buffer::zeros(T::DTYPE, x.len())?;
    batch_norm::forward_train(&executor, &op.norm, n, x, None, params, moments, saved, &mut normalised)?;
    max_pool2d::forward(&executor, &op.pool, n, &normalised, y, argmax)
}

pub(super) fn backward<T: Real>(
    op: &NormPool,
    n: usize,
    x: &Buffer,
    params: View,
    saved: &Buffer,
    argmax: &Buffer,
    scratch: &mut Buffer,
    dy: &Buffer,
    dx: &mut Buffer,
    grads: ViewMut,
) -> Result<()> {
    let executor = executor::<T>();
    max_pool2d::backward(&executor, &op.pool, n, dy, argmax, dx, false)?;
    batch_norm::backward(&executor, &op.norm, n, x, params, saved, scratch, dx, None, grads)
}

fn executor<T: Real>() -> Executor {
    match T::DTYPE {
        crate::DType::F64 => Executor::ReferenceF64,
        _ => Executor::ReferenceF32,
    }
}
