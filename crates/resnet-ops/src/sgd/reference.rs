use super::Sgd;
use crate::executor::Real;
use crate::{Buffer, Result};

pub(super) fn step<T: Real>(
    op: &Sgd,
    params: &mut Buffer,
    grads: &Buffer,
    velocity: Option<&mut Buffer>,
) -> Result<()> {
    let (lr, momentum, weight_decay) = (T::of(op.lr), T::of(op.momentum), T::of(op.weight_decay));
    let mut velocity = velocity.map(|velocity| velocity.slice_mut::<T>()).transpose()?;
    for (i, (p, &gradient)) in params.slice_mut::<T>()?.iter_mut().zip(grads.slice::<T>()?).enumerate() {
        let g = gradient + weight_decay * *p;
        let step = match &mut velocity {
            Some(velocity) => {
                velocity[i] = momentum * velocity[i] + g;
                if op.nesterov {
                    g + momentum * velocity[i]
                } else {
                    velocity[i]
                }
            }
            None => g,
        };
        *p = *p - lr * step;
    }
    Ok(())
}
