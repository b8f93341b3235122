//! Activation layouts.
//!
//! The reference backend keeps (N, C, H, W). The CPU backend keeps nChw16c: (N, ⌈C/16⌉, H, W, 16), so that 16
//! neighbouring channels of a pixel fill one 512-bit vector on every instruction set. Lanes beyond the real channels are
//! zero on entry to and exit from every op. A map of 1x1, the features before a linear layer, is thus (N, ⌈C/16⌉·16).

use crate::{Buffer, Executor};
use candle_core::{bail, Result};

/// Channels in a block.
pub const LANES: usize = 16;

/// Blocks that hold `channels` channels.
pub const fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// Elements of a blocked activation.
pub const fn blocked_len(n: usize, c: usize, h: usize, w: usize) -> usize {
    n * blocks(c) * h * w * LANES
}

/// Copies (N, C, H, W) values into the executor's activation layout; lanes beyond `c` become zero.
pub fn from_nchw(executor: &Executor, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
    let Executor::Cpu(cpu) = executor else {
        return copy_plain(executor, n * c * h * w, source, target);
    };
    let pixels = h * w;
    let source = &source.slice::<f32>()?[..n * c * pixels];
    let target = &mut target.slice_mut::<f32>()?[..blocked_len(n, c, h, w)];
    cpu.pool.chunks_mut(target, pixels * LANES, |index, block| {
        let (image, first) = (index / blocks(c), index % blocks(c) * LANES);
        for lane in 0..LANES {
            let plane = (first + lane < c).then(|| &source[(image * c + first + lane) * pixels..][..pixels]);
            for pixel in 0..pixels {
                block[pixel * LANES + lane] = plane.map_or(0.0, |plane| plane[pixel]);
            }
        }
    });
    Ok(())
}

/// Copies an activation in the executor's layout to (N, C, H, W).
pub fn to_nchw(executor: &Executor, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
    let Executor::Cpu(cpu) = executor else {
        return copy_plain(executor, n * c * h * w, source, target);
    };
    let pixels = h * w;
    let source = &source.slice::<f32>()?[..blocked_len(n, c, h, w)];
    let target = &mut target.slice_mut::<f32>()?[..n * c * pixels];
    cpu.pool.chunks_mut(target, pixels, |index, plane| {
        let (image, channel) = (index / c, index % c);
        let block = &source[(image * blocks(c) + channel / LANES) * pixels * LANES..][..pixels * LANES];
        for pixel in 0..pixels {
            plane[pixel] = block[pixel * LANES + channel % LANES];
        }
    });
    Ok(())
}

fn copy_plain(executor: &Executor, len: usize, source: &Buffer, target: &mut Buffer) -> Result<()> {
    match executor.dtype() {
        candle_core::DType::F32 => target.slice_mut::<f32>()?[..len].copy_from_slice(&source.slice::<f32>()?[..len]),
        candle_core::DType::F64 => target.slice_mut::<f64>()?[..len].copy_from_slice(&source.slice::<f64>()?[..len]),
        other => bail!("activations are f32 or f64, not {other:?}"),
    }
    Ok(())
}
