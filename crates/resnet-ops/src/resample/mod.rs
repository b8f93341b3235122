//! Resampling of images by weighted sums of neighbouring pixels, in a pass across and a pass down: of one plane on the thread
//! that asks for it, of a batch on a GPU that holds a data set's pixels.

use crate::{Buffer, DType, Element, Executor, Result};
use candle_core::bail;
use std::ops::Range;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;

/// How pixels are weighted, summed and rounded.
pub trait Arithmetic {
    /// A value of the plane.
    type Pixel: Element;
    /// A weight, and a sum.
    type Sum: Copy + Into<f64>;
    /// The GPU's kernels of the first pass and of the last, and the type of their weights.
    #[doc(hidden)]
    const KERNELS: ([&'static str; 2], DType);
    /// What a sum starts from.
    const START: Self::Sum;
    /// A sum with one more weighted pixel.
    fn add(sum: Self::Sum, weight: Self::Sum, pixel: Self::Pixel) -> Self::Sum;
    /// The pixel that a sum becomes.
    fn finish(sum: Self::Sum) -> Self::Pixel;
    /// Turns so many rows into columns.
    #[doc(hidden)]
    #[inline(always)]
    fn transpose(from: &[Self::Pixel], rows: usize, to: &mut [Self::Pixel]) {
        cpu::transpose(from, rows, to);
    }
}

/// Pillow's arithmetic for 8-bit pixels: fixed point.
pub struct Fixed;

/// Pillow's arithmetic for pixels of mode F: f32, summed in f64.
pub struct Double;

/// PyTorch's arithmetic for f32 tensors.
pub struct Single;

/// Bits after the point: 32, less 8 of the pixel and 2 that keep sums from overflowing.
const PRECISION: u32 = 22;

impl Arithmetic for Fixed {
    type Pixel = u8;
    type Sum = i32;
    // Its weights are not negative.
    const KERNELS: ([&'static str; 2], DType) = (["resample_fixed_to_bytes", "resample_fixed"], DType::U32);
    const START: i32 = 1 << (PRECISION - 1);
    #[inline(always)]
    fn add(sum: i32, weight: i32, pixel: u8) -> i32 {
        sum + weight * i32::from(pixel)
    }
    #[inline(always)]
    fn finish(sum: i32) -> u8 {
        (sum >> PRECISION).clamp(0, 255) as u8
    }
    #[inline(always)]
    fn transpose(from: &[u8], rows: usize, to: &mut [u8]) {
        cpu::transpose_bytes(from, rows, to);
    }
}

impl Arithmetic for Double {
    type Pixel = f32;
    type Sum = f64;
    const KERNELS: ([&'static str; 2], DType) = (["resample_double"; 2], DType::F64);
    const START: f64 = 0.0;
    #[inline(always)]
    fn add(sum: f64, weight: f64, pixel: f32) -> f64 {
        sum + weight * f64::from(pixel)
    }
    #[inline(always)]
    fn finish(sum: f64) -> f32 {
        sum as f32
    }
}

impl Arithmetic for Single {
    type Pixel = f32;
    type Sum = f32;
    const KERNELS: ([&'static str; 2], DType) = (["resample_single"; 2], DType::F32);
    const START: f32 = 0.0;
    #[inline(always)]
    fn add(sum: f32, weight: f32, pixel: f32) -> f32 {
        sum + weight * pixel
    }
    #[inline(always)]
    fn finish(sum: f32) -> f32 {
        sum
    }
}

/// The input pixels from `start` on that make one output pixel, with their weights.
pub struct Window<W> {
    start: usize,
    weights: Vec<W>,
}

/// Pillow's bilinear windows from `input` to `output` pixels along an axis, at least one of each: a triangle that is two output
/// pixels wide when shrinking, two input pixels when growing.
pub fn pillow_windows(input: usize, output: usize) -> Vec<Window<f64>> {
    pillow_windows_within(input, [0.0, input as f32], output)
}

/// The same windows for a section of the axis, from and to these places (Pillow's `box`), at least a part of a pixel long.
pub fn pillow_windows_within(input: usize, [from, to]: [f32; 2], output: usize) -> Vec<Window<f64>> {
    let scale = f64::from(to - from) / output as f64;
    let support = scale.max(1.0);
    let window = |index: usize| {
        let center = f64::from(from) + (index as f64 + 0.5) * scale;
        let Range { start, end } = (center - support + 0.5) as usize..((center + support + 0.5) as usize).min(input);
        // A multiplication by the inverse, as Pillow does it: a division rounds differently.
        let distance = |pixel: usize| ((pixel as f64 - center + 0.5) * (1.0 / support)).abs();
        let weights: Vec<f64> = (start..end).map(|pixel| (1.0 - distance(pixel)).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        Window { start, weights: weights.into_iter().map(|weight| weight / sum).collect() }
    };
    (0..output).map(window).collect()
}

/// The same windows with weights in fixed point.
pub fn fixed_point(windows: &[Window<f64>]) -> Vec<Window<i32>> {
    let fixed = |weight: &f64| (0.5 + weight * f64::from(1u32 << PRECISION)) as i32;
    windows.iter().map(|w| Window { start: w.start, weights: w.weights.iter().map(fixed).collect() }).collect()
}

/// PyTorch's bilinear windows without antialiasing, from `input` to `output` pixels along an axis, at least one of each: the two
/// nearest pixels, the border's own beyond the border.
pub fn torch_windows(input: usize, output: usize) -> Vec<Window<f32>> {
    let scale = input as f32 / output as f32;
    let window = |index: usize| {
        let place = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
        let start = (place as usize).min(input - 1);
        let second = place - start as f32;
        let weights = if start + 1 < input { vec![1.0 - second, second] } else { vec![1.0] };
        Window { start, weights }
    };
    (0..output).map(window).collect()
}

/// Whether Pillow (since version 13) goes down before it goes across, from and to these heights and widths: where that saves work.
pub fn pillow_goes_down_first(input: [usize; 2], output: [usize; 2]) -> bool {
    let lost = |axis: usize| input[axis].saturating_sub(output[axis]);
    lost(0) > 2 * lost(1)
}

/// The windows of both passes for one input and output size.
pub struct Passes<A: Arithmetic> {
    /// One window for each output row.
    pub down: Vec<Window<A::Sum>>,
    /// One window for each output column.
    pub across: Vec<Window<A::Sum>>,
    /// Which pass comes first: it matters to what is rounded between them.
    pub down_first: bool,
}

/// Images that a GPU holds, to make batches of.
#[cfg_attr(not(feature = "cuda-kernels"), allow(dead_code))]
pub struct ResidentImages {
    pixels: Buffer,
    count: usize,
    /// Channels, height and width of an image.
    image: [usize; 3],
    passes: Vec<ResidentPass>,
    /// What pixels are between the passes.
    between: DType,
}

/// A pass, with its windows where the kernels read them.
#[cfg_attr(not(feature = "cuda-kernels"), allow(dead_code))]
struct ResidentPass {
    kernel: &'static str,
    is_down: bool,
    /// Rows or columns that it makes.
    outputs: usize,
    /// Where each window starts, then where its weights begin among all, then where the last one's end.
    windows: Buffer,
    weights: Buffer,
}

impl ResidentImages {
    /// Brings images of `image` channels, height and width, (N, C, H, W) as bytes (0 to 255 for 0 to 1) or f32, to the GPU that
    /// computes. None if none computes, or if they would take more than half of its free memory.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new<P: Element + Into<f64>>(executor: &Executor, pixels: &[P], image: [usize; 3]) -> Result<Option<Self>> {
        // Each pixel by itself.
        let windows: Vec<_> = (0..image[2]).map(|start| Window { start, weights: vec![1.0] }).collect();
        let kernel = if P::DTYPE == DType::U8 { Single::OF_BYTES } else { Single::KERNELS.0[0] };
        Self::with_passes(executor, pixels, image, DType::F32, || {
            Ok(vec![ResidentPass::new::<Single>(executor, kernel, false, &windows)?])
        })
    }

    /// The same, to be resampled when a batch is made of them.
    ///
    /// # Errors
    /// If the device fails.
    pub fn resampled<P: Element + Into<f64>, A: Arithmetic>(
        executor: &Executor,
        pixels: &[P],
        image: [usize; 3],
        passes: &Passes<A>,
    ) -> Result<Option<Self>> {
        let ([first, last], _) = A::KERNELS;
        let first = if P::DTYPE == DType::U8 && A::Pixel::DTYPE == DType::F32 { Single::OF_BYTES } else { first };
        let pass = |kernel, is_down| {
            let windows = if is_down { &passes.down } else { &passes.across };
            ResidentPass::new::<A>(executor, kernel, is_down, windows)
        };
        Self::with_passes(executor, pixels, image, A::Pixel::DTYPE, || {
            Ok(vec![pass(first, passes.down_first)?, pass(last, !passes.down_first)?])
        })
    }

    fn with_passes<P: Element + Into<f64>>(
        executor: &Executor,
        pixels: &[P],
        image: [usize; 3],
        between: DType,
        passes: impl FnOnce() -> Result<Vec<ResidentPass>>,
    ) -> Result<Option<Self>> {
        match executor.free_memory()? {
            Some(free) if size_of_val(pixels) <= free / 2 => {}
            _ => return Ok(None),
        }
        let count = pixels.len() / image.iter().product::<usize>();
        let pixels = executor.upload(P::DTYPE, pixels)?;
        Ok(Some(Self { pixels, count, image, passes: passes()?, between }))
    }

    /// Makes a batch of the images at `indices`: (N, C, H, W) of f32, as the same passes give them on the CPU.
    ///
    /// # Errors
    /// If an index is not below the number of images; if the device fails.
    pub fn gather(&self, executor: &Executor, indices: &[u32], images: &mut Buffer) -> Result<()> {
        if let Some(index) = indices.iter().find(|&&index| index as usize >= self.count) {
            bail!("image {index} of {}", self.count);
        }
        match executor {
            #[cfg(feature = "cuda-kernels")]
            Executor::Cuda(cuda) => cuda::gather(cuda, self, indices, images),
            Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => {
                bail!("the images are on a GPU (a batch of {})", images.len())
            }
        }
    }
}

impl ResidentPass {
    fn new<A: Arithmetic>(
        executor: &Executor,
        kernel: &'static str,
        is_down: bool,
        windows: &[Window<A::Sum>],
    ) -> Result<Self> {
        let starts = windows.iter().map(|window| window.start as u32);
        let ends = windows.iter().scan(0, |end, window| {
            *end += window.weights.len() as u32;
            Some(*end)
        });
        let table: Vec<u32> = starts.chain([0]).chain(ends).collect();
        let weights: Vec<f64> =
            windows.iter().flat_map(|window| window.weights.iter().map(|&weight| weight.into())).collect();
        Ok(Self {
            kernel,
            is_down,
            outputs: windows.len(),
            windows: executor.upload(DType::U32, &table)?,
            weights: executor.upload(A::KERNELS.1, &weights)?,
        })
    }
}

impl Single {
    /// The kernel of a first pass over bytes.
    const OF_BYTES: &'static str = "resample_single_of_bytes";
}
