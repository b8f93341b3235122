//! What runs an op: the plain definitions, the CPU kernels with their thread pool and instruction set, or a GPU.

use crate::algorithm::Algorithm;
use crate::precision::Precision;
use crate::{blocked, Buffer, Element, Isa, Pool};
use candle_core::{bail, DType, Result};

#[cfg(feature = "cuda-kernels")]
pub use crate::cuda::CapturedGraph;

/// A captured CUDA graph: in this build there is none.
#[cfg(not(feature = "cuda-kernels"))]
pub enum CapturedGraph {}

#[cfg(not(feature = "cuda-kernels"))]
impl CapturedGraph {
    /// Launches it, on what its memory holds by now.
    ///
    /// # Errors
    /// If the device fails.
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
    /// Vectorised kernels on a thread pool in f32, activations blocked by 16 channels (see [`crate::layout`]).
    Cpu(Cpu),
    /// Kernels on a GPU, activations as (N, H, W, C), channels rounded up to eights.
    #[cfg(feature = "cuda-kernels")]
    #[allow(private_interfaces)]
    Cuda(crate::cuda::Cuda),
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
        Err(crate::probe::no_cuda().into())
    }

    /// What tests run the GPU's kernels on: with the feature `cuda` a GPU, if one can be used; else, with `cuda-host`, this machine's
    /// processor; else None.
    #[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
    pub fn cuda_for_tests(precision: Precision) -> Option<Self> {
        #[cfg(feature = "cuda")]
        if let Some(number) = crate::DeviceProbe::new().first_usable() {
            return Some(Self::cuda(number, precision, true).expect("the GPU can be used"));
        }
        #[cfg(feature = "cuda-host")]
        return Some(Self::Cuda(crate::cuda::Cuda::on_host(precision)));
        #[cfg(not(feature = "cuda-host"))]
        None
    }

    /// The same with other kernels for convolutions that are prepared from now on; only the CPU backend has more than one kind.
    pub fn with_convolution(mut self, algorithm: Algorithm) -> Self {
        match &mut self {
            Self::Cpu(cpu) => cpu.convolution = algorithm,
            Self::ReferenceF32 | Self::ReferenceF64 => {}
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => {}
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
    pub fn parameter_dtype(&self) -> DType {
        match self {
            Self::ReferenceF64 => DType::F64,
            Self::ReferenceF32 | Self::Cpu(_) => DType::F32,
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => DType::F32,
        }
    }

    /// The number of the GPU that computes, if one does.
    pub fn gpu(&self) -> Option<usize> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => Some(cuda.ordinal()),
            Self::ReferenceF32 | Self::ReferenceF64 | Self::Cpu(_) => None,
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
            Self::ReferenceF32 | Self::ReferenceF64 | Self::Cpu(_) => Ok(None),
        }
    }

    /// Captures what `work` asks of a GPU as a CUDA graph, in place of doing it, so that it can be done again and again in one
    /// launch. None, with nothing done, from other backends, and from a GPU that cannot do this work so.
    ///
    /// # Errors
    /// If `work` fails, or takes, reads or writes memory from the host.
    #[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<CapturedGraph>> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => cuda.capture(work),
            Self::ReferenceF32 | Self::ReferenceF64 | Self::Cpu(_) => Ok(None),
        }
    }

    /// Whether ops are computed by their definitions alone.
    pub fn is_reference(&self) -> bool {
        match self {
            Self::ReferenceF32 | Self::ReferenceF64 => true,
            Self::Cpu(_) => false,
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => false,
        }
    }

    /// `len` zeros of `dtype` where this backend computes.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`](crate::DeviceError) if there is not so much memory; if the device fails; if buffers do not hold
    /// this type.
    pub fn zeros(&self, dtype: DType, len: usize) -> Result<Buffer> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => cuda.zeros(dtype, len),
            Self::ReferenceF32 | Self::ReferenceF64 | Self::Cpu(_) => Buffer::zeros(dtype, len),
        }
    }

    /// These values, rounded to `dtype`, where this backend computes.
    ///
    /// # Errors
    /// As for [`Executor::zeros`].
    pub fn upload<V: Element + Into<f64>>(&self, dtype: DType, values: &[V]) -> Result<Buffer> {
        let mut buffer = self.zeros(dtype, values.len())?;
        buffer.write(values)?;
        Ok(buffer)
    }

    /// Elements that an activation of `n` images with `c` channels of `h` by `w` pixels takes in this backend's layout.
    pub fn activation_len(&self, n: usize, c: usize, h: usize, w: usize) -> usize {
        match self {
            Self::Cpu(_) => blocked::blocked_len(n, c, h, w),
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => n * h * w * crate::cuda::padded(c),
            Self::ReferenceF32 | Self::ReferenceF64 => n * c * h * w,
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
