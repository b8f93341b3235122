//! Kernels of one (image, block) plane.

use super::Statistics;
use crate::affine::{Affine, Lanes};
use crate::blocked::LANES;
use crate::simd::kernel;

/// Pixels that are summed in f32 before they go into an f64 sum.
const RUN: usize = 16;

/// Where the gradient of the output goes on to x.
pub(crate) enum ReluMask<'a> {
    /// No ReLU follows.
    Everywhere,
    /// Where x·scale + shift is positive.
    Input(Affine),
    /// Where the output is positive.
    Output(&'a [f32]),
}

/// The gradient of x is scale·(dy − constant + linear·(x − mean)), or scale·dy with running statistics.
pub(crate) struct Slope {
    pub(super) statistics: Statistics,
    pub(super) mean: Lanes,
    pub(super) constant: Lanes,
    pub(super) linear: Lanes,
    pub(super) scale: Lanes,
}

kernel! {
    /// Writes the means of the lanes and the sums of squared distances from them.
    pub(crate) fn moments<S>(x: &[f32], moments: &mut [f64]) {
        let pixels = x.as_chunks::<LANES>().0;
        // Distances from a value of the plane itself: squares of the values would drown a small variance in a large mean.
        let first = pixels[0];
        let (mut sums, mut squares) = ([0f64; LANES], [0f64; LANES]);
        for run in pixels.chunks(RUN) {
            // SAFETY: every pointer is to an array of 16 values.
            let (sum, square) = unsafe {
                let first = S::load(first.as_ptr());
                let (mut sum, mut square) = (S::splat(0.0), S::splat(0.0));
                for pixel in run {
                    let distance = S::sub(S::load(pixel.as_ptr()), first);
                    sum = S::add(sum, distance);
                    square = S::fma(distance, distance, square);
                }
                (S::lanes(sum), S::lanes(square))
            };
            for lane in 0..LANES {
                sums[lane] += f64::from(sum[lane]);
                squares[lane] += f64::from(square[lane]);
            }
        }
        let count = pixels.len() as f64;
        for lane in 0..LANES {
            let distance = sums[lane] / count;
            moments[lane] = f64::from(first[lane]) + distance;
            moments[LANES + lane] = squares[lane] - sums[lane] * distance;
        }
    }
}

kernel! {
    /// y = act(x·scale + shift + shortcut), where act is ReLU or nothing.
    pub(super) fn normalise<S>(x: &[f32], affine: &Affine, shortcut: Option<&[f32]>, relu: bool, y: &mut [f32]) {
        let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
        let shortcut = shortcut.map(|shortcut| shortcut.as_chunks::<LANES>().0);
        // SAFETY: every pointer is to an array of 16 values.
        unsafe {
            let (scale, shift) = (S::load(affine.scale.as_ptr()), S::load(affine.shift.as_ptr()));
            // Of which the larger is taken; without ReLU nothing is below it. NaN stays NaN.
            let floor = S::splat(if relu { 0.0 } else { f32::NEG_INFINITY });
            match shortcut {
                None => {
                    for (y, x) in y.iter_mut().zip(x) {
                        let value = S::fma(S::load(x.as_ptr()), scale, shift);
                        S::store(y.as_mut_ptr(), S::max(floor, value));
                    }
                }
                Some(shortcut) => {
                    for ((y, x), shortcut) in y.iter_mut().zip(x).zip(shortcut) {
                        let value = S::fma(S::load(x.as_ptr()), scale, shift);
                        let value = S::add(value, S::load(shortcut.as_ptr()));
                        S::store(y.as_mut_ptr(), S::max(floor, value));
                    }
                }
            }
        }
    }
}

kernel! {
    /// Writes the sums over pixels of dy and of dy·(x − mean), where dy is masked. A mask by the output is applied to `dy`
    /// itself, since the shortcut's gradient is masked alike.
    pub(crate) fn gradient_sums<S>(x: &[f32], mean: &Lanes, mask: &ReluMask, dy: &mut [f32], sums: &mut [f64]) {
        let (x, dy) = (x.as_chunks::<LANES>().0, dy.as_chunks_mut::<LANES>().0);
        let (mut gradients, mut products) = ([0f64; LANES], [0f64; LANES]);
        for (run, (x, dy)) in x.chunks(RUN).zip(dy.chunks_mut(RUN)).enumerate() {
            // SAFETY: every pointer is to an array of 16 values.
            let (gradient, product) = unsafe {
                let mean = S::load(mean.as_ptr());
                let (mut gradient, mut product) = (S::splat(0.0), S::splat(0.0));
                match mask {
                    ReluMask::Everywhere => {
                        for (x, dy) in x.iter().zip(dy) {
                            let dy = S::load(dy.as_ptr());
                            gradient = S::add(gradient, dy);
                            product = S::fma(dy, S::sub(S::load(x.as_ptr()), mean), product);
                        }
                    }
                    ReluMask::Input(affine) => {
                        let (scale, shift) = (S::load(affine.scale.as_ptr()), S::load(affine.shift.as_ptr()));
                        for (x, dy) in x.iter().zip(dy) {
                            let x = S::load(x.as_ptr());
                            let dy = S::where_positive(S::fma(x, scale, shift), S::load(dy.as_ptr()));
                            gradient = S::add(gradient, dy);
                            product = S::fma(dy, S::sub(x, mean), product);
                        }
                    }
                    ReluMask::Output(y) => {
                        let y = &y.as_chunks::<LANES>().0[run * RUN..];
                        for ((x, dy), y) in x.iter().zip(dy).zip(y) {
                            let masked = S::where_positive(S::load(y.as_ptr()), S::load(dy.as_ptr()));
                            S::store(dy.as_mut_ptr(), masked);
                            gradient = S::add(gradient, masked);
                            product = S::fma(masked, S::sub(S::load(x.as_ptr()), mean), product);
                        }
                    }
                }
                (S::lanes(gradient), S::lanes(product))
            };
            for lane in 0..LANES {
                gradients[lane] += f64::from(gradient[lane]);
                products[lane] += f64::from(product[lane]);
            }
        }
        sums[..LANES].copy_from_slice(&gradients);
        sums[LANES..].copy_from_slice(&products);
    }
}

kernel! {
    /// Writes the gradient of x. Without `dy`, `dx` holds it on entry; `mask` says where x·scale + shift must be positive.
    pub(crate) fn input_gradient<S>(
        x: &[f32],
        dy: Option<&[f32]>,
        mask: Option<&Affine>,
        slope: &Slope,
        dx: &mut [f32],
    ) {
        let (x, dx) = (x.as_chunks::<LANES>().0, dx.as_chunks_mut::<LANES>().0);
        let dy = dy.map(|dy| dy.as_chunks::<LANES>().0);
        // SAFETY: every pointer is to an array of 16 values.
        unsafe {
            let (mean, scale) = (S::load(slope.mean.as_ptr()), S::load(slope.scale.as_ptr()));
            let (constant, linear) = (S::load(slope.constant.as_ptr()), S::load(slope.linear.as_ptr()));
            for (pixel, (x, dx)) in x.iter().zip(dx).enumerate() {
                let x = S::load(x.as_ptr());
                let mut dy = S::load(dy.map_or(dx.as_ptr(), |dy| dy[pixel].as_ptr()));
                if let Some(affine) = mask {
                    let (scale, shift) = (S::load(affine.scale.as_ptr()), S::load(affine.shift.as_ptr()));
                    dy = S::where_positive(S::fma(x, scale, shift), dy);
                }
                let value = match slope.statistics {
                    Statistics::Batch => S::fma(S::sub(x, mean), linear, S::sub(dy, constant)),
                    // Without x, of which an infinite one times a linear part of 0 would be NaN.
                    Statistics::Running => dy,
                };
                S::store(dx.as_mut_ptr(), S::mul(value, scale));
            }
        }
    }
}
