//! What runs an op: the plain definitions, or the CPU kernels with their thread pool and instruction set.

use crate::conv2d::Algorithm;
use crate::{layout, Buffer, Isa, Pool};
use candle_core::{bail, DType, Result};

#[cfg(feature = "cuda-kernels")]
pub use crate::cuda::Recording;

/// Work of a GPU that can be done again as one: nothing in this build records any.
#[cfg(not(feature = "cuda-kernels"))]
pub enum Recording {}

#[cfg(not(feature = "cuda-kernels"))]
impl Recording {
    /// Does the work, on what its memory holds by now.
    pub fn run(&self) -> Result<()> {
        match *self {}
    }
}

/// Runs ops in one of the backends.
pub enum Executor {
    /// Plain definitions in f32, activations as (N, C, H, W).
    ReferenceF32,
    /// Plain definitions in f64, activations as (N, C, H, W).
    ReferenceF64,
    /// Vectorised kernels on a thread pool in f32, activations blocked by 16 channels (see [`layout`]).
    Cpu(Cpu),
    /// Kernels on a GPU, activations as (N, H, W, C), channels rounded up to eights.
    #[cfg(feature = "cuda-kernels")]
    #[allow(private_interfaces)]
    Cuda(crate::cuda::Cuda),
}

/// How a GPU computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32, whose products in convolutions are rounded to TF32 (10 bits of fraction), as PyTorch does by default.
    #[default]
    Tf32,
    /// f32 throughout.
    Fp32,
    /// Activations and their gradients in bf16; sums, parameters and their gradients in f32.
    Bf16,
}

/// The CPU backend's thread pool, instruction set and choice of kernels.
pub struct Cpu {
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    pub(crate) convolution: Algorithm,
}

impl Executor {
    /// The CPU backend on `threads` threads, with the widest instruction set that the machine has, or the one that
    /// `RESNET_NATIVE_ISA` (`portable`, `avx2`, `avx512`) names.
    ///
    /// # Errors
    /// If that variable names an instruction set which does not exist or which this machine lacks.
    pub fn cpu(threads: usize) -> Result<Self> {
        Self::cpu_with(threads, Isa::from_environment()?)
    }

    /// The CPU backend on `threads` threads with the given instruction set.
    ///
    /// # Errors
    /// If this machine lacks the instruction set.
    pub fn cpu_with(threads: usize, isa: Isa) -> Result<Self> {
        if !Isa::available().contains(&isa) {
            bail!("this machine lacks {}", isa.name());
        }
        Ok(Self::Cpu(Cpu { pool: Pool::new(threads), isa, convolution: Algorithm::default() }))
    }

    /// The GPU of this number. `deterministic` makes cuDNN give the same bits each time.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`](crate::DeviceError) if this build has no CUDA; if there is no driver, it is too old, cuDNN is
    /// missing or there is no such GPU.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub fn cuda(ordinal: usize, precision: Precision, deterministic: bool) -> Result<Self> {
        #[cfg(feature = "cuda")]
        return Ok(Self::Cuda(crate::cuda::Cuda::new(ordinal, precision, deterministic)?));
        #[cfg(not(feature = "cuda"))]
        Err(crate::survey::no_cuda().into())
    }

    /// What tests of the GPU's kernels run on: a GPU that can be used, in a build with the feature `cuda`; else this machine's
    /// processor, in a build with `cuda-host`.
    #[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
    pub fn cuda_for_tests(precision: Precision) -> Option<Self> {
        #[cfg(feature = "cuda")]
        if let Some(number) = crate::Survey::new().first_usable() {
            return Some(Self::cuda(number, precision, true).expect("the GPU can be used"));
        }
        #[cfg(feature = "cuda-host")]
        return Some(Self::Cuda(crate::cuda::Cuda::on_host(precision)));
        #[cfg(not(feature = "cuda-host"))]
        None
    }

    /// The same with other kernels for convolutions that are prepared from now on; the plain backends have but one kind.
    pub fn with_convolution(mut self, algorithm: Algorithm) -> Self {
        if let Self::Cpu(cpu) = &mut self {
            cpu.convolution = algorithm;
        }
        self
    }

    /// The type of activations and their gradients.
    pub fn dtype(&self) -> DType {
        match self {
            Self::ReferenceF64 => DType::F64,
            Self::ReferenceF32 | Self::Cpu(_) => DType::F32,
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => cuda.dtype(),
        }
    }

    /// The type of images, parameters, their gradients and statistics: that of activations, or a more exact one.
    pub fn exact_dtype(&self) -> DType {
        match self {
            Self::ReferenceF64 => DType::F64,
            _ => DType::F32,
        }
    }

    /// The number of the GPU that computes, if one does.
    pub fn gpu(&self) -> Option<usize> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => Some(cuda.ordinal()),
            _ => None,
        }
    }

    /// Bytes that nobody has taken of the GPU that computes, if one does.
    ///
    /// # Errors
    /// If the device fails.
    pub fn free_memory(&self) -> Result<Option<usize>> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => cuda.free_memory().map(Some),
            _ => Ok(None),
        }
    }

    /// Has a GPU record what `work` asks of it in place of doing it, so that it can be done again and again in one launch (a CUDA
    /// graph). None, with nothing done, from other backends, and from a GPU that cannot do this work so.
    ///
    /// # Errors
    /// If `work` fails, or takes, reads or writes memory from the host.
    #[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<Recording>> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => cuda.record(work),
            _ => Ok(None),
        }
    }

    /// Whether ops are computed by their definitions alone.
    pub fn is_reference(&self) -> bool {
        matches!(self, Self::ReferenceF32 | Self::ReferenceF64)
    }

    /// `len` zeros of `dtype` where this backend computes.
    pub fn zeros(&self, dtype: DType, len: usize) -> Result<Buffer> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => Buffer::on_device(cuda, dtype, len),
            _ => Buffer::zeros(dtype, len),
        }
    }

    /// These values, rounded to `dtype`, where this backend computes.
    pub fn upload<V: crate::Element + Into<f64>>(&self, dtype: DType, values: &[V]) -> Result<Buffer> {
        let mut buffer = self.zeros(dtype, values.len())?;
        buffer.write(values)?;
        Ok(buffer)
    }

    /// Elements that an activation of `n` images with `c` channels of `h` by `w` pixels takes in this backend's layout.
    pub fn activation_len(&self, n: usize, c: usize, h: usize, w: usize) -> usize {
        match self {
            Self::Cpu(_) => layout::blocked_len(n, c, h, w),
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => n * h * w * crate::cuda::padded(c),
            _ => n * c * h * w,
        }
    }
}

/// Calls the backend's form of an op: `reference::f::<T>(…)`, or `cpu::f(cpu, …)`.
macro_rules! by_backend {
    ($executor:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $executor {
            $crate::Executor::ReferenceF32 => reference::$function::<f32>($($argument),*),
            $crate::Executor::ReferenceF64 => reference::$function::<f64>($($argument),*),
            $crate::Executor::Cpu(cpu) => cpu::$function(cpu, $($argument),*),
            #[cfg(feature = "cuda-kernels")]
            $crate::Executor::Cuda(cuda) => cuda::$function(cuda, $($argument),*),
        }
    };
}
pub(crate) use by_backend;

/// f32 or f64, the types in which the plain definitions are written.
pub(crate) trait Real:
    crate::Element + num_traits::Float + Into<f64> + std::iter::Sum + std::ops::AddAssign
{
    /// The value, rounded to this type.
    fn of(value: f64) -> Self;
}
impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
}
impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
}
