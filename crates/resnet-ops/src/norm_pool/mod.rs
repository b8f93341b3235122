//! Batch normalisation in training, with or without ReLU, and max-pooling of what it gives, without the map between them: as
//! in the stem of a residual network, where that map is the largest of all.

use crate::batch_norm::BatchNorm;
use crate::executor::by_backend;
use crate::max_pool2d::MaxPool2d;
use crate::{Buffer, Executor, Result, View, ViewMut};

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A batch norm and the max-pooling behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct NormPool {
    /// The batch norm.
    pub norm: BatchNorm,
    /// The max-pooling, of a map of the norm's size.
    pub pool: MaxPool2d,
}

/// Normalises with the batch's own statistics, which it saves, and pools. `moments` and `saved` are those of
/// [`crate::batch_norm::forward_train`], `argmax` that of [`crate::max_pool2d::forward`].
pub fn forward_train(
    executor: &Executor,
    op: &NormPool,
    n: usize,
    x: &Buffer,
    params: View,
    moments: &Buffer,
    saved: &mut Buffer,
    y: &mut Buffer,
    argmax: &mut Buffer,
) -> Result<()> {
    by_backend!(executor, forward_train(op, n, x, params, moments, saved, y, argmax))
}

/// The gradients of [`forward_train`]: of the norm's parameters, and of x.
pub fn backward(
    executor: &Executor,
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
    by_backend!(executor, backward(op, n, x, params, saved, argmax, scratch, dy, dx, grads))
}
