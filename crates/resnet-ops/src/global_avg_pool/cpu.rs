//! Global average pooling of one (image, block) plane at a time.

use super::GlobalAvgPool;
use crate::blocked::{blocked_len, LANES};
use crate::simd::kernel;
use crate::{Buffer, Cpu, GradientTarget, Result};

/// Pixels that are summed in f32 before they go into an f64 sum.
const RUN: usize = 16;

pub(super) fn forward(cpu: &Cpu, op: &GlobalAvgPool, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let plane = op.input[0] * op.input[1] * LANES;
    let x = &x.slice::<f32>()?[..blocked_len(n, op.channels, op.input[0], op.input[1])];
    let y = &mut y.slice_mut::<f32>()?[..blocked_len(n, op.channels, 1, 1)];
    cpu.pool.chunks_mut(y, LANES, |index, y| mean(cpu.isa, &x[index * plane..][..plane], y));
    Ok(())
}

pub(super) fn backward(cpu: &Cpu, op: &GlobalAvgPool, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let plane = op.input[0] * op.input[1] * LANES;
    let dy = &dy.slice::<f32>()?[..blocked_len(n, op.channels, 1, 1)];
    let GradientTarget { buffer: dx, accumulate } = dx;
    let dx = &mut dx.slice_mut::<f32>()?[..blocked_len(n, op.channels, op.input[0], op.input[1])];
    cpu.pool.chunks_mut(dx, plane, |index, dx| spread(cpu.isa, &dy[index * LANES..][..LANES], dx, accumulate));
    Ok(())
}

kernel! {
    fn mean<S>(x: &[f32], y: &mut [f32]) {
        let pixels = x.as_chunks::<LANES>().0;
        let mut sum = [0f64; LANES];
        for run in pixels.chunks(RUN) {
            let mut partial = [0f32; LANES];
            for pixel in run {
                for lane in 0..LANES {
                    partial[lane] += pixel[lane];
                }
            }
            for lane in 0..LANES {
                sum[lane] += f64::from(partial[lane]);
            }
        }
        for (y, sum) in y.iter_mut().zip(sum) {
            *y = (sum / pixels.len() as f64) as f32;
        }
    }
}

kernel! {
    fn spread<S>(dy: &[f32], dx: &mut [f32], accumulate: bool) {
        let pixels = dx.as_chunks_mut::<LANES>().0;
        let share = 1.0 / pixels.len() as f32;
        let mut gradient = [0f32; LANES];
        for lane in 0..LANES {
            gradient[lane] = dy[lane] * share;
        }
        for pixel in pixels {
            for lane in 0..LANES {
                pixel[lane] = if accumulate { pixel[lane] + gradient[lane] } else { gradient[lane] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::global_avg_pool::{backward, forward, GlobalAvgPool};
    use crate::layout::{blocked_len, from_nchw, to_nchw};
    use crate::{Buffer, DType, Executor, GradientTarget, Isa};

    #[test]
    fn averages_and_spreads_with_zero_lanes_beyond_the_channels() {
        let (n, c, h, w) = (2, 19, 7, 5);
        let op = GlobalAvgPool { channels: c, input: [h, w] };
        let values: Vec<f32> = (0..n * c * h * w).map(|i| (i % 17) as f32 + 1000.0).collect();
        for isa in Isa::available() {
            let cpu = Executor::cpu_with(2, isa).unwrap();
            let mut x = Buffer::zeros(DType::F32, blocked_len(n, c, h, w)).unwrap();
            from_nchw(&cpu, [n, c, h, w], &Buffer::from_slice(&values).unwrap(), &mut x).unwrap();
            let mut y = Buffer::from_slice(&vec![9f32; blocked_len(n, c, 1, 1)]).unwrap();
            forward(&cpu, &op, n, &x, &mut y).unwrap();
            for (i, &y) in y.slice::<f32>().unwrap().iter().enumerate() {
                let (image, channel) = (i / 32, i % 32);
                let plane = values.get((image * c + channel) * h * w..).filter(|_| channel < c);
                let mean = plane.map_or(0.0, |plane| plane[..h * w].iter().sum::<f32>() / (h * w) as f32);
                assert!((y - mean).abs() < 1e-3, "{y} for {mean}");
            }
            let mut dx = Buffer::from_slice(&vec![9f32; x.len()]).unwrap();
            for accumulate in [false, true] {
                backward(&cpu, &op, n, &y, GradientTarget { buffer: &mut dx, accumulate }).unwrap();
            }
            let mut plain = Buffer::zeros(DType::F32, values.len()).unwrap();
            to_nchw(&cpu, [n, c, h, w], &dx, &mut plain).unwrap();
            for (i, &dx) in plain.slice::<f32>().unwrap().iter().enumerate() {
                let (image, channel) = (i / (h * w) / c, i / (h * w) % c);
                let expected = 2.0 * y.slice::<f32>().unwrap()[image * 32 + channel] / (h * w) as f32;
                assert!((dx - expected).abs() < 1e-4);
            }
            let lanes_beyond = |i: &usize| i / (h * w * 16) % 2 == 1 && i % 16 >= c - 16;
            let dx = dx.slice::<f32>().unwrap();
            assert!((0..dx.len()).filter(lanes_beyond).all(|i| dx[i] == 0.0));
        }
    }
}
