//! Concatenation, one (image, block) plane of the target at a time. Where 16 channels are a block in source and target, the
//! plane is copied; elsewhere channels change their lanes.

use super::Concat;
use crate::add::add_to;
use crate::blocked::{blocked_len, blocks, channels_of, lanes_of, LANES};
use crate::simd::kernel;
use crate::{Buffer, Cpu, GradientTarget, Isa, Result};
use std::ops::Range;

pub(super) fn forward(cpu: &Cpu, op: &Concat, n: usize, inputs: &[&Buffer], y: &mut Buffer) -> Result<()> {
    let ([h, w], channels) = (op.size, op.output_channels());
    let inputs = inputs.iter().map(|input| input.slice::<f32>()).collect::<Result<Vec<_>>>()?;
    let y = &mut y.slice_mut::<f32>()?[..blocked_len(n, channels, h, w)];
    cpu.pool.chunks_mut(y, h * w * LANES, |index, y| {
        let image = index / blocks(channels);
        let block = channels_of(channels, index % blocks(channels));
        if block.len() < LANES {
            y.fill(0.0);
        }
        for (branch, x) in inputs.iter().enumerate() {
            let (offset, len) = (op.offset(branch), blocked_len(1, op.channels[branch], h, w));
            let (start, end) = (block.start.max(offset), block.end.min(offset + op.channels[branch]));
            if start < end {
                let x = &x[image * len..][..len];
                move_channels(cpu.isa, x, start - offset..end - offset, y, start - block.start, false);
            }
        }
    });
    Ok(())
}

pub(super) fn backward(cpu: &Cpu, op: &Concat, n: usize, branch: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let ([h, w], channels, offset) = (op.size, op.channels[branch], op.offset(branch));
    let (dy, len) = (dy.slice::<f32>()?, blocked_len(1, op.output_channels(), h, w));
    let dx = &mut dx.slice_mut::<f32>()?[..blocked_len(n, channels, h, w)];
    cpu.pool.chunks_mut(dx, h * w * LANES, |index, dx| {
        let dy = &dy[index / blocks(channels) * len..][..len];
        let block = channels_of(channels, index % blocks(channels));
        if block.len() < LANES && !accumulate {
            dx.fill(0.0);
        }
        move_channels(cpu.isa, dy, block.start + offset..block.end + offset, dx, 0, accumulate);
    });
    Ok(())
}

/// Writes these channels of a blocked image to lanes `to..` of the plane `target`, or adds them if `accumulate`.
fn move_channels(
    isa: Isa,
    source: &[f32],
    channels: Range<usize>,
    target: &mut [f32],
    mut to: usize,
    accumulate: bool,
) {
    for (block, lanes) in lanes_of(channels) {
        let plane = &source[block * target.len()..][..target.len()];
        match (lanes.len(), accumulate) {
            (LANES, false) => target.copy_from_slice(plane),
            (LANES, true) => add_to(isa, plane, target),
            _ => move_lanes(isa, plane, lanes.start, target, to, lanes.len(), accumulate),
        }
        to += lanes.len();
    }
}

kernel! {
    fn move_lanes<S>(source: &[f32], from: usize, target: &mut [f32], to: usize, lanes: usize, accumulate: bool) {
        let (source, target) = (source.as_chunks::<LANES>().0, target.as_chunks_mut::<LANES>().0);
        for (source, target) in source.iter().zip(target) {
            for (target, &source) in target[to..][..lanes].iter_mut().zip(&source[from..][..lanes]) {
                *target = if accumulate { *target + source } else { source };
            }
        }
    }
}
