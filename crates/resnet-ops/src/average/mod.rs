//! A moving average in place: target = target + weight·(source − target). What is its source keeps its value to the bit, and weights near 0
//! are not lost in a rounded 1 − weight.

use crate::executor::by_backend;
use crate::{Executor, Result, View, ViewMut};
use candle_core::bail;

/// Moves all elements of a part of flat storage towards those of another part of its length, in the executor's parameter type.
///
/// # Errors
/// If the parts differ in length, are of another type or on another device; if the device fails.
pub fn average(executor: &Executor, target: ViewMut, source: &View, weight: f64) -> Result<()> {
    if target.len() != source.len() {
        bail!("an average of {} and {} elements", target.len(), source.len());
    }
    by_backend!(executor, average(target, source, weight))
}

/// The plain definition.
mod reference {
    use crate::element::Real;
    use crate::{Result, View, ViewMut};

    pub(super) fn average<T: Real>(target: ViewMut, source: &View, weight: f64) -> Result<()> {
        for (to, &from) in target.into_slice::<T>()?.iter_mut().zip(source.slice::<T>()?) {
            *to = *to + T::of(weight) * (from - *to);
        }
        Ok(())
    }
}

/// Sixteen thousand elements to a task.
mod cpu {
    use crate::simd::kernel;
    use crate::{Cpu, Result, View, ViewMut};

    const CHUNK: usize = 16 * 1024;

    pub(super) fn average(cpu: &Cpu, target: ViewMut, source: &View, weight: f64) -> Result<()> {
        let (target, source) = (target.into_slice::<f32>()?, source.slice::<f32>()?);
        cpu.pool.chunks_mut(target, CHUNK, |chunk, target| {
            let source = &source[chunk * CHUNK..][..target.len()];
            towards(cpu.isa, target, source, weight as f32);
        });
        Ok(())
    }

    kernel! {
        fn towards<S>(target: &mut [f32], source: &[f32], weight: f32) {
            for (to, &from) in target.iter_mut().zip(source) {
                *to += weight * (from - *to);
            }
        }
    }
}

/// An element to a thread.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use crate::cuda::{arguments, Cuda};
    use crate::{Result, View, ViewMut};

    pub(super) fn average(cuda: &Cuda, target: ViewMut, source: &View, weight: f64) -> Result<()> {
        let len = source.len();
        let (source, target) = (source.device_address(len)?, target.device_address(len)?);
        // SAFETY: both have `len` elements.
        unsafe { cuda.launch("average", len, arguments![len as i64, weight as f32, source, target]) }
    }
}
