//! The sum of the squares of a part of flat storage, from which its norm follows: √Σx².

use crate::executor::by_backend;
use crate::{Cpu, Executor, Result, View};

/// Elements whose squares are added up before those of others join: a fixed number, so that the sum does not depend on threads.
const BLOCK: usize = 16 * 1024;

/// Σx², in f64. It waits for a GPU.
///
/// # Errors
/// If the buffer is of another type, too short or on another device; if the device fails.
pub fn sum_of_squares(executor: &Executor, values: &View) -> Result<f64> {
    by_backend!(executor, sum_of_squares(values))
}

/// The same of a slice.
pub(crate) fn sum_on_cpu(cpu: &Cpu, values: &[f32]) -> f64 {
    cpu::sum_of_slice(cpu, values)
}

/// The same on a GPU.
#[cfg(feature = "cuda-kernels")]
pub(crate) fn sum_on_gpu(cuda: &crate::cuda::Cuda, values: &View) -> Result<f64> {
    cuda::sum_of_squares(cuda, values)
}

/// The plain definition.
mod reference {
    use crate::element::Real;
    use crate::{Result, View};

    pub(super) fn sum_of_squares<T: Real>(values: &View) -> Result<f64> {
        let square = |&value: &T| {
            let value: f64 = value.into();
            value * value
        };
        Ok(values.slice::<T>()?.iter().map(square).sum())
    }
}

/// A block to a task, in sixteen sums.
mod cpu {
    use super::BLOCK;
    use crate::simd::{kernel, LANES};
    use crate::{Cpu, Result, View};

    /// Blocks whose sums are kept at a time.
    const GROUP: usize = 256;

    pub(super) fn sum_of_squares(cpu: &Cpu, values: &View) -> Result<f64> {
        Ok(sum_of_slice(cpu, values.slice()?))
    }

    pub(super) fn sum_of_slice(cpu: &Cpu, values: &[f32]) -> f64 {
        let mut total = 0.0;
        for group in values.chunks(GROUP * BLOCK) {
            let mut sums = [0f64; GROUP];
            let blocks = group.len().div_ceil(BLOCK);
            cpu.pool.chunks_mut(&mut sums[..blocks], 1, |block, sum| {
                let start = block * BLOCK;
                sum[0] = squares_of(cpu.isa, &group[start..(start + BLOCK).min(group.len())]);
            });
            total += sums[..blocks].iter().sum::<f64>();
        }
        total
    }

    kernel! {
        fn squares_of<S>(values: &[f32]) -> f64 {
            let mut sums = [0f64; LANES];
            let (lanes, rest) = values.as_chunks::<LANES>();
            for lanes in lanes {
                for (sum, &value) in sums.iter_mut().zip(lanes) {
                    *sum += f64::from(value) * f64::from(value);
                }
            }
            let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
            sums.iter().sum::<f64>() + rest
        }
    }
}

/// A block to a block of threads; their sums are added up on the host.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use super::BLOCK;
    use crate::cuda::{arguments, Cuda};
    use crate::{DType, Result, View};

    /// Threads of a block, as in the kernel.
    const THREADS: usize = 256;

    pub(super) fn sum_of_squares(cuda: &Cuda, values: &View) -> Result<f64> {
        let (len, blocks) = (values.len(), values.len().div_ceil(BLOCK));
        let sums = cuda.zeros(DType::F64, blocks)?;
        let (values, target) = (values.device_address(len)?, cuda.address(&sums, DType::F64, blocks)?);
        // SAFETY: there are `len` values, and a sum for each block.
        unsafe {
            cuda.launch_blocks("sum_of_squares", blocks, THREADS, arguments![len as i64, BLOCK as i64, values, target])?
        };
        Ok(sums.read::<f64>(0..blocks)?.into_iter().sum())
    }
}
