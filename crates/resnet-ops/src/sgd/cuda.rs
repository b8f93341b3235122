//! The update on a GPU.

use super::Sgd;
use crate::cuda::{arguments, Address, Cuda};
use crate::{Buffer, DType, Result};

pub(super) fn step(
    cuda: &Cuda,
    op: &Sgd,
    params: &mut Buffer,
    grads: &Buffer,
    velocity: Option<&mut Buffer>,
) -> Result<()> {
    let len = params.len();
    let (params, grads) = (cuda.address(params, DType::F32, len)?, cuda.address(grads, DType::F32, len)?);
    let velocity = velocity.map_or(Ok(Address::NULL), |velocity| cuda.address(velocity, DType::F32, len))?;
    let [lr, momentum, weight_decay] = [op.lr, op.momentum, op.weight_decay].map(|value| value as f32);
    let arguments = arguments![len as i64, lr, momentum, op.nesterov, weight_decay, grads, velocity, params];
    // SAFETY: all have `len` elements.
    unsafe { cuda.launch("sgd", len, arguments) }
}
