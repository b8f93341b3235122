//! The iteration in products of tiles, cut by rows of what they write.

use super::{Muon, COEFFICIENTS, EPS, STEPS};
use crate::finite::magnitude;
use crate::matrix::{dots, sum_rows, Dots, Matrix, Output, RowSums};
use crate::simd::kernel;
use crate::sum_of_squares::sum_on_cpu;
use crate::update::{pass, Clip, Clipping, Update};
use crate::{Buffer, Cpu, DType, Result};

/// Rows that one task goes through.
const ROWS: usize = 16;
/// Rows of A that one task computes: of 4,608 columns, X has that many in a second-level cache.
const GRAM_ROWS: usize = 32;
/// Rows of the other products that one task computes: as many use a part of X before it goes from the cache.
const PRODUCT_ROWS: usize = 64;

pub(super) fn step(cpu: &Cpu, op: &Muon, sizes: [usize; 2], call: Update) -> Result<()> {
    let Update { params, grads, mut kept, clip, step, non_finite } = call;
    let (len, chunk_len) = (params.len(), ROWS * sizes[1]);
    let mut u = Buffer::zeros(DType::F32, len)?;
    let (velocity, source) = (kept.remove(0).into_slice::<f32>()?, grads.slice::<f32>()?);
    let (clipping, momentum) = (Clipping::new(clip), op.momentum as f32);
    let ahead = if op.nesterov { [1.0, momentum] } else { [0.0, 1.0] };
    cpu.pool.zip_chunks_mut(velocity, chunk_len, u.slice_mut()?, chunk_len, |chunk, velocity, u| {
        look_ahead(cpu.isa, clipping, momentum, ahead, &source[chunk * chunk_len..], velocity, u);
    });
    let o = orthogonal(cpu, u, sizes)?;
    let (shrink, size) = (op.shrink() as f32, op.size(sizes) as f32);
    let update = Update { params, grads: o.view(0..len), kept, clip: Clip::default(), step, non_finite };
    pass::<0>(cpu, update, |_, params, o, []| move_by(cpu.isa, shrink, size, params, o))
}

/// What the iteration makes of a matrix.
fn orthogonal(cpu: &Cpu, u: Buffer, [rows, columns]: [usize; 2]) -> Result<Buffer> {
    if rows > columns {
        let wide = orthogonal(cpu, transposed(cpu, &u, [rows, columns])?, [columns, rows])?;
        return transposed(cpu, &wide, [columns, rows]);
    }
    let (mut x, mut next) = (u, Buffer::zeros(DType::F32, rows * columns)?);
    let [mut gram, mut poly] = [Buffer::zeros(DType::F32, rows * rows)?, Buffer::zeros(DType::F32, rows * rows)?];
    let scale = (1.0 / sum_on_cpu(cpu, x.slice()?).sqrt().max(EPS)) as f32;
    cpu.pool.chunks_mut(x.slice_mut()?, ROWS * columns, |_, x| scaled(cpu.isa, scale, x));
    let [a, b, c] = COEFFICIENTS.map(|coefficient| coefficient as f32);
    for _ in 0..STEPS {
        {
            let x = x.slice::<f32>()?;
            cpu.pool.chunks_mut(gram.slice_mut()?, GRAM_ROWS * rows, |chunk, gram| {
                let own = Matrix { values: &x[chunk * GRAM_ROWS * columns..], row: columns, column: 1 };
                let all = Matrix { values: x, row: columns, column: 1 };
                let product = Dots { depth: columns, outputs: rows, x: own, weights: all, bias: &[] };
                dots(cpu.isa, product, &mut Output { values: gram, row: rows });
            });
        }
        let gram = gram.slice::<f32>()?;
        sum_of_products(cpu, [gram, gram], [rows; 2], [b, c], poly.slice_mut()?);
        sum_of_products(cpu, [poly.slice()?, x.slice()?], [rows, columns], [a, 1.0], next.slice_mut()?);
        std::mem::swap(&mut x, &mut next);
    }
    Ok(x)
}

/// keep·B + weight·A·B, where A has `rows` rows and columns and B `rows` of `columns`.
fn sum_of_products(
    cpu: &Cpu,
    [a, b]: [&[f32]; 2],
    [rows, columns]: [usize; 2],
    [keep, weight]: [f32; 2],
    target: &mut [f32],
) {
    cpu.pool.chunks_mut(target, PRODUCT_ROWS * columns, |chunk, target| {
        let own = Matrix { values: &a[chunk * PRODUCT_ROWS * rows..], row: rows, column: 1 };
        let all = Matrix { values: b, row: columns, column: 1 };
        let sums = RowSums { depth: rows, width: columns, a: own, b: all, accumulate: false };
        sum_rows(cpu.isa, sums, &mut Output { values: target, row: columns });
        weighted(cpu.isa, keep, &b[chunk * PRODUCT_ROWS * columns..], weight, target);
    });
}

fn transposed(cpu: &Cpu, matrix: &Buffer, [rows, columns]: [usize; 2]) -> Result<Buffer> {
    let mut target = Buffer::zeros(DType::F32, rows * columns)?;
    let matrix = matrix.slice::<f32>()?;
    cpu.pool.chunks_mut(target.slice_mut()?, ROWS * rows, |chunk, target| {
        for (column, target) in (chunk * ROWS..).zip(target.chunks_mut(rows)) {
            target.iter_mut().enumerate().for_each(|(row, target)| *target = matrix[row * columns + column]);
        }
    });
    Ok(target)
}

kernel! {
    fn look_ahead<S>(
        clip: Clipping<f32>, momentum: f32, ahead: [f32; 2], source: &[f32], velocity: &mut [f32], u: &mut [f32],
    ) {
        for ((v, u), &gradient) in velocity.iter_mut().zip(u).zip(source) {
            let g = clip.of(gradient);
            *v = momentum * *v + g;
            *u = ahead[0] * g + ahead[1] * *v;
        }
    }
}

kernel! {
    fn scaled<S>(scale: f32, values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

kernel! {
    fn weighted<S>(keep: f32, source: &[f32], weight: f32, target: &mut [f32]) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target = keep * source + weight * *target;
        }
    }
}

kernel! {
    fn move_by<S>(shrink: f32, size: f32, params: &mut [f32], o: &[f32]) -> i32 {
        let mut largest = 0;
        for (p, &o) in params.iter_mut().zip(o) {
            *p = shrink * *p - size * o;
            largest = largest.max(magnitude(*p));
        }
        largest
    }
}
