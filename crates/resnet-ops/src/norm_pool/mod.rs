//! Batch normalisation in training, with or without ReLU, and max-pooling of what it gives, without the map between them: as
//! in the stem of a residual network, where that map is the largest of all.

use crate::batch_norm::{BatchNorm, Total};
use crate::executor::by_backend;
use crate::max_pool2d::MaxPool2d;
use crate::{Buffer, Executor, Result, View, ViewMut};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A batch norm and the max-pooling of its output.
#[derive(Clone, Debug, PartialEq)]
pub struct NormPool {
    /// The batch norm.
    pub norm: BatchNorm,
    /// The max-pooling, of a map of the norm's size.
    pub pool: MaxPool2d,
}

impl NormPool {
    fn check(&self) -> Result<()> {
        let Self { norm, pool } = self;
        if (norm.channels, norm.size) != (pool.channels, pool.input) {
            bail!("batch norm and max-pooling: {pool:?} is not of a map that {norm:?} makes");
        }
        Ok(())
    }
}

/// The arguments of [`forward_train`].
pub struct ForwardTrain<'a> {
    /// Images.
    pub n: usize,
    /// Input activation.
    pub x: &'a Buffer,
    /// γ, then β.
    pub params: View<'a>,
    /// The moments of x, [`BatchNorm::sums_len`] f64, as [`crate::batch_norm::moments`] writes them.
    pub moments: &'a Buffer,
    /// Where the batch's statistics go: [`BatchNorm::saved_len`] elements.
    pub saved: &'a mut Buffer,
    /// Output activation, of the pooling's output size.
    pub y: &'a mut Buffer,
    /// Where the places of the maxima go: u8, as long as y, as [`crate::max_pool2d::forward`] writes them.
    pub argmax: &'a mut Buffer,
}

/// The arguments of [`backward`].
pub struct Backward<'a> {
    /// Images.
    pub n: usize,
    /// The forward pass's input.
    pub x: &'a Buffer,
    /// γ, then β.
    pub params: View<'a>,
    /// What the forward pass saved.
    pub saved: &'a Buffer,
    /// The places of the maxima.
    pub argmax: &'a Buffer,
    /// Scratch space for sums: [`BatchNorm::sums_len`] f64.
    pub sums: &'a mut Buffer,
    /// The gradient of the output.
    pub dy: &'a Buffer,
    /// Where the gradient of x goes.
    pub dx: &'a mut Buffer,
    /// Where the gradients of γ, then of β, go.
    pub grads: ViewMut<'a>,
}

/// Normalises with the batch's own statistics, which it saves, and pools.
///
/// # Errors
/// If the pooling is of a map of another size; if a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward_train(executor: &Executor, op: &NormPool, call: ForwardTrain) -> Result<()> {
    op.check()?;
    by_backend!(executor, forward_train(op, call))
}

/// The gradients of [`forward_train`]: of the norm's parameters, and of x.
///
/// # Errors
/// As for [`forward_train`].
pub fn backward(executor: &Executor, op: &NormPool, call: Backward) -> Result<()> {
    op.check()?;
    by_backend!(executor, backward(op, call))
}

/// Calls the form of an executor that fuses the two: of the plain definitions nothing is fused.
macro_rules! fused {
    ($executor:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $executor {
            Executor::Cpu(cpu) => cpu::$function(cpu, $($argument),*),
            Executor::ReferenceF32 | Executor::ReferenceF64 => bail!("norm and pooling: a plain form has no shards"),
            #[cfg(feature = "cuda-kernels")]
            Executor::Cuda(cuda) => cuda::$function(cuda, $($argument),*),
        }
    };
}

/// [`forward_train`] of a shard of a batch, with the statistics that [`crate::batch_norm::joint::save`] has saved.
///
/// # Errors
/// If the backend is a plain definition; as for [`forward_train`].
pub fn normalise(executor: &Executor, op: &NormPool, call: ForwardTrain) -> Result<()> {
    op.check()?;
    fused!(executor, normalise(op, call))
}

/// The first half of a [`backward`] and its part, as [`crate::batch_norm::joint::sums_part`] writes it.
///
/// # Errors
/// As for [`normalise`].
pub fn sums_part(executor: &Executor, op: &NormPool, call: &mut Backward, part: &mut [f64]) -> Result<()> {
    op.check()?;
    fused!(executor, sums_part(op, call, part))
}

/// The second half, as [`crate::batch_norm::joint::finish`].
///
/// # Errors
/// As for [`normalise`].
pub fn finish(executor: &Executor, op: &NormPool, call: Backward, total: Total) -> Result<()> {
    op.check()?;
    fused!(executor, finish(op, call, total))
}
