//! Lion (Chen et al., 2023: Symbolic Discovery of Optimization Algorithms).
//!
//! With g the clipped gradient: p = p − lr·weight_decay·p; p = p − lr·sign(β₁·m + (1 − β₁)·g); m = β₂·m + (1 − β₂)·g. The sign of 0 is
//! 0; that of an infinite number is NaN here, so that it is noticed.

use crate::executor::by_backend;
use crate::update::Update;
use crate::{Executor, Result};

/// The settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate: what a parameter moves by.
    pub lr: f64,
    /// Weights of the previous mean, in the step (β₁) and in the mean that is kept (β₂).
    pub betas: [f64; 2],
    /// Weight of the parameters in the step.
    pub weight_decay: f64,
}

/// Updates parameters and the means of gradients that are kept.
///
/// # Errors
/// If the parts differ in length; if a buffer is of another type, too short or on another device; if the device fails.
pub fn step(executor: &Executor, op: &Lion, call: Update) -> Result<()> {
    call.check(1)?;
    by_backend!(executor, step(op, call))
}

/// The plain definition.
mod reference {
    use super::Lion;
    use crate::element::Real;
    use crate::update::{by_definition, Update};
    use crate::Result;

    pub(super) fn step<T: Real>(op: &Lion, call: Update) -> Result<()> {
        let [first, second] = op.betas.map(T::of);
        let [rest, rest_kept] = op.betas.map(|beta| T::of(1.0 - beta));
        let [lr, shrink] = [op.lr, 1.0 - op.lr * op.weight_decay].map(T::of);
        by_definition::<T, 1>(call, |p, g, [m]| {
            let mean = first * *m + rest * g;
            let sign = match mean {
                _ if !mean.is_finite() => T::nan(),
                _ if mean > T::zero() => T::one(),
                _ if mean < T::zero() => -T::one(),
                _ => T::zero(),
            };
            *p = shrink * *p - lr * sign;
            *m = second * *m + rest_kept * g;
        })
    }
}

/// One pass.
mod cpu {
    use super::Lion;
    use crate::finite::{magnitude, nan_or_zero};
    use crate::simd::kernel;
    use crate::update::{pass, Clipping, Update};
    use crate::{Cpu, Result};

    pub(super) fn step(cpu: &Cpu, op: &Lion, call: Update) -> Result<()> {
        let betas = op.betas.map(|beta| [beta as f32, (1.0 - beta) as f32]);
        let [lr, shrink] = [op.lr, 1.0 - op.lr * op.weight_decay].map(|value| value as f32);
        pass(cpu, call, |clip, params, grads, kept| update(cpu.isa, clip, betas, [lr, shrink], params, grads, kept))
    }

    kernel! {
        fn update<S>(
            clip: Clipping<f32>, betas: [[f32; 2]; 2], rate: [f32; 2],
            params: &mut [f32], grads: &[f32], kept: [&mut [f32]; 1],
        ) -> i32 {
            let ([first, second], [lr, shrink], [means]) = (betas, rate, kept);
            let mut largest = 0;
            for ((p, m), &gradient) in params.iter_mut().zip(means).zip(grads) {
                let g = clip.of(gradient);
                let mean = first[0] * *m + first[1] * g;
                let up = if mean > 0.0 { lr } else { 0.0 };
                let down = if mean < 0.0 { lr } else { 0.0 };
                *p = shrink * *p - up + down + nan_or_zero(mean);
                *m = second[0] * *m + second[1] * g;
                largest = largest.max(magnitude(*p));
            }
            largest
        }
    }
}

/// A parameter to a thread.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use super::Lion;
    use crate::cuda::{arguments, Cuda};
    use crate::update::{Addresses, Update};
    use crate::Result;

    pub(super) fn step(cuda: &Cuda, op: &Lion, call: Update) -> Result<()> {
        let len = call.params.len();
        let at = Addresses::of(cuda, &call)?;
        let [first, second] = op.betas.map(|beta| beta as f32);
        let [rest, rest_kept] = op.betas.map(|beta| (1.0 - beta) as f32);
        let [lr, shrink] = [op.lr, 1.0 - op.lr * op.weight_decay].map(|value| value as f32);
        let arguments = arguments![
            len as i64,
            at.scale,
            at.limit,
            first,
            rest,
            second,
            rest_kept,
            lr,
            shrink,
            at.grads,
            at.kept[0],
            at.params,
            at.non_finite
        ];
        // SAFETY: all have `len` elements; the kernel takes them one by one, so that they may begin anywhere.
        unsafe { cuda.launch("lion", len, arguments) }
    }
}
