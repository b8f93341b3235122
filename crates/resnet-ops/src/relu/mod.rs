//! ReLU: y = max(x, 0); its derivative is 1 where x > 0, else 0.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};

/// y = max(x, 0) for the first `len` elements of an activation in any layout. NaN stays NaN.
///
/// # Errors
/// If a buffer is of another type than the executor's or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(executor: &Executor, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(len, x, y))
}

/// `dy` comes in as the gradient of the output `y`, `len` elements each, and goes out as the gradient of the input.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
    by_backend!(executor, backward(len, y, dy))
}

/// The plain definition.
mod reference {
    use crate::element::Real;
    use crate::{Buffer, Result};

    pub(super) fn forward<T: Real>(len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        for (y, &x) in y.slice_mut::<T>()?[..len].iter_mut().zip(&x.slice::<T>()?[..len]) {
            // Written so that a NaN passes.
            *y = if x < T::zero() { T::zero() } else { x };
        }
        Ok(())
    }

    pub(super) fn backward<T: Real>(len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
        for (dy, &y) in dy.slice_mut::<T>()?[..len].iter_mut().zip(&y.slice::<T>()?[..len]) {
            *dy = if y > T::zero() { *dy } else { T::zero() };
        }
        Ok(())
    }
}

/// Sixteen thousand elements to a task.
mod cpu {
    use crate::simd::kernel;
    use crate::{Buffer, Cpu, Result};

    /// Elements that one task works on.
    const CHUNK: usize = 16 * 1024;

    pub(super) fn forward(cpu: &Cpu, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        let x = &x.slice::<f32>()?[..len];
        let y = &mut y.slice_mut::<f32>()?[..len];
        cpu.pool.chunks_mut(y, CHUNK, |chunk, y| rectify(cpu.isa, &x[chunk * CHUNK..], y));
        Ok(())
    }

    pub(super) fn backward(cpu: &Cpu, len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
        let y = &y.slice::<f32>()?[..len];
        let dy = &mut dy.slice_mut::<f32>()?[..len];
        cpu.pool.chunks_mut(dy, CHUNK, |chunk, dy| mask(cpu.isa, &y[chunk * CHUNK..], dy));
        Ok(())
    }

    kernel! {
        fn rectify<S>(x: &[f32], y: &mut [f32]) {
            for (y, &x) in y.iter_mut().zip(x) {
                // Written so that a NaN passes.
                *y = if x <= 0.0 { 0.0 } else { x };
            }
        }
    }

    kernel! {
        fn mask<S>(y: &[f32], dy: &mut [f32]) {
            for (dy, &y) in dy.iter_mut().zip(y) {
                *dy = if y > 0.0 { *dy } else { 0.0 };
            }
        }
    }
}

/// An octet of elements to a thread.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use crate::cuda::{arguments, Cuda, OCTET};
    use crate::{Buffer, Result};

    pub(super) fn forward(cuda: &Cuda, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        let (x, y) = (cuda.real(x, len)?, cuda.real(y, len)?);
        // SAFETY: x and y have `len` elements.
        unsafe { cuda.launch("relu_forward", len.div_ceil(OCTET), arguments![len as i64, x, y]) }
    }

    pub(super) fn backward(cuda: &Cuda, len: usize, y: &Buffer, dy: &mut Buffer) -> Result<()> {
        let (y, dy) = (cuda.real(y, len)?, cuda.real(dy, len)?);
        // SAFETY: y and dy have `len` elements.
        unsafe { cuda.launch("relu_backward", len.div_ceil(OCTET), arguments![len as i64, y, dy]) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{relu, Buffer, Executor, Isa};

    #[test]
    fn keeps_nan_and_masks_the_gradient() {
        for isa in Isa::available() {
            let cpu = Executor::cpu_with(2, isa).unwrap();
            let values: Vec<f32> = (0..40_003).map(|i| i as f32 % 7.0 - 3.0).collect();
            let mut x = Buffer::from_slice(&values).unwrap();
            x.slice_mut::<f32>().unwrap()[20_000] = f32::NAN;
            let mut y = Buffer::from_slice(&vec![9f32; 40_010]).unwrap();
            relu::forward(&cpu, 40_003, &x, &mut y).unwrap();
            let mut dy = Buffer::from_slice(&vec![2f32; 40_010]).unwrap();
            relu::backward(&cpu, 40_003, &y, &mut dy).unwrap();
            let (y, dy) = (y.slice::<f32>().unwrap(), dy.slice::<f32>().unwrap());
            for (i, &value) in values.iter().enumerate() {
                if i == 20_000 {
                    assert!(y[i].is_nan() && dy[i] == 0.0);
                } else {
                    assert_eq!((y[i], dy[i]), (value.max(0.0), if value > 0.0 { 2.0 } else { 0.0 }));
                }
            }
            assert!(y[40_003..].iter().all(|&y| y == 9.0) && dy[40_003..].iter().all(|&dy| dy == 2.0));
        }
    }
}
