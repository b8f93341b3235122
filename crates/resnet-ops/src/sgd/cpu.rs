//! The update in one pass over parameters, gradients and velocity.

use super::{Sgd, Step};
use crate::finite::{self, magnitude};
use crate::simd::kernel;
use crate::update::Clipping;
use crate::{Cpu, Result};
use std::sync::atomic::{AtomicI32, Ordering};

/// Elements that one task works on.
const CHUNK: usize = 16 * 1024;

pub(super) fn step(cpu: &Cpu, op: &Sgd, call: Step) -> Result<()> {
    let (params, grads) = (call.params.into_slice::<f32>()?, call.grads.slice::<f32>()?);
    let (lr, momentum, decay) = (op.lr as f32, op.momentum as f32, op.weight_decay as f32);
    let (clip, taken) = (Clipping::new(call.clip), (1.0 - op.dampening) as f32);
    let largest = AtomicI32::new(0);
    match call.velocity {
        Some(velocity) => {
            let velocity = velocity.into_slice::<f32>()?;
            cpu.pool.zip_chunks_mut(params, CHUNK, velocity, CHUNK, |chunk, params, velocity| {
                let grads = &grads[chunk * CHUNK..];
                let found = match op.nesterov {
                    true => nesterov(cpu.isa, clip, lr, [momentum, taken], decay, params, grads, velocity),
                    false => heavy_ball(cpu.isa, clip, lr, [momentum, taken], decay, params, grads, velocity),
                };
                largest.fetch_max(found, Ordering::Relaxed);
            });
        }
        None => cpu.pool.chunks_mut(params, CHUNK, |chunk, params| {
            largest.fetch_max(plain(cpu.isa, clip, lr, decay, params, &grads[chunk * CHUNK..]), Ordering::Relaxed);
        }),
    }
    finite::note::<f32>(call.non_finite, largest.into_inner() < magnitude(f32::INFINITY))
}

kernel! {
    fn plain<S>(clip: Clipping<f32>, lr: f32, decay: f32, params: &mut [f32], grads: &[f32]) -> i32 {
        let mut largest = 0;
        for (p, &gradient) in params.iter_mut().zip(grads) {
            *p -= lr * (clip.of(gradient) + decay * *p);
            largest = largest.max(magnitude(*p));
        }
        largest
    }
}

kernel! {
    fn heavy_ball<S>(
        clip: Clipping<f32>, lr: f32, weights: [f32; 2], decay: f32, params: &mut [f32], grads: &[f32], velocity: &mut [f32],
    ) -> i32 {
        let [momentum, taken] = weights;
        let mut largest = 0;
        for ((p, v), &gradient) in params.iter_mut().zip(velocity).zip(grads) {
            *v = momentum * *v + taken * (clip.of(gradient) + decay * *p);
            *p -= lr * *v;
            largest = largest.max(magnitude(*p));
        }
        largest
    }
}

kernel! {
    fn nesterov<S>(
        clip: Clipping<f32>, lr: f32, weights: [f32; 2], decay: f32, params: &mut [f32], grads: &[f32], velocity: &mut [f32],
    ) -> i32 {
        let [momentum, taken] = weights;
        let mut largest = 0;
        for ((p, v), &gradient) in params.iter_mut().zip(velocity).zip(grads) {
            let g = clip.of(gradient) + decay * *p;
            *v = momentum * *v + taken * g;
            *p -= lr * (g + momentum * *v);
            largest = largest.max(magnitude(*p));
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use crate::sgd::{step, Sgd, Step};
    use crate::update::Clip;
    use crate::{Buffer, Executor, Isa};

    #[test]
    fn two_steps_follow_the_formula() {
        let len = 20_011;
        let (start, gradient) = (|i: usize| (i % 13) as f32 - 6.0, |i: usize| (i % 7) as f32 * 0.5 - 1.0);
        for isa in Isa::available() {
            let cpu = Executor::cpu_with(2, isa).unwrap();
            for (momentum, nesterov) in [(0.0, false), (0.75, false), (0.75, true)] {
                let op = Sgd { lr: 0.125, momentum, dampening: 0.0, nesterov, weight_decay: 0.0625 };
                let mut params = Buffer::from_slice(&(0..len).map(start).collect::<Vec<_>>()).unwrap();
                let grads = Buffer::from_slice(&(0..len).map(gradient).collect::<Vec<_>>()).unwrap();
                let mut velocity = Buffer::from_slice(&vec![0f32; len]).unwrap();
                let mut note = Buffer::from_slice(&[0f32]).unwrap();
                for _ in 0..2 {
                    let velocity = (momentum > 0.0).then(|| velocity.view_mut(0..len));
                    let (params, grads) = (params.view_mut(0..len), grads.view(0..len));
                    let call = Step { params, grads, velocity, clip: Clip::default(), non_finite: &mut note };
                    step(&cpu, &op, call).unwrap();
                }
                for (i, &found) in params.slice::<f32>().unwrap().iter().enumerate() {
                    let (mut p, mut v) = (start(i), 0.0);
                    for _ in 0..2 {
                        let g = gradient(i) + 0.0625 * p;
                        v = momentum as f32 * v + g;
                        p -= 0.125 * if nesterov { g + momentum as f32 * v } else { v };
                    }
                    assert!((found - p).abs() < 1e-6, "element {i}: {found} for {p}");
                }
            }
        }
    }
}
