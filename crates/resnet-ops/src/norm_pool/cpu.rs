//! One (image, block) plane at a time. Of the map between norm and pooling only the maxima matter:
//!
//! ```text
//!   forward:   statistics of x, then y = max over a window of act(x·scale + shift)
//!   backward:  sums over windows of dy and dy·(x − mean) at the maximum, where act lets them pass;
//!              then dy is scattered into the plane of dx, and the gradient of x worked out while that is at hand
//! ```

use super::NormPool;
use crate::batch_norm::cpu::plane::{self, RUN};
use crate::batch_norm::cpu::{statistics, Affine, Lanes, Saved};
use crate::layout::{blocked_len, blocks, LANES};
use crate::max_pool2d::cpu::{pool, scatter, window};
use crate::max_pool2d::MaxPool2d;
use crate::simd::kernel;
use crate::{Buffer, Cpu, Result, View, ViewMut};

pub(super) fn forward_train(
    cpu: &Cpu,
    op: &NormPool,
    n: usize,
    x: &Buffer,
    params: View,
    saved: &mut Buffer,
    scratch: &mut Buffer,
    y: &mut Buffer,
    argmax: &mut Buffer,
) -> Result<()> {
    let (plane, output_plane, blocks) = planes(op);
    let saved = statistics(cpu, &op.norm, n, x, saved, scratch)?;
    let (x, params) = (x.slice::<f32>()?, params.slice::<f32>()?);
    let len = n * blocks * output_plane;
    let (y, argmax) = (&mut y.slice_mut::<f32>()?[..len], &mut argmax.slice_mut::<u8>()?[..len]);
    cpu.pool.zip_chunks_mut(y, output_plane, argmax, output_plane, |index, y, argmax| {
        let affine = saved.affine(&op.norm, params, index % blocks);
        pool::<1>(cpu.isa, &op.pool, &x[index * plane..][..plane], &affine, op.norm.relu, y, argmax);
    });
    Ok(())
}

pub(super) fn backward(
    cpu: &Cpu,
    op: &NormPool,
    n: usize,
    x: &Buffer,
    params: View,
    saved: &Buffer,
    argmax: &Buffer,
    scratch: &mut Buffer,
    dy: &Buffer,
    dx: &mut Buffer,
    mut grads: ViewMut,
) -> Result<()> {
    let (plane, output_plane, blocks) = planes(op);
    let (saved, x, params) = (Saved::new(&op.norm, saved)?, x.slice::<f32>()?, params.slice::<f32>()?);
    let (dy, argmax) = (dy.slice::<f32>()?, argmax.slice::<u8>()?);
    let output = |index: usize| index * output_plane..(index + 1) * output_plane;

    let sums = &mut scratch.slice_mut::<f64>()?[..op.norm.scratch_len(n)];
    cpu.pool.chunks_mut(sums, 2 * LANES, |index, sums| {
        let block = index % blocks;
        let (mean, affine) = (saved.mean(block), saved.affine(&op.norm, params, block));
        let (x, part) = (&x[index * plane..][..plane], output(index));
        let relu = op.norm.relu;
        gradient_sums(cpu.isa, &op.pool, x, &mean, &affine, relu, &dy[part.clone()], &argmax[part], sums);
    });
    let grads = &mut grads.slice_mut::<f32>()?[..2 * op.norm.channels];
    saved.parameter_gradients(cpu, &op.norm, n, sums, grads);

    let grads = &*grads;
    let dx = &mut dx.slice_mut::<f32>()?[..n * blocks * plane];
    cpu.pool.chunks_mut(dx, plane, |index, dx| {
        let (block, part) = (index % blocks, output(index));
        dx.fill(0.0);
        scatter(cpu.isa, &op.pool, &dy[part.clone()], &argmax[part], dx);
        let mask = op.norm.relu.then(|| saved.affine(&op.norm, params, block));
        let slope = saved.slope(&op.norm, n, params, grads, block);
        plane::input_gradient(cpu.isa, &x[index * plane..][..plane], None, mask.as_ref(), &slope, dx);
    });
    Ok(())
}

/// Elements of a plane of input and output, and blocks of channels.
fn planes(op: &NormPool) -> (usize, usize, usize) {
    let len = |[height, width]: [usize; 2]| blocked_len(1, 1, height, width);
    (len(op.norm.size), len(op.pool.output()), blocks(op.norm.channels))
}

kernel! {
    /// Writes the sums over windows of dy and of dy·(x − mean), with x at the maximum, where x·scale + shift is positive or
    /// there is no ReLU.
    fn gradient_sums<S>(
        op: &MaxPool2d,
        x: &[f32],
        mean: &Lanes,
        affine: &Affine,
        relu: bool,
        dy: &[f32],
        argmax: &[u8],
        sums: &mut [f64],
    ) {
        let (x, width, output_width) = (x.as_chunks::<LANES>().0, op.input[1], op.output()[1]);
        let (dy, argmax) = (dy.as_chunks::<LANES>().0, argmax.as_chunks::<LANES>().0);
        let (mut gradients, mut products) = ([0f64; LANES], [0f64; LANES]);
        for (p, (dy, argmax)) in dy.chunks(output_width).zip(argmax.chunks(output_width)).enumerate() {
            let (rows, top) = window(op, 0, p);
            for (run, (dy, argmax)) in dy.chunks(RUN).zip(argmax.chunks(RUN)).enumerate() {
                // SAFETY: every pointer is to an array of 16 values.
                let (gradient, product) = unsafe {
                    let (scale, shift) = (S::load(affine.scale.as_ptr()), S::load(affine.shift.as_ptr()));
                    let mean = S::load(mean.as_ptr());
                    let (mut gradient, mut product) = (S::splat(0.0), S::splat(0.0));
                    for (q, (dy, argmax)) in dy.iter().zip(argmax).enumerate() {
                        let (columns, left) = window(op, 1, run * RUN + q);
                        let mut numbers = [0f32; LANES];
                        for lane in 0..LANES {
                            numbers[lane] = f32::from(argmax[lane]);
                        }
                        let numbers = S::load(numbers.as_ptr());
                        let mut maximum = S::splat(0.0);
                        for (row, r) in rows.clone().enumerate() {
                            let line = &x[(top + row) * width + left..][..columns.len()];
                            let mut here = (r * op.kernel[1] + columns.start) as f32;
                            for pixel in line {
                                let value = S::where_equal(numbers, S::splat(here), S::load(pixel.as_ptr()));
                                maximum = S::add(maximum, value);
                                here += 1.0;
                            }
                        }
                        let dy = S::load(dy.as_ptr());
                        let dy = if relu { S::where_positive(S::fma(maximum, scale, shift), dy) } else { dy };
                        gradient = S::add(gradient, dy);
                        product = S::fma(dy, S::sub(maximum, mean), product);
                    }
                    (S::lanes(gradient), S::lanes(product))
                };
                for lane in 0..LANES {
                    gradients[lane] += f64::from(gradient[lane]);
                    products[lane] += f64::from(product[lane]);
                }
            }
        }
        sums[..LANES].copy_from_slice(&gradients);
        sums[LANES..].copy_from_slice(&products);
    }
}
