//! The bias, packed, and its gradient.

use crate::algorithm::Pass;
use crate::blocked::{self, LANES};
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;

/// Writes what the sums of a pass begin with, in whole blocks: forward the bias, else zeros.
pub(super) fn pack_bias(shape: &ConvShape, pass: Pass, params: &[f32], packed: &mut [f32]) {
    let bias = match pass {
        Pass::Forward => &params[shape.weight_len()..],
        Pass::InputGradient | Pass::WeightGradient => &[],
    };
    packed.fill(0.0);
    packed[..bias.len()].copy_from_slice(bias);
}

/// Writes the gradient of the bias, or zeros if it is to be skipped.
pub(super) fn bias_gradients(cpu: &Cpu, shape: &ConvShape, n: usize, dy: &[f32], bias: &mut [f32], skip: bool) {
    if skip {
        bias.fill(0.0);
    } else {
        cpu.pool.chunks_mut(bias, LANES, |block, bias| bias_gradient(shape, n, dy, block, bias));
    }
}

/// The sum of a block's output gradients over pixels, then over images.
fn bias_gradient(shape: &ConvShape, n: usize, dy: &[f32], block: usize, bias: &mut [f32]) {
    let pixels = shape.output()[0] * shape.output()[1];
    let mut total = [0f64; LANES];
    for image in 0..n {
        let plane = &dy[(image * blocked::blocks(shape.out_channels) + block) * pixels * LANES..][..pixels * LANES];
        let mut sum = [0f32; LANES];
        for pixel in plane.chunks_exact(LANES) {
            for lane in 0..LANES {
                sum[lane] += pixel[lane];
            }
        }
        for lane in 0..LANES {
            total[lane] += f64::from(sum[lane]);
        }
    }
    for (bias, total) in bias.iter_mut().zip(total) {
        *bias = total as f32;
    }
}
