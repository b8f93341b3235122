//! Activation layouts.
//!
//! The reference backend keeps (N, C, H, W). The CPU backend keeps nChw16c: (N, ⌈C/16⌉, H, W, 16), so that 16
//! neighbouring channels of a pixel fill one 512-bit vector on every instruction set. Lanes beyond the real channels are
//! zero on entry to and exit from every op. A map of 1x1, the features before a linear layer, is thus (N, ⌈C/16⌉·16).
//! A GPU keeps (N, H, W, C), C rounded up to whole octets, with the same rule for the lanes beyond.

use crate::{Buffer, Cpu, Element, Executor, Result};

pub use crate::blocked::{blocked_len, blocks, LANES};

/// Copies `n` images of `c` channels of `h` by `w` values, (N, C, H, W) of the executor's parameter type, into the executor's
/// activation layout; lanes beyond `c` become zero.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
pub fn from_nchw(executor: &Executor, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
    match executor {
        Executor::ReferenceF32 => copy::<f32>(n * c * h * w, source, target),
        Executor::ReferenceF64 => copy::<f64>(n * c * h * w, source, target),
        Executor::Cpu(cpu) => to_blocks(cpu, [n, c, h * w], source, target),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::from_nchw(cuda, [n, c, h, w], source, target),
    }
}

/// Copies an activation in the executor's layout to (N, C, H, W) values of its parameter type.
///
/// # Errors
/// As for [`from_nchw`].
pub fn to_nchw(executor: &Executor, [n, c, h, w]: [usize; 4], source: &Buffer, target: &mut Buffer) -> Result<()> {
    match executor {
        Executor::ReferenceF32 => copy::<f32>(n * c * h * w, source, target),
        Executor::ReferenceF64 => copy::<f64>(n * c * h * w, source, target),
        Executor::Cpu(cpu) => from_blocks(cpu, [n, c, h * w], source, target),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::to_nchw(cuda, [n, c, h, w], source, target),
    }
}

fn to_blocks(cpu: &Cpu, [n, c, pixels]: [usize; 3], source: &Buffer, target: &mut Buffer) -> Result<()> {
    let source = &source.slice::<f32>()?[..n * c * pixels];
    let target = &mut target.slice_mut::<f32>()?[..blocked_len(n, c, pixels, 1)];
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

fn from_blocks(cpu: &Cpu, [n, c, pixels]: [usize; 3], source: &Buffer, target: &mut Buffer) -> Result<()> {
    let source = &source.slice::<f32>()?[..blocked_len(n, c, pixels, 1)];
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

fn copy<T: Element>(len: usize, source: &Buffer, target: &mut Buffer) -> Result<()> {
    target.slice_mut::<T>()?[..len].copy_from_slice(&source.slice::<T>()?[..len]);
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
