//! The fully connected layer on a GPU.

use super::Linear;
use crate::cuda::bias_gradient::bias_gradient;
use crate::cuda::{arguments, padded, Address, Cuda};
use crate::{Buffer, GradientTarget, Result, View, ViewMut};

/// Rows and columns of a block's tile.
const TILE: usize = 16;

pub(super) fn forward(cuda: &Cuda, op: &Linear, n: usize, x: &Buffer, params: View, y: &mut Buffer) -> Result<()> {
    let [x, y] = [cuda.real(x, n * padded(op.in_features))?, cuda.real(y, n * padded(op.out_features))?];
    let weights = params.device_address(op.params_len())?;
    let bias = if op.bias { weights.plus_f32(op.out_features * op.in_features) } else { Address::NULL };
    let [rows, inner, outer] = sizes(op, n);
    let blocks = tiles(n, padded(op.out_features));
    // SAFETY: x and y have `n` rows, and there are so many weights and biases.
    unsafe {
        cuda.launch_blocks("linear_forward", blocks, TILE * TILE, arguments![rows, inner, outer, x, weights, bias, y])
    }
}

pub(super) fn input_gradient(
    cuda: &Cuda,
    op: &Linear,
    n: usize,
    dy: &Buffer,
    params: View,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let [dx, dy] = [cuda.real(dx, n * padded(op.in_features))?, cuda.real(dy, n * padded(op.out_features))?];
    let weights = params.device_address(op.params_len())?;
    let [rows, inner, outer] = sizes(op, n);
    let (blocks, arguments) =
        (tiles(n, padded(op.in_features)), arguments![rows, inner, outer, dy, weights, accumulate, dx]);
    // SAFETY: as above.
    unsafe { cuda.launch_blocks("linear_input_gradient", blocks, TILE * TILE, arguments) }
}

pub(super) fn weight_gradient(
    cuda: &Cuda,
    op: &Linear,
    n: usize,
    x: &Buffer,
    dy: &Buffer,
    grads: ViewMut,
) -> Result<()> {
    let [x, dy] = [cuda.real(x, n * padded(op.in_features))?, cuda.real(dy, n * padded(op.out_features))?];
    let grads = grads.device_address(op.params_len())?;
    let [rows, inner, outer] = sizes(op, n);
    let blocks = tiles(op.out_features, op.in_features);
    // SAFETY: as above.
    unsafe {
        cuda.launch_blocks(
            "linear_weight_gradient",
            blocks,
            TILE * TILE,
            arguments![rows, inner, outer, x, dy, grads],
        )?;
    }
    match op.bias {
        true => bias_gradient(cuda, n, op.out_features, dy, grads.plus_f32(op.out_features * op.in_features)),
        false => Ok(()),
    }
}

fn sizes(op: &Linear, n: usize) -> [i32; 3] {
    [n, op.in_features, op.out_features].map(|size| size as i32)
}

fn tiles(rows: usize, columns: usize) -> usize {
    rows.div_ceil(TILE) * columns.div_ceil(TILE)
}
