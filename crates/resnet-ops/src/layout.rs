//! Activation layouts.
//!
//! The reference backend keeps (N, C, H, W). The CPU backend keeps nChw16c: (N, ⌈C/16⌉, H, W, 16), so that 16
//! neighbouring channels of a pixel fill one 512-bit vector on every instruction set. Lanes beyond the real channels are
//! zero on entry to and exit from every op. A map of 1x1, the features before a linear layer, is thus (N, ⌈C/16⌉·16).
//! A GPU keeps (N, H, W, C), C rounded up to whole octets, with the same rule for the lanes beyond.

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

/// Copies (N, C, H, W) values, of the executor's exact type, into the executor's activation layout; lanes beyond `c` become zero.
pub fn from_nchw(executor: &Executor, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
    let cpu = match executor {
        Executor::Cpu(cpu) => cpu,
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => return cuda::from_nchw(cuda, [n, c, h, w], source, target),
        _ => return copy_plain(executor, n * c * h * w, source, target),
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

/// Copies an activation in the executor's layout to (N, C, H, W) values of its exact type.
pub fn to_nchw(executor: &Executor, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
    let cpu = match executor {
        Executor::Cpu(cpu) => cpu,
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => return cuda::to_nchw(cuda, [n, c, h, w], source, target),
        _ => return copy_plain(executor, n * c * h * w, source, target),
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

#[cfg(feature = "cuda-kernels")]
mod cuda {
    use crate::cuda::{arguments, padded, Cuda, OCTET};
    use crate::{Buffer, DType, Result};

    pub fn from_nchw(cuda: &Cuda, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
        let (pixels, plane) = (n * h * w, h * w);
        let source = cuda.address(source, DType::F32, pixels * c)?;
        let target = cuda.real(target, pixels * padded(c))?;
        let arguments = arguments![pixels as i64, plane as i32, c as i32, source, target];
        // SAFETY: the images have so many values, and so has the activation.
        unsafe { cuda.launch("from_nchw", pixels * padded(c) / OCTET, arguments) }
    }

    pub fn to_nchw(cuda: &Cuda, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
        let (pixels, plane) = (n * h * w, h * w);
        let source = cuda.real(source, pixels * padded(c))?;
        let target = cuda.address(target, DType::F32, pixels * c)?;
        let arguments = arguments![(pixels * c) as i64, plane as i32, c as i32, source, target];
        // SAFETY: the activation has so many values, and so have the images.
        unsafe { cuda.launch("to_nchw", pixels * c, arguments) }
    }
}
