//! The update on a GPU.

use super::{Sgd, Step};
use crate::cuda::{arguments, Address, Cuda};
use crate::{DType, Result};

pub(super) fn step(cuda: &Cuda, op: &Sgd, call: Step) -> Result<()> {
    let len = call.params.len();
    let (params, grads) = (call.params.device_address(len)?, call.grads.device_address(len)?);
    let velocity = call.velocity.map_or(Ok(Address::NULL), |velocity| velocity.device_address(len))?;
    let [scale, limit, lr, momentum, taken, weight_decay] =
        [call.clip.scale, call.clip.limit, op.lr, op.momentum, 1.0 - op.dampening, op.weight_decay]
            .map(|value| value as f32);
    let non_finite = cuda.address(call.non_finite, DType::F32, 1)?;
    let arguments = arguments![
        len as i64,
        scale,
        limit,
        lr,
        momentum,
        taken,
        op.nesterov,
        weight_decay,
        grads,
        velocity,
        params,
        non_finite
    ];
    // SAFETY: all have `len` elements; the kernel takes them one by one, so that they may begin anywhere.
    unsafe { cuda.launch("sgd", len, arguments) }
}
