//! Average pooling of one (image, block) plane at a time.

use super::AvgPool2d;
use crate::blocked::{blocked_len, LANES};
use crate::simd::kernel;
use crate::{Buffer, Cpu, GradientTarget, Result};

pub(super) fn forward(cpu: &Cpu, op: &AvgPool2d, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let ([height, width], output) = (op.input, op.output());
    let (plane, output_plane) = (height * width * LANES, output[0] * output[1] * LANES);
    let x = &x.slice::<f32>()?[..blocked_len(n, op.channels, height, width)];
    let y = &mut y.slice_mut::<f32>()?[..blocked_len(n, op.channels, output[0], output[1])];
    cpu.pool.chunks_mut(y, output_plane, |index, y| mean(cpu.isa, op, &x[index * plane..][..plane], y));
    Ok(())
}

pub(super) fn backward(cpu: &Cpu, op: &AvgPool2d, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let ([height, width], output) = (op.input, op.output());
    let (plane, output_plane) = (height * width * LANES, output[0] * output[1] * LANES);
    let dy = &dy.slice::<f32>()?[..blocked_len(n, op.channels, output[0], output[1])];
    let GradientTarget { buffer: dx, accumulate } = dx;
    let dx = &mut dx.slice_mut::<f32>()?[..blocked_len(n, op.channels, height, width)];
    cpu.pool.chunks_mut(dx, plane, |index, dx| {
        if !accumulate {
            dx.fill(0.0);
        }
        spread(cpu.isa, op, &dy[index * output_plane..][..output_plane], dx);
    });
    Ok(())
}

kernel! {
    fn mean<S>(op: &AvgPool2d, x: &[f32], y: &mut [f32]) {
        let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
        for (p, y) in y.chunks_mut(op.output()[1]).enumerate() {
            let (rows, row_count) = op.window(0, p);
            for (q, y) in y.iter_mut().enumerate() {
                let (columns, column_count) = op.window(1, q);
                let share = 1.0 / (row_count * column_count) as f32;
                // SAFETY: every pointer is to an array of 16 values.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for row in rows.clone() {
                        // Line by line, so that rounding grows with the window's sides and not with its area.
                        let mut line = S::splat(0.0);
                        for pixel in &x[row * op.input[1]..][columns.clone()] {
                            line = S::add(line, S::load(pixel.as_ptr()));
                        }
                        sum = S::add(sum, line);
                    }
                    S::store(y.as_mut_ptr(), S::mul(sum, S::splat(share)));
                }
            }
        }
    }
}

kernel! {
    /// Adds each gradient's share to the pixels of its window.
    fn spread<S>(op: &AvgPool2d, dy: &[f32], dx: &mut [f32]) {
        let (dy, dx) = (dy.as_chunks::<LANES>().0, dx.as_chunks_mut::<LANES>().0);
        for (p, dy) in dy.chunks(op.output()[1]).enumerate() {
            let (rows, row_count) = op.window(0, p);
            for (q, dy) in dy.iter().enumerate() {
                let (columns, column_count) = op.window(1, q);
                let share = 1.0 / (row_count * column_count) as f32;
                // SAFETY: every pointer is to an array of 16 values.
                unsafe {
                    let share = S::mul(S::load(dy.as_ptr()), S::splat(share));
                    for row in rows.clone() {
                        for pixel in &mut dx[row * op.input[1]..][columns.clone()] {
                            S::store(pixel.as_mut_ptr(), S::add(S::load(pixel.as_ptr()), share));
                        }
                    }
                }
            }
        }
    }
}
