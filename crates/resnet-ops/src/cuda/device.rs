//! What kernels need of a device, and what they are told.

use crate::algorithm::Pass;
use crate::precision::Precision;
use candle_core::{DType, Result};
use std::ffi::c_void;

/// A captured graph of a device's work.
pub(crate) trait Graph: Send {
    /// Does the work, after all that was asked for before.
    ///
    /// # Safety
    /// The memory that it is done on must still be there.
    unsafe fn run(&self) -> Result<()>;
}

/// What a device made of what was captured, or why it cannot do that as one.
pub(crate) type Captured = std::result::Result<Box<dyn Graph>, String>;

/// What kernels need of a device. Everything happens in the order of the calls.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) trait Device: Send + Sync {
    /// What no other GPU has.
    fn id(&self) -> Result<[u8; 16]>;
    /// The CUDA stream, for libraries that put work on it; makes its context current on this thread. Null where work is done at once.
    fn stream(&self) -> Result<*mut c_void>;
    /// Whether all that was asked for is done.
    fn is_done(&self) -> Result<bool>;
    /// The address of so many bytes, all zero.
    fn allocate(&self, bytes: usize) -> Result<u64>;
    /// Gives them back.
    fn free(&self, address: u64);
    /// Bytes that nobody has taken.
    fn free_memory(&self) -> Result<usize>;
    /// How many processors there are to share out blocks to: what they do changes the last bits of sums, not their meaning.
    fn processors(&self) -> usize;
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
    /// From here on launches and convolutions are captured, not done.
    fn begin_capture(&self) -> Result<()>;
    /// What was captured, or why the device cannot do it as one.
    fn end_capture(&self) -> Result<Captured>;
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
    /// Whether what is computed is added to what is there.
    pub accumulate: bool,
}

impl Geometry {
    /// Elements of x, of the weights and of y.
    #[cfg_attr(not(any(feature = "cuda", feature = "cuda-host")), allow(dead_code))]
    pub fn lengths(&self) -> [usize; 3] {
        let x = self.n * self.input[0] * self.input[1] * self.pixel[0];
        let weights = self.out_channels * self.kernel[0] * self.kernel[1] * (self.in_channels / self.groups);
        [x, weights, self.n * self.output[0] * self.output[1] * self.pixel[1]]
    }

    /// Bytes of what a pass writes.
    #[cfg_attr(not(any(feature = "cuda", feature = "cuda-host")), allow(dead_code))]
    pub fn target_bytes(&self, pass: Pass) -> usize {
        let [x, weights, y] = self.lengths();
        let len = match pass {
            Pass::Forward => y,
            Pass::InputGradient => x,
            Pass::WeightGradient => weights,
        };
        len * match self.precision {
            Precision::Bf16 => DType::BF16.size_in_bytes(),
            Precision::Tf32 | Precision::Fp32 => DType::F32.size_in_bytes(),
        }
    }
}

/// An argument of a kernel, in the first bytes of the word. What has more words is a kernel's last one.
#[repr(transparent)]
pub(crate) struct Argument(pub u64);

impl Argument {
    /// Two numbers in a word, as they follow on each other in a structure.
    pub fn pair(first: i32, second: i32) -> Self {
        Self(u64::from(first as u32) | u64::from(second as u32) << 32)
    }
}

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
