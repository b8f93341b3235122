//! Fully connected layer: dot products forward, sums of scaled rows backward, in register tiles.
//!
//! Each output element has an accumulator of its own, so neither tiles nor threads change the order of its sum.

use super::Linear;
use crate::layout::{blocks, LANES};
use crate::simd::{kernel, Simd};
use crate::{Buffer, Cpu, Result, View, ViewMut};

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
    cpu.pool.chunks_mut(y, IMAGES * y_row, |piece, y| {
        for y in y.chunks_mut(y_row) {
            y[op.out_features..].fill(0.0);
        }
        let x = Matrix { values: &x[piece * IMAGES * x_row..], row: x_row, column: 1 };
        dots(cpu.isa, op.in_features, op.out_features, x, weights, bias, &mut Output { values: y, row: y_row });
    });
    Ok(())
}

pub(super) fn input_gradient(
    cpu: &Cpu,
    op: &Linear,
    n: usize,
    dy: &Buffer,
    params: View,
    dx: &mut Buffer,
    accumulate: bool,
) -> Result<()> {
    let (dx_row, dy_row) = (blocks(op.in_features) * LANES, blocks(op.out_features) * LANES);
    let weights = &params.slice::<f32>()?[..op.out_features * op.in_features];
    let weights = Matrix { values: weights, row: op.in_features, column: 1 };
    let dy = &dy.slice::<f32>()?[..n * dy_row];
    let dx = &mut dx.slice_mut::<f32>()?[..n * dx_row];
    cpu.pool.chunks_mut(dx, IMAGES * dx_row, |piece, dx| {
        let dy = Matrix { values: &dy[piece * IMAGES * dy_row..], row: dy_row, column: 1 };
        let dx = &mut Output { values: dx, row: dx_row };
        sum_rows(cpu.isa, op.out_features, op.in_features, dy, weights, dx, accumulate);
    });
    Ok(())
}

pub(super) fn weight_gradient(
    cpu: &Cpu,
    op: &Linear,
    n: usize,
    x: &Buffer,
    dy: &Buffer,
    mut grads: ViewMut,
) -> Result<()> {
    let (x_row, dy_row) = (blocks(op.in_features) * LANES, blocks(op.out_features) * LANES);
    let (x, dy) = (&x.slice::<f32>()?[..n * x_row], &dy.slice::<f32>()?[..n * dy_row]);
    let grads = &mut grads.slice_mut::<f32>()?[..op.params_len()];
    let (weights, bias) = grads.split_at_mut(op.out_features * op.in_features);
    cpu.pool.chunks_mut(weights, ROWS * op.in_features, |piece, weights| {
        let dy = Matrix { values: &dy[piece * ROWS..], row: 1, column: dy_row };
        let x = Matrix { values: x, row: x_row, column: 1 };
        let weights = &mut Output { values: weights, row: op.in_features };
        sum_rows(cpu.isa, n, op.in_features, dy, x, weights, false);
    });
    cpu.pool.chunks_mut(bias, LANES, |block, bias| {
        for (lane, bias) in bias.iter_mut().enumerate() {
            let gradients = dy[block * LANES + lane..].iter().step_by(dy_row);
            *bias = gradients.map(|&dy| f64::from(dy)).sum::<f64>() as f32;
        }
    });
    Ok(())
}

/// A matrix with a step of its own for either index, so that it can be read transposed.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl Matrix<'_> {
    /// Where an element lies, checked to leave room for `rows` by `columns` elements from there.
    fn at(&self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> *const f32 {
        let start = row * self.row + column * self.column;
        self.values[start..=start + (rows - 1) * self.row + (columns - 1) * self.column].as_ptr()
    }
}

/// A matrix of which whole rows are written, `row` elements each.
struct Output<'a> {
    values: &'a mut [f32],
    row: usize,
}

impl Output<'_> {
    fn at(&mut self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> *mut f32 {
        let start = row * self.row + column;
        self.values[start..start + (rows - 1) * self.row + columns].as_mut_ptr()
    }
}

/// Starts of whole tiles, then of tiles of one, that cover `0..len`; and whether the tile is whole.
fn tiles(len: usize, tile: usize) -> impl Iterator<Item = (usize, bool)> {
    let whole = len / tile * tile;
    (0..whole).step_by(tile).map(|start| (start, true)).chain((whole..len).map(|start| (start, false)))
}

kernel! {
    /// y\[n, o\] = x\[n\]·weights\[o\] + bias\[o\] for all rows of y; `bias` is empty if there is none.
    fn dots<S>(depth: usize, outputs: usize, x: Matrix, weights: Matrix, bias: &[f32], y: &mut Output) {
        // SAFETY: compiled for the instruction set of S.
        unsafe {
            match S::ACCUMULATORS {
                16.. => dots_in_tiles::<S, 4, 4>(depth, outputs, x, weights, bias, y),
                _ => dots_in_tiles::<S, 2, 2>(depth, outputs, x, weights, bias, y),
            }
        }
    }
}

/// # Safety
/// As for the functions of [`Simd`].
#[inline(always)]
unsafe fn dots_in_tiles<S: Simd, const N: usize, const O: usize>(
    depth: usize,
    outputs: usize,
    x: Matrix,
    weights: Matrix,
    bias: &[f32],
    y: &mut Output,
) {
    for (o, whole_o) in tiles(outputs, O) {
        for (n, whole_n) in tiles(y.values.len() / y.row, N) {
            // SAFETY: as for the caller.
            unsafe {
                match (whole_n, whole_o) {
                    (true, true) => dot_tile::<S, N, O>(n, o, depth, x, weights, bias, y),
                    (true, false) => dot_tile::<S, N, 1>(n, o, depth, x, weights, bias, y),
                    (false, true) => dot_tile::<S, 1, O>(n, o, depth, x, weights, bias, y),
                    (false, false) => dot_tile::<S, 1, 1>(n, o, depth, x, weights, bias, y),
                }
            }
        }
    }
}

/// # Safety
/// As for the functions of [`Simd`].
#[inline(always)]
unsafe fn dot_tile<S: Simd, const N: usize, const O: usize>(
    n: usize,
    o: usize,
    depth: usize,
    x: Matrix,
    weights: Matrix,
    bias: &[f32],
    y: &mut Output,
) {
    let (x_at, weights_at) = (x.at([n, 0], [N, depth]), weights.at([o, 0], [O, depth]));
    // SAFETY: `at` has checked N rows of x and O rows of weights, `depth` elements each.
    let sums = unsafe {
        let mut sums = [[S::splat(0.0); O]; N];
        for i in (0..depth).step_by(LANES) {
            let count = LANES.min(depth - i);
            let mut w = [S::splat(0.0); O];
            for o in 0..O {
                w[o] = load::<S>(weights_at.add(o * weights.row + i), count);
            }
            for n in 0..N {
                let x = load::<S>(x_at.add(n * x.row + i), count);
                for o in 0..O {
                    sums[n][o] = S::fma(x, w[o], sums[n][o]);
                }
            }
        }
        sums
    };
    for n_in_tile in 0..N {
        for o_in_tile in 0..O {
            let bias = bias.get(o + o_in_tile).copied().unwrap_or(0.0);
            y.values[(n + n_in_tile) * y.row + o + o_in_tile] = S::sum(sums[n_in_tile][o_in_tile]) + bias;
        }
    }
}

kernel! {
    /// c\[m\] = Σ over d < depth of a\[m, d\]·b\[d\] for all rows of c, added to it if `accumulate`. Rows of b have
    /// `width` elements; what a row of c has beyond becomes zero.
    fn sum_rows<S>(depth: usize, width: usize, a: Matrix, b: Matrix, c: &mut Output, accumulate: bool) {
        // SAFETY: compiled for the instruction set of S.
        unsafe {
            match S::ACCUMULATORS {
                16.. => sum_rows_in_tiles::<S, 4, 4>(depth, width, a, b, c, accumulate),
                _ => sum_rows_in_tiles::<S, 2, 2>(depth, width, a, b, c, accumulate),
            }
        }
    }
}

/// # Safety
/// As for the functions of [`Simd`].
#[inline(always)]
unsafe fn sum_rows_in_tiles<S: Simd, const M: usize, const V: usize>(
    depth: usize,
    width: usize,
    a: Matrix,
    b: Matrix,
    c: &mut Output,
    accumulate: bool,
) {
    let whole_vectors = width / LANES;
    let rest = (width % LANES > 0).then_some((whole_vectors, false));
    for (vector, whole_v) in tiles(whole_vectors, V).chain(rest) {
        for (m, whole_m) in tiles(c.values.len() / c.row, M) {
            let j = vector * LANES;
            // SAFETY: as for the caller.
            unsafe {
                match (whole_m, whole_v) {
                    (true, true) => sum_tile::<S, M, V>(m, j, depth, width, a, b, c, accumulate),
                    (true, false) => sum_tile::<S, M, 1>(m, j, depth, width, a, b, c, accumulate),
                    (false, true) => sum_tile::<S, 1, V>(m, j, depth, width, a, b, c, accumulate),
                    (false, false) => sum_tile::<S, 1, 1>(m, j, depth, width, a, b, c, accumulate),
                }
            }
        }
    }
}

/// # Safety
/// As for the functions of [`Simd`].
#[inline(always)]
unsafe fn sum_tile<S: Simd, const M: usize, const V: usize>(
    m: usize,
    j: usize,
    depth: usize,
    width: usize,
    a: Matrix,
    b: Matrix,
    c: &mut Output,
    accumulate: bool,
) {
    let (read, written) = ((V * LANES).min(width - j), (V * LANES).min(c.row - j));
    let (a_at, b_at) = (a.at([m, 0], [M, depth]), b.at([0, j], [depth, read]));
    let (row, c_at) = (c.row, c.at([m, j], [M, written]));
    // SAFETY: `at` has checked M by `depth` elements of a, `depth` by `read` of b and M by `written` of c; only a tile of
    // one vector is not whole.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; M];
        for d in 0..depth {
            let mut values = [S::splat(0.0); V];
            for v in 0..V {
                values[v] = load::<S>(b_at.add(d * b.row + v * LANES), read - v * LANES);
            }
            for m in 0..M {
                let factor = S::splat(*a_at.add(m * a.row + d * a.column));
                for v in 0..V {
                    sums[m][v] = S::fma(factor, values[v], sums[m][v]);
                }
            }
        }
        for m in 0..M {
            for v in 0..V {
                let (at, count) = (c_at.add(m * row + v * LANES), LANES.min(written - v * LANES));
                let before = if accumulate { S::load_first(at, count) } else { S::splat(0.0) };
                S::store_first(at, S::add(before, sums[m][v]), count);
            }
        }
    }
}

/// The first `count` values at `p`, or 16 if there are more; the rest zero.
///
/// # Safety
/// As for the functions of [`Simd`].
#[inline(always)]
unsafe fn load<S: Simd>(p: *const f32, count: usize) -> S::V {
    // SAFETY: the caller grants them.
    unsafe {
        match count {
            LANES.. => S::load(p),
            _ => S::load_first(p, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::blocks;
    use crate::linear::{forward, input_gradient, weight_gradient, Linear};
    use crate::{Buffer, Executor, Isa};

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
        input_gradient(cpu, op, n, &dy, params.clone(), &mut dx, false).unwrap();
        input_gradient(cpu, op, n, &dy, params, &mut dx, true).unwrap();
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
