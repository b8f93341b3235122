use super::{Sgd, Step};
use crate::element::Real;
use crate::update::Clipping;
use crate::{finite, Result};

pub(super) fn step<T: Real>(op: &Sgd, call: Step) -> Result<()> {
    let (lr, momentum, weight_decay) = (T::of(op.lr), T::of(op.momentum), T::of(op.weight_decay));
    let (clip, taken) = (Clipping::<T>::new(call.clip), T::of(1.0 - op.dampening));
    let mut is_finite = true;
    let mut velocity = call.velocity.map(|velocity| velocity.into_slice::<T>()).transpose()?;
    for (i, (p, &gradient)) in call.params.into_slice::<T>()?.iter_mut().zip(call.grads.slice::<T>()?).enumerate() {
        let g = clip.of(gradient) + weight_decay * *p;
        let step = match &mut velocity {
            Some(velocity) => {
                velocity[i] = momentum * velocity[i] + taken * g;
                if op.nesterov {
                    g + momentum * velocity[i]
                } else {
                    velocity[i]
                }
            }
            None => g,
        };
        *p = *p - lr * step;
        is_finite &= p.is_finite();
    }
    finite::note::<T>(call.non_finite, is_finite)
}
