//! Concatenation on a GPU.

use super::Concat;
use crate::cuda::{arguments, padded, Address, Cuda};
use crate::{Buffer, GradientTarget, Result};

/// A run of channels in a pixel of so many lanes.
struct ChannelRun {
    start: usize,
    lanes: usize,
    address: Address,
}

pub(super) fn forward(cuda: &Cuda, op: &Concat, n: usize, inputs: &[&Buffer], y: &mut Buffer) -> Result<()> {
    let (pixels, lanes) = (n * op.size[0] * op.size[1], padded(op.output_channels()));
    let address = cuda.real(y, pixels * lanes)?;
    for (branch, input) in inputs.iter().enumerate() {
        let (real, start) = (op.channels[branch], op.offset(branch));
        // The last one clears what is left of the last octet.
        let width = if branch + 1 == inputs.len() { lanes - start } else { real };
        let source = ChannelRun { start: 0, lanes: padded(real), address: cuda.real(input, pixels * padded(real))? };
        copy(cuda, pixels, width, real, source, ChannelRun { start, lanes, address }, false)?;
    }
    Ok(())
}

pub(super) fn backward(
    cuda: &Cuda,
    op: &Concat,
    n: usize,
    branch: usize,
    dy: &Buffer,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let (pixels, real) = (n * op.size[0] * op.size[1], op.channels[branch]);
    let lanes = padded(op.output_channels());
    let source = ChannelRun { start: op.offset(branch), lanes, address: cuda.real(dy, pixels * lanes)? };
    let target = ChannelRun { start: 0, lanes: padded(real), address: cuda.real(dx, pixels * padded(real))? };
    copy(cuda, pixels, padded(real), real, source, target, accumulate)
}

fn copy(
    cuda: &Cuda,
    pixels: usize,
    width: usize,
    real: usize,
    source: ChannelRun,
    target: ChannelRun,
    accumulate: bool,
) -> Result<()> {
    let total = pixels * width;
    let [width, real, from, source_lanes] = [width, real, source.start, source.lanes].map(|size| size as i32);
    let [to, target_lanes] = [target.start, target.lanes].map(|size| size as i32);
    let (source, target) = (source.address, target.address);
    let arguments =
        arguments![total as i64, width, real, from, source_lanes, to, target_lanes, accumulate, source, target];
    // SAFETY: both parts lie within the lanes of so many pixels.
    unsafe { cuda.launch("concat_copy", total, arguments) }
}
