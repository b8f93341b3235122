//! The same on a GPU, in products of tiles.

use super::{Muon, COEFFICIENTS, EPS, STEPS};
use crate::cuda::{arguments, Address, Cuda};
use crate::sum_of_squares::sum_on_gpu;
use crate::update::{Addresses, Update};
use crate::{DType, Result};

/// Rows and columns of a block's tile, as in `linear.cuh`.
const TILE: usize = 16;

pub(super) fn step(cuda: &Cuda, op: &Muon, [rows, columns]: [usize; 2], call: Update) -> Result<()> {
    let (len, at) = (call.params.len(), Addresses::of(cuda, &call)?);
    let is_tall = rows > columns;
    let (short, long) = (rows.min(columns), rows.max(columns));
    let (mut x, mut next) = (cuda.zeros(DType::F32, len)?, cuda.zeros(DType::F32, len)?);
    let [gram, poly] = [cuda.zeros(DType::F32, short * short)?, cuda.zeros(DType::F32, short * short)?];
    let place = |buffer: &crate::Buffer| cuda.address(buffer, DType::F32, buffer.len());
    let (momentum, across) = (op.momentum as f32, if is_tall { columns as i64 } else { 0 });
    let arguments =
        arguments![len as i64, at.scale, at.limit, momentum, op.nesterov, across, at.grads, at.kept[0], place(&x)?];
    // SAFETY: all have `len` elements.
    unsafe { cuda.launch("muon_look_ahead", len, arguments)? };
    let scale = (1.0 / sum_on_gpu(cuda, &x.view(0..len))?.sqrt().max(EPS)) as f32;
    // SAFETY: both have `len` elements.
    unsafe { cuda.launch("accumulate", len, arguments![len as i64, 0f32, scale, place(&x)?, place(&next)?])? };
    std::mem::swap(&mut x, &mut next);
    let [a, b, c] = COEFFICIENTS.map(|coefficient| coefficient as f32);
    for _ in 0..STEPS {
        let [x_at, gram_at, poly_at, next_at] = [place(&x)?, place(&gram)?, place(&poly)?, place(&next)?];
        let square = [short, short, short];
        product(cuda, [short, long, short], [x_at, x_at, Address::NULL, gram_at], true, [0.0, 1.0])?;
        product(cuda, square, [gram_at, gram_at, gram_at, poly_at], false, [b, c])?;
        product(cuda, [short, short, long], [poly_at, x_at, x_at, next_at], false, [a, 1.0])?;
        std::mem::swap(&mut x, &mut next);
    }
    let [shrink, size] = [op.shrink(), op.size([rows, columns])].map(|value| value as f32);
    let arguments = arguments![len as i64, shrink, size, across, place(&x)?, at.params, at.non_finite];
    // SAFETY: all have `len` elements.
    unsafe { cuda.launch("muon_move", len, arguments) }
}

/// keep·before + weight·a·b, where a has (rows, depth) and b, or its transpose, (depth, columns).
fn product(
    cuda: &Cuda,
    [rows, depth, columns]: [usize; 3],
    [a, b, before, target]: [Address; 4],
    is_transposed: bool,
    [keep, weight]: [f32; 2],
) -> Result<()> {
    let blocks = rows.div_ceil(TILE) * columns.div_ceil(TILE);
    let sizes = [rows, depth, columns].map(|size| size as i32);
    let arguments = arguments![sizes[0], sizes[1], sizes[2], is_transposed, keep, weight, a, b, before, target];
    // SAFETY: the matrices have these sizes; the target is none of the others.
    unsafe { cuda.launch_blocks("muon_product", blocks, TILE * TILE, arguments) }
}
