//! A weighted sum of gradients in place: target = keep·target + weight·source.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};
use candle_core::bail;

/// Sums all elements of two buffers of one length, in the executor's parameter type. With `keep` 0 what the target holds is not read.
///
/// # Errors
/// If the buffers differ in length, are of another type or on another device; if the device fails.
pub fn accumulate(executor: &Executor, target: &mut Buffer, keep: f64, source: &Buffer, weight: f64) -> Result<()> {
    if target.len() != source.len() {
        bail!("a sum of {} and {} elements", target.len(), source.len());
    }
    by_backend!(executor, accumulate(target, keep, source, weight))
}

/// The plain definition.
mod reference {
    use crate::element::Real;
    use crate::{Buffer, Result};

    pub(super) fn accumulate<T: Real>(target: &mut Buffer, keep: f64, source: &Buffer, weight: f64) -> Result<()> {
        for (to, &from) in target.slice_mut::<T>()?.iter_mut().zip(source.slice::<T>()?) {
            let kept = if keep == 0.0 { T::zero() } else { T::of(keep) * *to };
            *to = kept + T::of(weight) * from;
        }
        Ok(())
    }
}

/// Sixteen thousand elements to a task.
mod cpu {
    use crate::simd::kernel;
    use crate::{Buffer, Cpu, Result};

    const CHUNK: usize = 16 * 1024;

    pub(super) fn accumulate(cpu: &Cpu, target: &mut Buffer, keep: f64, source: &Buffer, weight: f64) -> Result<()> {
        let (keep, weight) = (keep as f32, weight as f32);
        let (target, source) = (target.slice_mut::<f32>()?, source.slice::<f32>()?);
        cpu.pool.chunks_mut(target, CHUNK, |chunk, target| {
            let source = &source[chunk * CHUNK..][..target.len()];
            match keep {
                0.0 => scale(cpu.isa, target, source, weight),
                _ => add(cpu.isa, target, keep, source, weight),
            }
        });
        Ok(())
    }

    kernel! {
        fn scale<S>(target: &mut [f32], source: &[f32], weight: f32) {
            for (to, &from) in target.iter_mut().zip(source) {
                *to = weight * from;
            }
        }
    }

    kernel! {
        fn add<S>(target: &mut [f32], keep: f32, source: &[f32], weight: f32) {
            for (to, &from) in target.iter_mut().zip(source) {
                *to = keep * *to + weight * from;
            }
        }
    }
}

/// An element to a thread.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use crate::cuda::{arguments, Cuda};
    use crate::{Buffer, DType, Result};

    pub(super) fn accumulate(cuda: &Cuda, target: &mut Buffer, keep: f64, source: &Buffer, weight: f64) -> Result<()> {
        let len = source.len();
        let (source, target) = (cuda.address(source, DType::F32, len)?, cuda.address(target, DType::F32, len)?);
        // SAFETY: both have `len` elements.
        unsafe { cuda.launch("accumulate", len, arguments![len as i64, keep as f32, weight as f32, source, target]) }
    }
}
