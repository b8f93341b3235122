//! What runs an op: the plain definitions, or the CPU kernels with their thread pool and instruction set.

use crate::conv2d::Algorithm;
use crate::{layout, Isa, Pool};
use candle_core::{bail, DType, Result};

/// Runs ops in one of the backends.
pub enum Executor {
    /// Plain definitions in f32, activations as (N, C, H, W).
    ReferenceF32,
    /// Plain definitions in f64, activations as (N, C, H, W).
    ReferenceF64,
    /// Vectorised kernels on a thread pool in f32, activations blocked by 16 channels (see [`layout`]).
    Cpu(Cpu),
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

    /// The same with other kernels for convolutions that are prepared from now on; the plain backends have but one kind.
    pub fn with_convolution(mut self, algorithm: Algorithm) -> Self {
        if let Self::Cpu(cpu) = &mut self {
            cpu.convolution = algorithm;
        }
        self
    }

    /// The type of activations, parameters and gradients.
    pub fn dtype(&self) -> DType {
        match self {
            Self::ReferenceF64 => DType::F64,
            Self::ReferenceF32 | Self::Cpu(_) => DType::F32,
        }
    }

    /// Elements that an activation of `n` images with `c` channels of `h` by `w` pixels takes in this backend's layout.
    pub fn activation_len(&self, n: usize, c: usize, h: usize, w: usize) -> usize {
        match self {
            Self::Cpu(_) => layout::blocked_len(n, c, h, w),
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
