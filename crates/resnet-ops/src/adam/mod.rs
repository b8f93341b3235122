//! Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019), as PyTorch defines them.
//!
//! At update t, with g the clipped gradient: p = p − lr·weight_decay·p where decay is decoupled, else g = g + weight_decay·p;
//! m = β₁·m + (1 − β₁)·g; v = β₂·v + (1 − β₂)·g²; p = p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps).

use crate::executor::by_backend;
use crate::update::Update;
use crate::{Executor, Result};

/// The settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Weights of the previous means of gradients and of their squares, β₁ and β₂.
    pub betas: [f64; 2],
    /// What keeps the divisor from 0.
    pub eps: f64,
    /// Weight of the parameters, in the gradient or, decoupled, in the step.
    pub weight_decay: f64,
    /// Whether decay is decoupled from the gradient: AdamW.
    pub decoupled: bool,
}

/// Updates parameters and the means that are kept: of gradients, then of their squares.
///
/// # Errors
/// If the parts differ in length; if a buffer is of another type, too short or on another device; if the device fails.
pub fn step(executor: &Executor, op: &Adam, call: Update) -> Result<()> {
    call.check(2)?;
    by_backend!(executor, step(&Scalars::new(op, call.step), call))
}

/// What is the same for all parameters of an update.
struct Scalars {
    betas: [f64; 2],
    /// lr / (1 − β₁ᵗ).
    size: f64,
    /// √(1 − β₂ᵗ).
    correction: f64,
    eps: f64,
    /// What a parameter is multiplied by first.
    shrink: f64,
    /// Weight of the parameter in its gradient.
    coupled: f64,
}

impl Scalars {
    fn new(op: &Adam, step: u64) -> Self {
        // Beyond, both powers are 0 for any β that f64 tells from 1 by more than a rounding.
        let t = step.min(i32::MAX as u64) as i32;
        let [first, second] = op.betas;
        let (decoupled, coupled) = if op.decoupled { (op.weight_decay, 0.0) } else { (0.0, op.weight_decay) };
        Self {
            betas: op.betas,
            size: op.lr / (1.0 - first.powi(t)),
            correction: (1.0 - second.powi(t)).sqrt(),
            eps: op.eps,
            shrink: 1.0 - op.lr * decoupled,
            coupled,
        }
    }
}

/// The plain definition.
mod reference {
    use super::Scalars;
    use crate::element::Real;
    use crate::finite::nan_or_zero;
    use crate::update::{by_definition, Update};
    use crate::Result;

    pub(super) fn step<T: Real>(with: &Scalars, call: Update) -> Result<()> {
        let [first, second] = with.betas.map(T::of);
        let [rest, rest_of_squares] = with.betas.map(|beta| T::of(1.0 - beta));
        by_definition::<T, 2>(call, |p, g, [m, v]| {
            *p = *p * T::of(with.shrink);
            let g = g + T::of(with.coupled) * *p;
            *m = first * *m + rest * g;
            *v = second * *v + rest_of_squares * g * g;
            *p = *p - T::of(with.size) * *m / (v.sqrt() / T::of(with.correction) + T::of(with.eps));
            // Squares beyond the type would hold the parameter still for good and say nothing.
            *p += nan_or_zero(*v);
        })
    }
}

/// One pass.
mod cpu {
    use super::Scalars;
    use crate::finite::{magnitude, nan_or_zero};
    use crate::simd::kernel;
    use crate::update::{pass, Clipping, Update};
    use crate::{Cpu, Result};

    pub(super) fn step(cpu: &Cpu, with: &Scalars, call: Update) -> Result<()> {
        let betas = with.betas.map(|beta| [beta as f32, (1.0 - beta) as f32]);
        let [size, correction, eps, shrink, coupled] =
            [with.size, 1.0 / with.correction, with.eps, with.shrink, with.coupled].map(|value| value as f32);
        pass(cpu, call, |clip, params, grads, kept| {
            update(cpu.isa, clip, betas, [size, correction, eps], [shrink, coupled], params, grads, kept)
        })
    }

    kernel! {
        fn update<S>(
            clip: Clipping<f32>, betas: [[f32; 2]; 2], divisor: [f32; 3], decay: [f32; 2],
            params: &mut [f32], grads: &[f32], kept: [&mut [f32]; 2],
        ) -> i32 {
            let ([first, second], [size, correction, eps], [shrink, coupled]) = (betas, divisor, decay);
            let [means, squares] = kept;
            let mut largest = 0;
            for (((p, m), v), &gradient) in params.iter_mut().zip(means).zip(squares).zip(grads) {
                let before = shrink * *p;
                let g = clip.of(gradient) + coupled * before;
                *m = first[0] * *m + first[1] * g;
                *v = second[0] * *v + second[1] * g * g;
                *p = before - size * *m / (v.sqrt() * correction + eps) + nan_or_zero(*v);
                largest = largest.max(magnitude(*p));
            }
            largest
        }
    }
}

/// A parameter to a thread.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use super::Scalars;
    use crate::cuda::{arguments, Cuda};
    use crate::update::{Addresses, Update};
    use crate::Result;

    pub(super) fn step(cuda: &Cuda, with: &Scalars, call: Update) -> Result<()> {
        let len = call.params.len();
        let at = Addresses::of(cuda, &call)?;
        let [first, second] = with.betas.map(|beta| beta as f32);
        let [rest, rest_of_squares] = with.betas.map(|beta| (1.0 - beta) as f32);
        let [size, correction, eps, shrink, coupled] =
            [with.size, with.correction, with.eps, with.shrink, with.coupled].map(|value| value as f32);
        let arguments = arguments![
            len as i64,
            at.scale,
            at.limit,
            first,
            rest,
            second,
            rest_of_squares,
            size,
            correction,
            eps,
            shrink,
            coupled,
            at.grads,
            at.kept[0],
            at.kept[1],
            at.params,
            at.non_finite
        ];
        // SAFETY: all have `len` elements; the kernel takes them one by one, so that they may begin anywhere.
        unsafe { cuda.launch("adam", len, arguments) }
    }
}
