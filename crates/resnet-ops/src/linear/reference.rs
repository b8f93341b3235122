use super::Linear;
use crate::element::Real;
use crate::{Buffer, GradientTarget, Result, View, ViewMut};

pub(super) fn forward<T: Real>(op: &Linear, n: usize, x: &Buffer, params: View, y: &mut Buffer) -> Result<()> {
    let (weights, bias) = params.slice::<T>()?.split_at(op.out_features * op.in_features);
    let (x, y) = (x.slice::<T>()?, y.slice_mut::<T>()?);
    for (x, y) in x.chunks_exact(op.in_features).zip(y.chunks_exact_mut(op.out_features)).take(n) {
        for (out, weights) in weights.chunks_exact(op.in_features).enumerate() {
            let product: T = x.iter().zip(weights).map(|(&x, &w)| x * w).sum();
            y[out] = if op.bias { product + bias[out] } else { product };
        }
    }
    Ok(())
}

pub(super) fn input_gradient<T: Real>(
    op: &Linear,
    n: usize,
    dy: &Buffer,
    params: View,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let weights = &params.slice::<T>()?[..op.out_features * op.in_features];
    let (dy, dx) = (dy.slice::<T>()?, dx.slice_mut::<T>()?);
    for (dy, dx) in dy.chunks_exact(op.out_features).zip(dx.chunks_exact_mut(op.in_features)).take(n) {
        if !accumulate {
            dx.fill(T::zero());
        }
        for (&dy, weights) in dy.iter().zip(weights.chunks_exact(op.in_features)) {
            dx.iter_mut().zip(weights).for_each(|(dx, &w)| *dx += dy * w);
        }
    }
    Ok(())
}

pub(super) fn weight_gradient<T: Real>(op: &Linear, n: usize, x: &Buffer, dy: &Buffer, grads: ViewMut) -> Result<()> {
    let (dw, dbias) = grads.into_slice::<T>()?.split_at_mut(op.out_features * op.in_features);
    let (x, dy) = (x.slice::<T>()?, dy.slice::<T>()?);
    dw.fill(T::zero());
    dbias.fill(T::zero());
    for (x, dy) in x.chunks_exact(op.in_features).zip(dy.chunks_exact(op.out_features)).take(n) {
        for (&dy, dw) in dy.iter().zip(dw.chunks_exact_mut(op.in_features)) {
            dw.iter_mut().zip(x).for_each(|(dw, &x)| *dw += dy * x);
        }
        dbias.iter_mut().zip(dy).for_each(|(dbias, &dy)| *dbias += dy);
    }
    Ok(())
}
