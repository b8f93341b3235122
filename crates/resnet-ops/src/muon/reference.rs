use super::{Muon, COEFFICIENTS, EPS, STEPS};
use crate::element::Real;
use crate::update::{by_definition, Clip, Clipping, Update};
use crate::{Buffer, Result};

pub(super) fn step<T: Real>(op: &Muon, sizes: [usize; 2], call: Update) -> Result<()> {
    let Update { params, grads, mut kept, clip, step, non_finite } = call;
    let (momentum, clip) = (T::of(op.momentum), Clipping::<T>::new(clip));
    let mut u = Vec::with_capacity(params.len());
    for (v, &gradient) in kept.remove(0).into_slice::<T>()?.iter_mut().zip(grads.slice::<T>()?) {
        let g = clip.of(gradient);
        *v = momentum * *v + g;
        u.push(if op.nesterov { g + momentum * *v } else { *v });
    }
    let o = Buffer::from_slice(&orthogonal(&u, sizes))?;
    let (shrink, size) = (T::of(op.shrink()), T::of(op.size(sizes)));
    let update = Update { params, grads: o.view(0..u.len()), kept, clip: Clip::default(), step, non_finite };
    by_definition::<T, 0>(update, |p, o, []| *p = shrink * *p - size * o)
}

/// What the iteration makes of a matrix.
fn orthogonal<T: Real>(u: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    if rows > columns {
        let wide = orthogonal(&transposed(u, [rows, columns]), [columns, rows]);
        return transposed(&wide, [columns, rows]);
    }
    let norm = u.iter().map(|&value| value * value).sum::<T>().sqrt();
    let scale = T::one() / if norm < T::of(EPS) { T::of(EPS) } else { norm };
    let mut x: Vec<T> = u.iter().map(|&value| scale * value).collect();
    let [a, b, c] = COEFFICIENTS.map(T::of);
    for _ in 0..STEPS {
        let gram = product(&x, &transposed(&x, [rows, columns]), [rows, columns, rows]);
        let square = product(&gram, &gram, [rows; 3]);
        let poly: Vec<T> = gram.iter().zip(square).map(|(&gram, square)| b * gram + c * square).collect();
        let moved = product(&poly, &x, [rows, rows, columns]);
        x = x.iter().zip(moved).map(|(&x, moved)| a * x + moved).collect();
    }
    x
}

fn transposed<T: Real>(matrix: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// (rows, depth) times (depth, columns).
fn product<T: Real>(a: &[T], b: &[T], [rows, depth, columns]: [usize; 3]) -> Vec<T> {
    let element = |i: usize| (0..depth).map(|k| a[i / columns * depth + k] * b[k * columns + i % columns]).sum();
    (0..rows * columns).map(element).collect()
}
