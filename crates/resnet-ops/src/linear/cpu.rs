//! Fully connected layer: dot products forward, sums of scaled rows backward, in register tiles.
//!
//! Each output element has an accumulator of its own, so neither tiles nor threads change the order of its sum.

use super::Linear;
use crate::blocked::{blocks, LANES};
use crate::matrix::{dots, sum_rows, Dots, Matrix, Output, RowSums};
use crate::{Buffer, Cpu, GradientTarget, Result, View, ViewMut};

/// Images that one task works on: enough for all of them to use a weight while it is in the first cache.
const IMAGES: usize = 8;
/// Rows of weights that one task computes the gradient of.
const ROWS: usize = 8;

pub(super) fn forward(cpu: &Cpu, op: &Linear, n: usize, x: &Buffer, params: View, y: &mut Buffer) -> Result<()> {
    let (x_row, y_row) = (blocks(op.in_features) * LANES, blocks(op.out_features) * LANES);
    let (weights, bias) = params.slice::<f32>()?[..op.params_len()].split_at(op.out_features * op.in_features);
    let weights = Matrix { values: weights, row: op.in_features, column: 1 };
    let x = &x.slice::<f32>()?[..n * x_row];
    let y = &mut y.slice_mut::<f32>()?[..n * y_row];
    cpu.pool.chunks_mut(y, IMAGES * y_row, |chunk, y| {
        for y in y.chunks_mut(y_row) {
            y[op.out_features..].fill(0.0);
        }
        let x = Matrix { values: &x[chunk * IMAGES * x_row..], row: x_row, column: 1 };
        let product = Dots { depth: op.in_features, outputs: op.out_features, x, weights, bias };
        dots(cpu.isa, product, &mut Output { values: y, row: y_row });
    });
    Ok(())
}

pub(super) fn input_gradient(
    cpu: &Cpu,
    op: &Linear,
    n: usize,
    dy: &Buffer,
    params: View,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let (dx_row, dy_row) = (blocks(op.in_features) * LANES, blocks(op.out_features) * LANES);
    let weights = &params.slice::<f32>()?[..op.out_features * op.in_features];
    let weights = Matrix { values: weights, row: op.in_features, column: 1 };
    let dy = &dy.slice::<f32>()?[..n * dy_row];
    let dx = &mut dx.slice_mut::<f32>()?[..n * dx_row];
    cpu.pool.chunks_mut(dx, IMAGES * dx_row, |chunk, dx| {
        let dy = Matrix { values: &dy[chunk * IMAGES * dy_row..], row: dy_row, column: 1 };
        let sums = RowSums { depth: op.out_features, width: op.in_features, a: dy, b: weights, accumulate };
        sum_rows(cpu.isa, sums, &mut Output { values: dx, row: dx_row });
    });
    Ok(())
}

pub(super) fn weight_gradient(cpu: &Cpu, op: &Linear, n: usize, x: &Buffer, dy: &Buffer, grads: ViewMut) -> Result<()> {
    let (x_row, dy_row) = (blocks(op.in_features) * LANES, blocks(op.out_features) * LANES);
    let (x, dy) = (&x.slice::<f32>()?[..n * x_row], &dy.slice::<f32>()?[..n * dy_row]);
    let grads = &mut grads.into_slice::<f32>()?[..op.params_len()];
    let (weights, bias) = grads.split_at_mut(op.out_features * op.in_features);
    cpu.pool.chunks_mut(weights, ROWS * op.in_features, |chunk, weights| {
        let dy = Matrix { values: &dy[chunk * ROWS..], row: 1, column: dy_row };
        let x = Matrix { values: x, row: x_row, column: 1 };
        let sums = RowSums { depth: n, width: op.in_features, a: dy, b: x, accumulate: false };
        sum_rows(cpu.isa, sums, &mut Output { values: weights, row: op.in_features });
    });
    cpu.pool.chunks_mut(bias, LANES, |block, bias| {
        for (lane, bias) in bias.iter_mut().enumerate() {
            let gradients = dy[block * LANES + lane..].iter().step_by(dy_row);
            *bias = gradients.map(|&dy| f64::from(dy)).sum::<f64>() as f32;
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::blocked::blocks;
    use crate::linear::{forward, input_gradient, weight_gradient, Linear};
    use crate::{Buffer, Executor, GradientTarget, Isa};

    /// Rows of `width` small integers (sums of their products are exact), padded with zeros to whole blocks.
    fn rows(n: usize, width: usize, step: usize) -> Vec<f32> {
        let row = blocks(width) * 16;
        (0..n * row).map(|i| if i % row < width { ((i * step) % 9) as f32 - 4.0 } else { 0.0 }).collect()
    }

    fn run(cpu: &Executor, op: &Linear, n: usize) -> [Vec<f32>; 3] {
        let (x, dy) = (rows(n, op.in_features, 5), rows(n, op.out_features, 7));
        let params: Vec<f32> = (0..op.params_len()).map(|i| (i * 11 % 7) as f32 - 3.0).collect();
        let (x, dy) = (Buffer::from_slice(&x).unwrap(), Buffer::from_slice(&dy).unwrap());
        let params = Buffer::from_slice(&params).unwrap();
        let params = params.view(0..op.params_len());
        let mut y = Buffer::from_slice(&vec![f32::NAN; dy.len()]).unwrap();
        let mut dx = Buffer::from_slice(&vec![f32::NAN; x.len()]).unwrap();
        let mut grads = Buffer::from_slice(&vec![f32::NAN; op.params_len()]).unwrap();
        forward(cpu, op, n, &x, params.clone(), &mut y).unwrap();
        for accumulate in [false, true] {
            input_gradient(cpu, op, n, &dy, params.clone(), GradientTarget { buffer: &mut dx, accumulate }).unwrap();
        }
        weight_gradient(cpu, op, n, &x, &dy, grads.view_mut(0..op.params_len())).unwrap();
        [y, dx, grads].map(|buffer| buffer.slice::<f32>().unwrap().to_vec())
    }

    #[test]
    fn odd_sizes_agree_with_plain_loops() {
        for (n, in_features, out_features, bias) in
            [(1, 1, 1, false), (13, 21, 10, true), (9, 64, 18, true), (3, 151, 33, false), (2, 16, 16, true)]
        {
            let op = Linear { in_features, out_features, bias };
            let (x_row, y_row) = (blocks(in_features) * 16, blocks(out_features) * 16);
            let (x, dy) = (rows(n, in_features, 5), rows(n, out_features, 7));
            let param = |i: usize| (i * 11 % 7) as f32 - 3.0;
            let weight = |o: usize, i: usize| param(o * in_features + i);
            for isa in Isa::available() {
                let [y, dx, grads] = run(&Executor::cpu_with(2, isa).unwrap(), &op, n);
                for (image, o) in (0..n).flat_map(|image| (0..y_row).map(move |o| (image, o))) {
                    let terms = (0..in_features).map(|i| x[image * x_row + i] * weight(o, i));
                    let bias = if bias { param(out_features * in_features + o) } else { 0.0 };
                    let expected = if o < out_features { terms.sum::<f32>() + bias } else { 0.0 };
                    assert_eq!(y[image * y_row + o], expected);
                }
                for (image, i) in (0..n).flat_map(|image| (0..x_row).map(move |i| (image, i))) {
                    let terms = (0..out_features).map(|o| dy[image * y_row + o] * weight(o, i));
                    let expected = if i < in_features { 2.0 * terms.sum::<f32>() } else { 0.0 };
                    assert_eq!(dx[image * x_row + i], expected);
                }
                for (index, &gradient) in grads.iter().enumerate() {
                    let (o, i) = (index / in_features, index % in_features);
                    let product = |image: usize| match o < out_features {
                        true => dy[image * y_row + o] * x[image * x_row + i],
                        false => dy[image * y_row + index - out_features * in_features],
                    };
                    assert_eq!(gradient, (0..n).map(product).sum::<f32>());
                }
            }
        }
    }
}
