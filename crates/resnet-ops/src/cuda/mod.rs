//! The CUDA backend's device: memory, kernels, convolutions. The kernels themselves lie in the ops' folders (`*.cu`).
//!
//! Activations are (N, H, W, C), C rounded up to whole octets whose lanes beyond the real channels are zero, in bf16 or f32;
//! parameters, statistics and gradients of parameters are f32. All work of an [`Cuda`] goes to one stream, in order.

use crate::conv2d::Pass;
use crate::{Buffer, DeviceError, Precision};
use candle_core::{bail, DType, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "cuda")]
mod cudnn;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(feature = "cuda-host")]
mod host;

#[cfg(feature = "cuda")]
pub(crate) use gpu::survey;

/// Channels that a thread works on.
pub(crate) const OCTET: usize = 8;

/// Threads of a block where nothing asks for another number.
pub(crate) const THREADS: usize = 256;

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
    ordinal: usize,
    precision: Precision,
}

/// A device, and what a recording under way has come across.
struct Stream {
    device: Box<dyn Device>,
    /// The memory that the work recorded so far is done on; None while nothing is recorded.
    recorded: Mutex<Option<Vec<Arc<Memory>>>>,
}

/// Work of a GPU that can be done again as one. It keeps the memory that it is done on.
pub struct Recording {
    work: Box<dyn Work>,
    _memory: Vec<Arc<Memory>>,
}

/// What a device recorded.
pub(crate) trait Work: Send {
    /// Does it, after all that was asked for before.
    ///
    /// # Safety
    /// The memory that it is done on must still be there.
    unsafe fn run(&self) -> Result<()>;
}

/// What kernels need of a device. Everything happens in the order of the calls.
pub(crate) trait Device: Send + Sync {
    /// The address of so many bytes, all zero.
    fn allocate(&self, bytes: usize) -> Result<u64>;
    /// Gives them back.
    fn free(&self, address: u64);
    /// Bytes that nobody has taken.
    fn free_memory(&self) -> Result<usize>;
    /// Copies to the device.
    ///
    /// # Safety
    /// There must be memory at the address for all bytes.
    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<()>;
    /// Copies from the device, when all that was asked for before is done.
    ///
    /// # Safety
    /// There must be as many bytes at the address.
    unsafe fn download(&self, address: u64, bytes: &mut [u8]) -> Result<()>;
    /// Runs a kernel.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, and pointers among them must lead to what it reads and writes.
    unsafe fn launch(&self, kernel: &str, blocks: u32, threads: u32, arguments: &mut [Argument]) -> Result<()>;
    /// Runs a convolution: `a` and `b` are x and the weights, dy and the weights, or x and dy.
    ///
    /// # Safety
    /// The addresses must lead to as many elements as the geometry says.
    unsafe fn convolve(&self, geometry: &Geometry, pass: Pass, a: u64, b: u64, target: u64) -> Result<()>;
    /// From here on launches and convolutions are recorded, not done.
    fn begin_recording(&self) -> Result<()>;
    /// What was recorded; None if the device cannot do it as one.
    fn end_recording(&self) -> Result<Option<Box<dyn Work>>>;
}

/// A convolution as cuDNN sees it. Weights are (out_channels, kernel height, kernel width, in_channels / groups), in the type
/// of the activations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub n: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub groups: usize,
    /// Elements from one pixel to the next, of x and of y.
    pub pixel: [usize; 2],
    pub precision: Precision,
}

/// An argument of a kernel, in the first bytes of the word.
#[repr(transparent)]
pub(crate) struct Argument(u64);

impl From<Address> for Argument {
    fn from(address: Address) -> Self {
        Self(address.0)
    }
}
impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Self(value)
    }
}
impl From<i64> for Argument {
    fn from(value: i64) -> Self {
        Self(value as u64)
    }
}
impl From<i32> for Argument {
    fn from(value: i32) -> Self {
        Self(u64::from(value as u32))
    }
}
impl From<bool> for Argument {
    fn from(value: bool) -> Self {
        Self(u64::from(value))
    }
}
impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self(u64::from(value.to_bits()))
    }
}
impl From<f64> for Argument {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

/// Where something lies on the device; 0 is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub u64);

impl Address {
    /// A pointer that kernels are given in place of what is not there.
    pub const NULL: Self = Self(0);

    /// So many elements further on.
    pub fn plus(self, elements: usize, dtype: DType) -> Self {
        Self(self.0 + (dtype.size_in_bytes() * elements) as u64)
    }

    /// So many f32 further on.
    pub const fn plus_f32(self, elements: usize) -> Self {
        Self(self.0 + 4 * elements as u64)
    }
}

/// Memory of a device.
pub(crate) struct Memory {
    stream: Arc<Stream>,
    address: u64,
    bytes: usize,
}

impl Memory {
    /// Where it begins.
    pub fn address(self: &Arc<Self>) -> Address {
        if let Some(recorded) = self.stream.recorded().as_mut() {
            recorded.push(self.clone());
        }
        Address(self.address)
    }

    /// A copy of the bytes from `start` on.
    pub fn read(&self, start: usize, bytes: &mut [u8]) -> Result<()> {
        self.check(start, bytes.len())?;
        self.stream.check_idle("reads")?;
        // SAFETY: the bytes lie within this memory.
        unsafe { self.stream.device.download(self.address + start as u64, bytes) }
    }

    /// Writes from `start` on.
    pub fn write(&self, start: usize, bytes: &[u8]) -> Result<()> {
        self.check(start, bytes.len())?;
        self.stream.check_idle("writes")?;
        // SAFETY: the bytes lie within this memory.
        unsafe { self.stream.device.upload(self.address + start as u64, bytes) }
    }

    fn check(&self, start: usize, len: usize) -> Result<()> {
        match start.checked_add(len) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => bail!("bytes {start} to {start} + {len} of {} on the device", self.bytes),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stream.device.free(self.address);
    }
}

impl Stream {
    fn recorded(&self) -> MutexGuard<'_, Option<Vec<Arc<Memory>>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the host takes part in cannot be recorded.
    fn check_idle(&self, what: &str) -> Result<()> {
        match *self.recorded() {
            Some(_) => bail!("the host {what} the GPU's memory while its work is recorded"),
            None => Ok(()),
        }
    }
}

impl Recording {
    /// Does the work, on what its memory holds by now.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&self) -> Result<()> {
        // SAFETY: the memory is kept here.
        unsafe { self.work.run() }
    }
}

impl Cuda {
    /// See [`crate::Executor::cuda`].
    #[cfg(feature = "cuda")]
    pub fn new(ordinal: usize, precision: Precision, deterministic: bool) -> Result<Self> {
        Ok(Self::on(Box::new(gpu::Gpu::new(ordinal, deterministic)?), ordinal, precision))
    }

    /// This machine's processor in place of a GPU, for tests.
    #[cfg(feature = "cuda-host")]
    pub fn on_host(precision: Precision) -> Self {
        Self::on(Box::<host::Host>::default(), 0, precision)
    }

    fn on(device: Box<dyn Device>, ordinal: usize, precision: Precision) -> Self {
        let stream = Arc::new(Stream { device, recorded: Mutex::default() });
        Self { stream, scratch: Mutex::default(), ordinal, precision }
    }

    /// See [`crate::Executor::record`].
    pub(crate) fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<Recording>> {
        self.stream.check_idle("records")?;
        self.stream.device.begin_recording()?;
        *self.stream.recorded() = Some(Vec::new());
        let done = work();
        let memory = self.stream.recorded().take().unwrap_or_default();
        let recorded = self.stream.device.end_recording()?;
        match done {
            Ok(()) => Ok(recorded.map(|work| Recording { work, _memory: memory })),
            // The device refuses to have it recorded, which does not mean that it would refuse to do it.
            Err(error) if DeviceError::of(&error).is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The type of activations.
    pub(crate) fn dtype(&self) -> DType {
        match self.precision {
            Precision::Bf16 => DType::BF16,
            Precision::Tf32 | Precision::Fp32 => DType::F32,
        }
    }

    /// The GPU's number.
    pub(crate) fn ordinal(&self) -> usize {
        self.ordinal
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// So many bytes, all zero.
    pub(crate) fn allocate(&self, bytes: usize) -> Result<Arc<Memory>> {
        self.stream.check_idle("takes")?;
        let address = self.stream.device.allocate(bytes)?;
        Ok(Arc::new(Memory { address, bytes, stream: self.stream.clone() }))
    }

    /// Bytes that nobody has taken.
    pub(crate) fn free_memory(&self) -> Result<usize> {
        self.stream.device.free_memory()
    }

    /// At least so many bytes, kept from call to call, for what a call needs while it lasts.
    pub(crate) fn scratch(&self, bytes: usize) -> Result<Arc<Memory>> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = scratch.as_ref().filter(|memory| memory.bytes >= bytes) {
            return Ok(memory.clone());
        }
        Ok(scratch.insert(self.allocate(bytes)?).clone())
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

    /// Runs a kernel in so many blocks of so many threads.
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
        let element = if self.precision == Precision::Bf16 { "bf16" } else { "f32" };
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

/// The arguments of a kernel, in order.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { &mut [$($crate::cuda::Argument::from($argument)),*] };
}
pub(crate) use arguments;

impl Geometry {
    /// Elements of x, of the weights and of y.
    #[cfg_attr(not(feature = "cuda-host"), allow(dead_code))]
    pub fn lengths(&self) -> [usize; 3] {
        let x = self.n * self.input[0] * self.input[1] * self.pixel[0];
        let weights = self.out_channels * self.kernel[0] * self.kernel[1] * (self.in_channels / self.groups);
        [x, weights, self.n * self.output[0] * self.output[1] * self.pixel[1]]
    }
}
