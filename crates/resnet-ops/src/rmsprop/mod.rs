//! RMSprop (Tieleman and Hinton, 2012), as PyTorch defines it, not centred.
//!
//! With g the clipped gradient: g = g + weight_decay·p; s = alpha·s + (1 − alpha)·g²; u = g / (√s + eps);
//! with momentum b = momentum·b + u and p = p − lr·b, else p = p − lr·u.

use crate::executor::by_backend;
use crate::update::Update;
use crate::{Executor, Result};

/// The settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Learning rate.
    pub lr: f64,
    /// Weight of the previous mean of squares.
    pub alpha: f64,
    /// What keeps the divisor from 0.
    pub eps: f64,
    /// Weight of the previous update.
    pub momentum: f64,
    /// Weight of the parameters in the gradient.
    pub weight_decay: f64,
}

/// Updates parameters and what is kept: the means of squares and, with momentum, the updates.
///
/// # Errors
/// If the parts differ in length; if a buffer is of another type, too short or on another device; if the device fails.
pub fn step(executor: &Executor, op: &RmsProp, call: Update) -> Result<()> {
    call.check(if op.momentum > 0.0 { 2 } else { 1 })?;
    by_backend!(executor, step(op, call))
}

/// The plain definition.
mod reference {
    use super::RmsProp;
    use crate::element::Real;
    use crate::finite::nan_or_zero;
    use crate::update::{by_definition, Update};
    use crate::Result;

    pub(super) fn step<T: Real>(op: &RmsProp, call: Update) -> Result<()> {
        let [lr, alpha, rest, eps, momentum, decay] =
            [op.lr, op.alpha, 1.0 - op.alpha, op.eps, op.momentum, op.weight_decay].map(T::of);
        let scaled = move |p: &T, g: T, s: &mut T| {
            let g = g + decay * *p;
            *s = alpha * *s + rest * g * g;
            // Squares beyond the type would hold the parameter still for good and say nothing.
            g / (s.sqrt() + eps) + nan_or_zero(*s)
        };
        if op.momentum > 0.0 {
            return by_definition::<T, 2>(call, |p, g, [s, b]| {
                *b = momentum * *b + scaled(p, g, s);
                *p = *p - lr * *b;
            });
        }
        by_definition::<T, 1>(call, |p, g, [s]| *p = *p - lr * scaled(p, g, s))
    }
}

/// One pass.
mod cpu {
    use super::RmsProp;
    use crate::finite::{magnitude, nan_or_zero};
    use crate::simd::kernel;
    use crate::update::{pass, Clipping, Update};
    use crate::{Cpu, Result};

    /// What is the same for all parameters.
    #[derive(Clone, Copy)]
    struct Scalars {
        lr: f32,
        alpha: f32,
        rest: f32,
        eps: f32,
        momentum: f32,
        decay: f32,
        clip: Clipping<f32>,
    }

    impl Scalars {
        #[inline(always)]
        fn scaled(self, p: f32, gradient: f32, s: &mut f32) -> f32 {
            let g = self.clip.of(gradient) + self.decay * p;
            *s = self.alpha * *s + self.rest * g * g;
            g / (s.sqrt() + self.eps) + nan_or_zero(*s)
        }
    }

    pub(super) fn step(cpu: &Cpu, op: &RmsProp, call: Update) -> Result<()> {
        let [lr, alpha, rest, eps, momentum, decay] =
            [op.lr, op.alpha, 1.0 - op.alpha, op.eps, op.momentum, op.weight_decay].map(|value| value as f32);
        let with = |clip| Scalars { lr, alpha, rest, eps, momentum, decay, clip };
        if op.momentum > 0.0 {
            return pass(cpu, call, |clip, params, grads, kept| heavy_ball(cpu.isa, with(clip), params, grads, kept));
        }
        pass(cpu, call, |clip, params, grads, kept| plain(cpu.isa, with(clip), params, grads, kept))
    }

    kernel! {
        fn plain<S>(with: Scalars, params: &mut [f32], grads: &[f32], kept: [&mut [f32]; 1]) -> i32 {
            let [squares] = kept;
            let mut largest = 0;
            for ((p, s), &gradient) in params.iter_mut().zip(squares).zip(grads) {
                *p -= with.lr * with.scaled(*p, gradient, s);
                largest = largest.max(magnitude(*p));
            }
            largest
        }
    }

    kernel! {
        fn heavy_ball<S>(with: Scalars, params: &mut [f32], grads: &[f32], kept: [&mut [f32]; 2]) -> i32 {
            let [squares, updates] = kept;
            let mut largest = 0;
            for (((p, s), b), &gradient) in params.iter_mut().zip(squares).zip(updates).zip(grads) {
                *b = with.momentum * *b + with.scaled(*p, gradient, s);
                *p -= with.lr * *b;
                largest = largest.max(magnitude(*p));
            }
            largest
        }
    }
}

/// A parameter to a thread.
#[cfg(feature = "cuda-kernels")]
mod cuda {
    use super::RmsProp;
    use crate::cuda::{arguments, Address, Cuda};
    use crate::update::{Addresses, Update};
    use crate::Result;

    pub(super) fn step(cuda: &Cuda, op: &RmsProp, call: Update) -> Result<()> {
        let len = call.params.len();
        let at = Addresses::of(cuda, &call)?;
        let [lr, alpha, rest, eps, momentum, decay] =
            [op.lr, op.alpha, 1.0 - op.alpha, op.eps, op.momentum, op.weight_decay].map(|value| value as f32);
        let updates = at.kept.get(1).copied().unwrap_or(Address::NULL);
        let arguments = arguments![
            len as i64,
            at.scale,
            at.limit,
            lr,
            alpha,
            rest,
            eps,
            momentum,
            decay,
            at.grads,
            at.kept[0],
            updates,
            at.params,
            at.non_finite
        ];
        // SAFETY: all have `len` elements; the kernel takes them one by one, so that they may begin anywhere.
        unsafe { cuda.launch("rmsprop", len, arguments) }
    }
}
