//! Max-pooling of one (image, block) plane at a time.

use super::{Forward, MaxPool2d};
use crate::affine::Affine;
use crate::blocked::{blocked_len, LANES};
use crate::simd::kernel;
use crate::{Buffer, Cpu, GradientTarget, Result};
use std::ops::Range;

pub(super) fn forward(cpu: &Cpu, op: &MaxPool2d, call: Forward) -> Result<()> {
    let Forward { n, x, y, argmax } = call;
    let ([height, width], output) = (op.input, op.output());
    let (plane, output_plane) = (height * width * LANES, output[0] * output[1] * LANES);
    let x = &x.slice::<f32>()?[..blocked_len(n, op.channels, height, width)];
    let len = blocked_len(n, op.channels, output[0], output[1]);
    let y = &mut y.slice_mut::<f32>()?[..len];
    let Some(argmax) = argmax else {
        cpu.pool.chunks_mut(y, output_plane, |index, y| maxima(cpu.isa, op, &x[index * plane..][..plane], y));
        return Ok(());
    };
    let argmax = &mut argmax.slice_mut::<u8>()?[..len];
    cpu.pool.zip_chunks_mut(y, output_plane, argmax, output_plane, |index, y, argmax| {
        pool::<0>(cpu.isa, op, &x[index * plane..][..plane], &Affine::NONE, false, y, argmax);
    });
    Ok(())
}

pub(super) fn backward(
    cpu: &Cpu,
    op: &MaxPool2d,
    n: usize,
    dy: &Buffer,
    argmax: &Buffer,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let ([height, width], output) = (op.input, op.output());
    let (plane, output_plane) = (height * width * LANES, output[0] * output[1] * LANES);
    let len = blocked_len(n, op.channels, output[0], output[1]);
    let (dy, argmax) = (&dy.slice::<f32>()?[..len], &argmax.slice::<u8>()?[..len]);
    let dx = &mut dx.slice_mut::<f32>()?[..blocked_len(n, op.channels, height, width)];
    cpu.pool.chunks_mut(dx, plane, |index, dx| {
        if !accumulate {
            dx.fill(0.0);
        }
        let part = index * output_plane..(index + 1) * output_plane;
        scatter(cpu.isa, op, &dy[part.clone()], &argmax[part], dx);
    });
    Ok(())
}

/// Rows (axis 0) or columns (axis 1) of the window number `index` that lie in the input, counted from the window's first,
/// and the row or column at which the first of them lies.
#[inline(always)]
fn window(op: &MaxPool2d, axis: usize, index: usize) -> (Range<usize>, usize) {
    let start = index * op.stride[axis];
    let first = op.padding[axis].saturating_sub(start);
    let end = op.kernel[axis].min(op.input[axis] + op.padding[axis] - start);
    (first..end, start + first - op.padding[axis])
}

kernel! {
    /// Pools x, or, if `NORM` is 1, act(x·scale + shift), where act is ReLU or, if `relu` is false, nothing.
    pub(crate) fn pool<S, const NORM: usize>(
        op: &MaxPool2d,
        x: &[f32],
        affine: &Affine,
        relu: bool,
        y: &mut [f32],
        argmax: &mut [u8],
    ) {
        // Pixels of the input for each of the output. A window's lines, read side by side, keep the hardware from seeing
        // that the plane as a whole is read in order, so each window asks for what one two lines below will need.
        let (start, share) = (x.as_ptr(), x.len() / y.len());
        let (x, width) = (x.as_chunks::<LANES>().0, op.input[1]);
        let (y, argmax) = (y.as_chunks_mut::<LANES>().0, argmax.as_chunks_mut::<LANES>().0);
        let output_width = op.output()[1];
        let lines = y.chunks_mut(output_width).zip(argmax.chunks_mut(output_width));
        for (p, (y, argmax)) in lines.enumerate() {
            let (rows, top) = window(op, 0, p);
            for (q, (y, argmax)) in y.iter_mut().zip(argmax).enumerate() {
                let (columns, left) = window(op, 1, q);
                let later = start.wrapping_add(((p + 2) * output_width + q) * share * LANES);
                for pixel in 0..share {
                    S::prefetch(later.wrapping_add(pixel * LANES));
                }
                // SAFETY: every pointer is to an array of 16 values.
                let numbers = unsafe {
                    let (scale, shift) = (S::load(affine.scale.as_ptr()), S::load(affine.shift.as_ptr()));
                    // Of which the larger is taken; without ReLU nothing is below it. NaN stays NaN.
                    let floor = S::splat(if relu { 0.0 } else { f32::NEG_INFINITY });
                    let read = |pixel: &[f32; LANES]| {
                        let value = S::load(pixel.as_ptr());
                        if NORM == 1 { S::max(floor, S::fma(value, scale, shift)) } else { value }
                    };
                    let mut best = read(&x[top * width + left]);
                    // f32 holds every pixel number exactly.
                    let mut number = S::splat((rows.start * op.kernel[1] + columns.start) as f32);
                    for (row, r) in rows.clone().enumerate() {
                        let line = &x[(top + row) * width + left..][..columns.len()];
                        let mut here = (r * op.kernel[1] + columns.start) as f32;
                        for pixel in line {
                            let value = read(pixel);
                            number = S::where_above(value, best, S::splat(here), number);
                            best = S::where_above(value, best, value, best);
                            here += 1.0;
                        }
                    }
                    S::store(y.as_mut_ptr(), best);
                    S::lanes(number)
                };
                for lane in 0..LANES {
                    // SAFETY: a whole number from 0 to 254. The checked conversion would take longer than the maximum.
                    argmax[lane] = unsafe { numbers[lane].to_int_unchecked::<i32>() } as u8;
                }
            }
        }
    }
}

kernel! {
    /// Pools x, and keeps no places.
    fn maxima<S>(op: &MaxPool2d, x: &[f32], y: &mut [f32]) {
        // As in `pool`.
        let (start, share) = (x.as_ptr(), x.len() / y.len());
        let (x, y, [width, output_width]) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0, [op.input[1], op.output()[1]]);
        for (p, y) in y.chunks_mut(output_width).enumerate() {
            let (rows, top) = window(op, 0, p);
            for (q, y) in y.iter_mut().enumerate() {
                let (columns, left) = window(op, 1, q);
                let later = start.wrapping_add(((p + 2) * output_width + q) * share * LANES);
                for pixel in 0..share {
                    S::prefetch(later.wrapping_add(pixel * LANES));
                }
                // SAFETY: every pointer is to an array of 16 values.
                unsafe {
                    let mut best = S::load(x[top * width + left].as_ptr());
                    for row in top..top + rows.len() {
                        for pixel in &x[row * width + left..][..columns.len()] {
                            let value = S::load(pixel.as_ptr());
                            best = S::where_above(value, best, value, best);
                        }
                    }
                    S::store(y.as_mut_ptr(), best);
                }
            }
        }
    }
}

kernel! {
    /// Adds each gradient where its maximum was.
    pub(crate) fn scatter<S>(op: &MaxPool2d, dy: &[f32], argmax: &[u8], dx: &mut [f32]) {
        let (dx, width) = (dx.as_chunks_mut::<LANES>().0, op.input[1]);
        let (dy, argmax) = (dy.as_chunks::<LANES>().0, argmax.as_chunks::<LANES>().0);
        let output_width = op.output()[1];
        let lines = dy.chunks(output_width).zip(argmax.chunks(output_width));
        for (p, (dy, argmax)) in lines.enumerate() {
            let (rows, top) = window(op, 0, p);
            for (q, (dy, argmax)) in dy.iter().zip(argmax).enumerate() {
                let (columns, left) = window(op, 1, q);
                let mut numbers = [0f32; LANES];
                for lane in 0..LANES {
                    numbers[lane] = f32::from(argmax[lane]);
                }
                // SAFETY: every pointer is to an array of 16 values.
                unsafe {
                    let (dy, numbers) = (S::load(dy.as_ptr()), S::load(numbers.as_ptr()));
                    for (row, r) in rows.clone().enumerate() {
                        let line = &mut dx[(top + row) * width + left..][..columns.len()];
                        let mut here = (r * op.kernel[1] + columns.start) as f32;
                        for pixel in line {
                            let share = S::where_equal(numbers, S::splat(here), dy);
                            S::store(pixel.as_mut_ptr(), S::add(S::load(pixel.as_ptr()), share));
                            here += 1.0;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::{blocked_len, from_nchw, to_nchw};
    use crate::max_pool2d::{backward, forward, Forward, MaxPool2d};
    use crate::{Buffer, DType, Executor, GradientTarget, Isa};

    /// Output and gradient (for a gradient of the output of 1, 2, 3, …) of a plane of `op.input` pixels.
    fn expected(op: &MaxPool2d, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let ([height, width], [rows, columns]) = (op.input, op.output());
        let (mut y, mut dx) = (Vec::new(), vec![0.0; x.len()]);
        for (p, q) in (0..rows).flat_map(|p| (0..columns).map(move |q| (p, q))) {
            let mut best: Option<usize> = None;
            for (r, s) in (0..op.kernel[0]).flat_map(|r| (0..op.kernel[1]).map(move |s| (r, s))) {
                let row = (p * op.stride[0] + r).checked_sub(op.padding[0]).filter(|&row| row < height);
                let column = (q * op.stride[1] + s).checked_sub(op.padding[1]).filter(|&column| column < width);
                if let (Some(row), Some(column)) = (row, column) {
                    let at = row * width + column;
                    if best.is_none_or(|best| x[at] > x[best] || x[at].is_nan()) {
                        best = Some(at);
                    }
                }
            }
            dx[best.unwrap()] += (y.len() + 1) as f32;
            y.push(x[best.unwrap()]);
        }
        (y, dx)
    }

    #[test]
    fn odd_windows_ties_nan_and_negative_infinity() {
        let cases = [
            ([9, 8], [3, 3], [2, 2], [1, 1]),
            ([7, 5], [5, 2], [3, 1], [2, 1]),
            ([4, 6], [1, 3], [1, 4], [0, 1]),
            ([3, 3], [4, 5], [1, 2], [2, 2]),
        ];
        let (n, c) = (2, 19);
        for (input, kernel, stride, padding) in cases {
            let op = MaxPool2d { channels: c, input, kernel, stride, padding };
            op.check().unwrap();
            let (pixels, outputs) = (input[0] * input[1], op.output()[0] * op.output()[1]);
            let mut x: Vec<f32> = (0..n * c * pixels).map(|i| (i * 37 % 11) as f32 - 20.0).collect();
            x[..pixels].fill(f32::NEG_INFINITY);
            x[pixels + pixels / 2] = f32::NAN;
            let dy: Vec<f32> = (0..n * c * outputs).map(|i| (i % outputs + 1) as f32).collect();
            for isa in Isa::available() {
                let cpu = Executor::cpu_with(2, isa).unwrap();
                let blocked = |values: &[f32], [h, w]: [usize; 2]| {
                    let mut buffer = Buffer::zeros(DType::F32, blocked_len(n, c, h, w)).unwrap();
                    from_nchw(&cpu, [n, c, h, w], &Buffer::from_slice(values).unwrap(), &mut buffer).unwrap();
                    buffer
                };
                let plain = |buffer: &Buffer, [h, w]: [usize; 2]| {
                    let lanes_beyond = |i: &usize| i / (h * w * 16) % 2 == 1 && i % 16 >= c - 16;
                    let values = buffer.slice::<f32>().unwrap();
                    assert!((0..values.len()).filter(lanes_beyond).all(|i| values[i] == 0.0));
                    let mut target = Buffer::zeros(DType::F32, n * c * h * w).unwrap();
                    to_nchw(&cpu, [n, c, h, w], buffer, &mut target).unwrap();
                    target.slice::<f32>().unwrap().to_vec()
                };
                let (x_blocked, dy_blocked) = (blocked(&x, input), blocked(&dy, op.output()));
                let mut y = Buffer::from_slice(&vec![9f32; dy_blocked.len()]).unwrap();
                let mut argmax = Buffer::zeros(DType::U8, dy_blocked.len()).unwrap();
                let mut dx = Buffer::from_slice(&vec![9f32; x_blocked.len()]).unwrap();
                let mut alone = Buffer::from_slice(&vec![9f32; dy_blocked.len()]).unwrap();
                for (y, argmax) in [(&mut y, Some(&mut argmax)), (&mut alone, None)] {
                    forward(&cpu, &op, Forward { n, x: &x_blocked, y, argmax }).unwrap();
                }
                let bits = |y: &Buffer| y.slice::<f32>().unwrap().iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&alone), bits(&y));
                for accumulate in [false, true] {
                    let dx = GradientTarget { buffer: &mut dx, accumulate };
                    backward(&cpu, &op, n, &dy_blocked, &argmax, dx).unwrap();
                }
                let (y, dx) = (plain(&y, op.output()), plain(&dx, input));
                for plane in 0..n * c {
                    let (y_expected, dx_expected) = expected(&op, &x[plane * pixels..][..pixels]);
                    for (found, expected) in y[plane * outputs..].iter().zip(y_expected) {
                        assert!(*found == expected || found.is_nan() && expected.is_nan());
                    }
                    for (found, expected) in dx[plane * pixels..].iter().zip(dx_expected) {
                        assert_eq!(*found, 2.0 * expected);
                    }
                }
            }
        }
    }
}
