//! SiLU, or swish: y = x·σ(x), σ(x) = 1 / (1 + e⁻ˣ) (Elfwing et al., 2018, <https://arxiv.org/abs/1702.03118>); its derivative is
//! σ(x)·(1 + x·(1 − σ(x))).

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};

/// y = x·σ(x) for the first `len` elements of an activation in any layout. NaN stays NaN.
///
/// # Errors
/// If a buffer is of another type than the executor's or on another device; if the device fails.
pub fn forward(executor: &Executor, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    by_backend!(executor, forward(len, x, y))
}

/// `dy` comes in as the gradient of the output, `len` elements, and goes out as the gradient of the input `x`.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, len: usize, x: &Buffer, dy: &mut Buffer) -> Result<()> {
    by_backend!(executor, backward(len, x, dy))
}

/// The plain definition.
mod reference {
    use crate::element::Real;
    use crate::{Buffer, Result};

    pub(super) fn forward<T: Real>(len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        for (y, &x) in y.slice_mut::<T>()?[..len].iter_mut().zip(&x.slice::<T>()?[..len]) {
            *y = x * sigmoid(x);
        }
        Ok(())
    }

    pub(super) fn backward<T: Real>(len: usize, x: &Buffer, dy: &mut Buffer) -> Result<()> {
        for (dy, &x) in dy.slice_mut::<T>()?[..len].iter_mut().zip(&x.slice::<T>()?[..len]) {
            let sigmoid = sigmoid(x);
            *dy = *dy * sigmoid * (T::one() + x * (T::one() - sigmoid));
        }
        Ok(())
    }

    fn sigmoid<T: Real>(x: T) -> T {
        T::one() / (T::one() + (-x).exp())
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
        cpu.pool.chunks_mut(y, CHUNK, |chunk, y| activate(cpu.isa, &x[chunk * CHUNK..], y));
        Ok(())
    }

    pub(super) fn backward(cpu: &Cpu, len: usize, x: &Buffer, dy: &mut Buffer) -> Result<()> {
        let x = &x.slice::<f32>()?[..len];
        let dy = &mut dy.slice_mut::<f32>()?[..len];
        cpu.pool.chunks_mut(dy, CHUNK, |chunk, dy| scale(cpu.isa, &x[chunk * CHUNK..], dy));
        Ok(())
    }

    kernel! {
        fn activate<S>(x: &[f32], y: &mut [f32]) {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * sigmoid(x);
            }
        }
    }

    kernel! {
        fn scale<S>(x: &[f32], dy: &mut [f32]) {
            for (dy, &x) in dy.iter_mut().zip(x) {
                let sigmoid = sigmoid(x);
                *dy *= sigmoid * (1.0 + x * (1.0 - sigmoid));
            }
        }
    }

    #[inline(always)]
    fn sigmoid(x: f32) -> f32 {
        1.0 / (1.0 + exp(-x))
    }

    /// eˣ within two units in the last place, from e⁻⁸⁷ to e⁸⁸: 2ⁿ·eʳ with |r| ≤ ln 2 / 2 and a polynomial for eʳ. Without a branch, so
    /// that it is vectorised.
    #[inline(always)]
    fn exp(x: f32) -> f32 {
        /// Added to a number and taken off again, rounds it to a whole one, which then stands in the low bits of the sum.
        const ROUNDER: f32 = 12_582_912.0;
        let x = x.clamp(-87.0, 88.0);
        let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
        let n = shifted - ROUNDER;
        // ln 2 in two parts, of which the first has few bits.
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let tail = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        let series = tail.into_iter().fold(1.987_569_1e-4, |sum, coefficient| sum * r + coefficient);
        let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23);
        (series * r * r + r + 1.0) * power
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn exponentials_are_those_of_f64() {
            for step in -87_000..=88_000 {
                let x = step as f32 / 1000.0;
                let (found, exact) = (f64::from(super::exp(x)), f64::from(x).exp());
                assert!((found / exact - 1.0).abs() < 3e-7, "{x}: {found:e}, {exact:e}");
            }
            assert!(super::exp(f32::NAN).is_nan());
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
        unsafe { cuda.launch("silu_forward", len.div_ceil(OCTET), arguments![len as i64, x, y]) }
    }

    pub(super) fn backward(cuda: &Cuda, len: usize, x: &Buffer, dy: &mut Buffer) -> Result<()> {
        let (x, dy) = (cuda.real(x, len)?, cuda.real(dy, len)?);
        // SAFETY: x and dy have `len` elements.
        unsafe { cuda.launch("silu_backward", len.div_ceil(OCTET), arguments![len as i64, x, dy]) }
    }
}
