//! Padding of channels, one (image, block) plane of the target at a time.

use super::PadChannels;
use crate::blocked::{blocked_len, blocks, channels_of, lanes_of, LANES};
use crate::simd::kernel;
use crate::{Buffer, Cpu, GradientTarget, Result};
use std::ops::Range;

pub(super) fn forward(cpu: &Cpu, op: &PadChannels, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let ([height, width], output) = (op.input, op.output());
    let (image_len, plane) = (blocked_len(1, op.channels, height, width), height * width * LANES);
    let x = x.slice::<f32>()?;
    let y = &mut y.slice_mut::<f32>()?[..blocked_len(n, op.out_channels, output[0], output[1])];
    cpu.pool.chunks_mut(y, output[0] * output[1] * LANES, |index, y| {
        let x = &x[index / blocks(op.out_channels) * image_len..][..image_len];
        let block = channels_of(op.out_channels, index % blocks(op.out_channels));
        let (start, end) = (block.start.max(op.before), block.end.min(op.before + op.channels));
        if start > block.start || end < block.start + LANES {
            y.fill(0.0);
        }
        if start < end {
            let mut to = start - block.start;
            for (block, from) in lanes_of(start - op.before..end - op.before) {
                take(cpu.isa, op, &x[block * plane..][..plane], from.clone(), y, to);
                to += from.len();
            }
        }
    });
    Ok(())
}

pub(super) fn backward(cpu: &Cpu, op: &PadChannels, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let ([height, width], output) = (op.input, op.output());
    let (image_len, plane) = (blocked_len(1, op.out_channels, output[0], output[1]), output[0] * output[1] * LANES);
    let dy = dy.slice::<f32>()?;
    let dx = &mut dx.slice_mut::<f32>()?[..blocked_len(n, op.channels, height, width)];
    cpu.pool.chunks_mut(dx, height * width * LANES, |index, dx| {
        if !accumulate {
            dx.fill(0.0);
        }
        let dy = &dy[index / blocks(op.channels) * image_len..][..image_len];
        let block = channels_of(op.channels, index % blocks(op.channels));
        let mut to = 0;
        for (block, from) in lanes_of(block.start + op.before..block.end + op.before) {
            give_back(cpu.isa, op, &dy[block * plane..][..plane], from.clone(), dx, to);
            to += from.len();
        }
    });
    Ok(())
}

kernel! {
    /// Writes lanes `from` of the pixels that are taken to lanes `to..` of y.
    fn take<S>(op: &PadChannels, x: &[f32], from: Range<usize>, y: &mut [f32], to: usize) {
        let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
        for (i, y) in y.chunks_mut(op.output()[1]).enumerate() {
            let row = &x[i * op.stride[0] * op.input[1]..][..op.input[1]];
            for (x, y) in row.iter().step_by(op.stride[1]).zip(y) {
                y[to..][..from.len()].copy_from_slice(&x[from.clone()]);
            }
        }
    }
}

kernel! {
    /// Adds lanes `from` of dy to lanes `to..` of the pixels that were taken.
    fn give_back<S>(op: &PadChannels, dy: &[f32], from: Range<usize>, dx: &mut [f32], to: usize) {
        let (dy, dx) = (dy.as_chunks::<LANES>().0, dx.as_chunks_mut::<LANES>().0);
        for (i, dy) in dy.chunks(op.output()[1]).enumerate() {
            let row = &mut dx[i * op.stride[0] * op.input[1]..][..op.input[1]];
            for (dx, dy) in row.iter_mut().step_by(op.stride[1]).zip(dy) {
                for (dx, &dy) in dx[to..].iter_mut().zip(&dy[from.clone()]) {
                    *dx += dy;
                }
            }
        }
    }
}
