//! The CUDA backend's device: memory, kernels, convolutions. The kernels themselves lie in the ops' folders (`*.cu`).
//!
//! Activations are (N, H, W, C), C rounded up to whole octets whose lanes beyond the real channels are zero, in bf16 or f32;
//! parameters, statistics and gradients of parameters are f32. All work of an [`Cuda`] goes to one stream, in order.

use crate::algorithm::Pass;
use crate::precision::Precision;
use crate::probe::noted_refusal;
use crate::{Buffer, DeviceError};
use candle_core::{bail, DType, Error, Result};
use device::{Captured, Device, Graph};
use memory::{Memory, Stream};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) mod bias_gradient;
#[cfg(feature = "cudnn")]
pub(crate) mod cudnn;
pub(crate) mod device;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(feature = "cuda")]
mod handles;
#[cfg(feature = "cuda-host")]
mod host;
pub(crate) mod memory;
#[cfg(target_os = "linux")]
pub(crate) mod nccl;
#[cfg(feature = "cuda")]
mod pinned;
#[cfg(feature = "cuda-host")]
pub(crate) mod recorder;
#[cfg(any(feature = "cuda", test))]
mod staging;
pub(crate) mod sums;
#[cfg(feature = "cuda-host")]
mod traffic;
#[cfg(any(feature = "cuda", test))]
mod unusable;

pub(crate) use device::{Address, Argument, Geometry};

/// Channels that a thread works on.
pub(crate) const OCTET: usize = 8;

/// Threads of a block where nothing asks for another number.
pub(crate) const THREADS: usize = 256;

/// Most threads of a block that sums over pixels, as in `kernel.cuh`.
pub(crate) const PIXEL_THREADS: usize = 256;

/// `channels`, rounded up to whole octets.
pub(crate) const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(OCTET)
}

/// A pooling as `window.cuh` is told of it: octets of a pixel, then heights and widths of what is given.
pub(crate) fn window_sizes(channels: usize, sizes: [[usize; 2]; 5]) -> [i32; 11] {
    let [[ih, iw], [oh, ow], [kh, kw], [sh, sw], [ph, pw]] = sizes;
    [padded(channels) / OCTET, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw].map(|size| size as i32)
}

/// A GPU as a backend.
pub struct Cuda {
    stream: Arc<Stream>,
    scratch: Mutex<Option<Arc<Memory>>>,
    /// Counters by which the last of some blocks is known; zero between launches.
    arrivals: Mutex<Option<Arc<Memory>>>,
    ordinal: usize,
    precision: Precision,
}

/// A captured CUDA graph: work that a GPU does again and again in one launch. It keeps the memory that it is done on.
pub struct CapturedGraph {
    graph: Box<dyn Graph>,
    _memory: Vec<Arc<Memory>>,
}

/// A capture under way, which ends with this, also where the work panics.
struct Capturing<'a> {
    cuda: &'a Cuda,
    ended: bool,
}

impl<'a> Capturing<'a> {
    fn begin(cuda: &'a Cuda) -> Result<Self> {
        cuda.stream.device.begin_capture()?;
        *cuda.stream.captured() = Some(Vec::new());
        Ok(Self { cuda, ended: false })
    }

    /// The memory that the work is done on, and what the device made of it.
    fn end(mut self) -> (Vec<Arc<Memory>>, Result<Captured>) {
        self.ended = true;
        let memory = self.cuda.stream.captured().take().unwrap_or_default();
        (memory, self.cuda.stream.device.end_capture())
    }
}

impl Drop for Capturing<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.cuda.stream.captured().take();
            let _ = self.cuda.stream.device.end_capture();
        }
    }
}

impl CapturedGraph {
    /// Launches it, on what its memory holds by now.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&self) -> Result<()> {
        // SAFETY: the memory is kept here.
        unsafe { self.graph.run() }
    }
}

impl Cuda {
    /// See [`crate::Executor::cuda`].
    #[cfg(feature = "cuda")]
    pub fn new(ordinal: usize, precision: Precision, deterministic: bool) -> Result<Self> {
        Ok(Self::on(Box::new(gpu::Gpu::new(ordinal, deterministic)?), ordinal, precision))
    }

    /// This machine's processor in place of a GPU, for tests; it refuses the next captures as often as is said, and runs what a GPU may run
    /// in any order backwards, if that is asked for.
    #[cfg(feature = "cuda-host")]
    pub fn on_host(precision: Precision, refused: usize, backwards: bool) -> Self {
        Self::on(Box::new(host::Host::new(refused, backwards)), 0, precision)
    }

    /// A device that only writes down, for tests.
    #[cfg(feature = "cuda-host")]
    pub fn on_paper(precision: Precision, paper: recorder::Paper) -> Self {
        Self::on(Box::new(recorder::Recorder::new(paper)), 0, precision)
    }

    fn on(device: Box<dyn Device>, ordinal: usize, precision: Precision) -> Self {
        Self {
            stream: Arc::new(Stream::new(device)),
            scratch: Mutex::default(),
            arrivals: Mutex::default(),
            ordinal,
            precision,
        }
    }

    /// See [`crate::Executor::capture`]. In place of a graph, why the device refuses.
    pub(crate) fn capture(
        &self,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<std::result::Result<CapturedGraph, Arc<str>>> {
        self.stream.check_idle("captures")?;
        let capturing = Capturing::begin(self)?;
        let done = work();
        let (memory, captured) = capturing.end();
        match (done, captured) {
            (Ok(()), Ok(Ok(graph))) => Ok(Ok(CapturedGraph { graph, _memory: memory })),
            (Ok(()), Ok(Err(reason))) => Ok(Err(noted_refusal(reason))),
            (Ok(()), Err(error)) => Err(error),
            // The device refuses to have it captured, which does not mean that it would refuse to do it.
            (Err(error), _) if DeviceError::of(&error).is_some() => Ok(Err(noted_refusal(error.to_string()))),
            (Err(error), _) => Err(error),
        }
    }

    /// The type of activations.
    pub(crate) fn dtype(&self) -> DType {
        match self.precision {
            Precision::Bf16 => DType::BF16,
            Precision::Tf32 | Precision::Fp32 => DType::F32,
        }
    }

    /// What no other GPU has.
    pub(crate) fn id(&self) -> Result<[u8; 16]> {
        self.stream.device.id()
    }

    /// The GPU's number.
    pub(crate) fn ordinal(&self) -> usize {
        self.ordinal
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// `len` zeros of `dtype`.
    pub(crate) fn zeros(&self, dtype: DType, len: usize) -> Result<Buffer> {
        let bytes = len.checked_mul(dtype.size_in_bytes()).ok_or_else(|| Error::Msg(format!("{len} elements")))?;
        Ok(Buffer::on_device(Memory::new(&self.stream, bytes)?, dtype, len))
    }

    /// Bytes that nobody has taken.
    pub(crate) fn free_memory(&self) -> Result<usize> {
        self.stream.device.free_memory()
    }

    /// At least so many bytes, kept from call to call, for what a call needs while it lasts.
    pub(crate) fn scratch(&self, bytes: usize) -> Result<Arc<Memory>> {
        self.kept(&self.scratch, bytes)
    }

    /// So many counters, zero between launches. Those that were fewer stay as they are for what was captured with them.
    pub(crate) fn arrivals(&self, counters: usize) -> Result<Address> {
        Ok(self.kept(&self.arrivals, counters * size_of::<u32>())?.address())
    }

    fn kept(&self, memory: &Mutex<Option<Arc<Memory>>>, bytes: usize) -> Result<Arc<Memory>> {
        let mut kept = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = kept.as_ref().filter(|memory| memory.len() >= bytes) {
            return Ok(memory.clone());
        }
        Ok(kept.insert(Memory::new(&self.stream, bytes)?).clone())
    }

    /// Runs a kernel, in its form for the type of the activations, with a thread for each of `threads`.
    ///
    /// # Safety
    /// As for [`Device::launch`].
    pub(crate) unsafe fn launch(&self, kernel: &str, threads: usize, arguments: &mut [Argument]) -> Result<()> {
        let blocks = threads.div_ceil(THREADS);
        // SAFETY: passed on to the caller.
        unsafe { self.launch_blocks(kernel, blocks, THREADS, arguments) }
    }

    /// Runs a kernel whose threads take so many octets of maps of so many channels, each of them octets of the same channels.
    ///
    /// # Safety
    /// As for [`Device::launch`].
    pub(crate) unsafe fn launch_octets(
        &self,
        kernel: &str,
        octets: usize,
        channels: usize,
        arguments: &mut [Argument],
    ) -> Result<()> {
        // As many as the processors have at once, as kernel.cuh says.
        let at_once = self.processors() * if self.dtype() == DType::BF16 { 3 } else { 2 };
        let blocks = octet_blocks(octets, padded(channels) / OCTET, at_once);
        // SAFETY: passed on to the caller.
        unsafe { self.launch_blocks(kernel, blocks, THREADS, arguments) }
    }

    /// Processors of the GPU.
    pub(crate) fn processors(&self) -> usize {
        self.stream.device.processors()
    }

    /// Runs a kernel in so many blocks of so many threads; with no blocks there is nothing to do.
    ///
    /// # Safety
    /// As for [`Device::launch`].
    pub(crate) unsafe fn launch_blocks(
        &self,
        kernel: &str,
        blocks: usize,
        threads: usize,
        arguments: &mut [Argument],
    ) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let element = match self.precision {
            Precision::Bf16 => "bf16",
            Precision::Tf32 | Precision::Fp32 => "f32",
        };
        let Ok(blocks) = i32::try_from(blocks) else { bail!("{kernel}: {blocks} blocks are too many") };
        // SAFETY: passed on to the caller.
        unsafe { self.stream.device.launch(&format!("{kernel}_{element}"), blocks as u32, threads as u32, arguments) }
    }

    /// Runs a convolution on buffers of which the geometry's part is used.
    pub(crate) fn convolve(
        &self,
        geometry: &Geometry,
        pass: Pass,
        a: Address,
        b: Address,
        target: Address,
    ) -> Result<()> {
        // SAFETY: the addresses come from `Cuda::address`, which checks the lengths.
        unsafe { self.stream.device.convolve(geometry, pass, a.0, b.0, target.0) }
    }

    /// Where a buffer's elements begin, of which `len` of `dtype` are wanted.
    pub(crate) fn address(&self, buffer: &Buffer, dtype: DType, len: usize) -> Result<Address> {
        buffer.device_address(dtype, 0..len)
    }

    /// Where `len` elements of the activations' type begin.
    pub(crate) fn real(&self, buffer: &Buffer, len: usize) -> Result<Address> {
        self.address(buffer, self.dtype(), len)
    }
}

/// Blocks for so many octets, of `per_pixel` octets a pixel: no more than run at once, but for as many as it takes for all threads of the
/// grid to be whole pixels.
fn octet_blocks(octets: usize, per_pixel: usize, at_once: usize) -> usize {
    let all = octets.div_ceil(THREADS);
    match all.div_ceil(at_once) {
        0 | 1 => all,
        // Threads have two or four octets under way.
        each => {
            let whole = per_pixel >> per_pixel.trailing_zeros().min(THREADS.trailing_zeros());
            all.div_ceil(each.next_multiple_of(2)).next_multiple_of(whole)
        }
    }
}

/// The arguments of a kernel, in order.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { &mut [$($crate::cuda::Argument::from($argument)),*] };
}
pub(crate) use arguments;

#[cfg(test)]
mod tests {
    use super::{octet_blocks, THREADS};

    #[test]
    fn a_thread_meets_octets_of_the_same_channels() {
        for per_pixel in 1..70 {
            for octets in [0, 1, 200, 3000, 100_000].map(|pixels| pixels * per_pixel) {
                let blocks = octet_blocks(octets, per_pixel, 12);
                let threads = blocks * THREADS;
                assert!(threads >= octets || threads.is_multiple_of(per_pixel), "{per_pixel} {octets}: {blocks}");
                assert!(blocks <= 12usize.next_multiple_of(per_pixel), "{per_pixel} {octets}: {blocks}");
                assert_eq!(blocks == 0, octets == 0);
            }
        }
        // ResNet-18's first maps of 64 channels on a card of 132 processors: all blocks at once.
        assert_eq!(octet_blocks(128 * 24 * 24 * 8, 8, 3 * 132), 384);
    }
}
