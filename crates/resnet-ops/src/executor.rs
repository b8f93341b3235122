//! What runs an op: the plain definitions, the CPU kernels with their thread pool and instruction set, or a GPU.

use crate::algorithm::Algorithm;
use crate::precision::Precision;
use crate::{blocked, Bf16Products, Buffer, DeviceProbe, Element, Int8Products, Isa, Pool};
use candle_core::{bail, DType, Result};
use std::sync::{Arc, OnceLock};

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

/// What became of [`Executor::capture`].
pub enum Capture {
    /// Work to be done by a launch.
    Graph(CapturedGraph),
    /// The device did not take the work as one; nothing was done. For as long as the reason is kept, [`DeviceProbe`] tells it.
    Refused(Arc<str>),
    /// This backend captures nothing; nothing was done.
    Never,
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
    /// How the fastest convolutions may add up products that are rounded to bf16.
    pub(crate) bf16: Option<Bf16Products>,
}

impl Cpu {
    /// How products of convolutions are added up that are rounded to bf16, if any are.
    pub(crate) fn bf16_products(&self) -> Option<Bf16Products> {
        match self.convolution {
            Algorithm::Auto | Algorithm::Int8(_) => self.bf16,
            Algorithm::Direct | Algorithm::Winograd => None,
            Algorithm::Bf16(products) => Some(products),
        }
    }

    /// How quantised convolutions add up products of bytes; None where they compute in f32.
    pub(crate) fn int8_products(&self) -> Option<Int8Products> {
        match self.convolution {
            Algorithm::Auto | Algorithm::Bf16(_) => Int8Products::fastest(self.isa),
            Algorithm::Direct | Algorithm::Winograd => None,
            Algorithm::Int8(products) => Some(products),
        }
    }
}

impl Executor {
    /// The CPU backend on `threads` threads, with the widest instruction set that the machine has, or the one that
    /// `RESNET_NATIVE_ISA` (`portable`, `avx2`, `avx512`, `neon`) names.
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
        Ok(Self::Cpu(Cpu { pool: Pool::new(threads), isa, convolution: Algorithm::default(), bf16: None }))
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

    /// What tests run the GPU's kernels on, giving the same bits each time: with the feature `cuda` a GPU, if one can be used; else,
    /// with `cuda-host`, this machine's processor; else None.
    ///
    /// # Panics
    /// If `RESNET_NATIVE_TESTS_GPU` is 1 and no GPU can be used.
    #[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
    pub fn cuda_for_tests(precision: Precision) -> Option<Self> {
        if let Some(number) = gpu_for_tests() {
            return Some(Self::cuda(number, precision, true).expect("the GPU can be used"));
        }
        #[cfg(feature = "cuda-host")]
        return Some(Self::Cuda(crate::cuda::Cuda::on_host(precision, 0, false)));
        #[cfg(not(feature = "cuda-host"))]
        None
    }

    /// A GPU as a user gets it who asks for nothing, its plans chosen by timing, where tests run on one.
    pub fn cuda_by_default_for_tests(precision: Precision) -> Option<Self> {
        gpu_for_tests().map(|number| Self::cuda(number, precision, false).expect("the GPU can be used"))
    }

    /// This machine's processor in place of a GPU, which refuses the next captures as often as is said.
    #[cfg(feature = "cuda-host")]
    pub fn refusing_for_tests(captures: usize) -> Self {
        Self::Cuda(crate::cuda::Cuda::on_host(Precision::Fp32, captures, false))
    }

    /// This machine's processor in place of a GPU, with the blocks of a launch and the threads of a block from the last to the first.
    #[cfg(feature = "cuda-host")]
    pub fn backwards_for_tests(precision: Precision) -> Self {
        Self::Cuda(crate::cuda::Cuda::on_host(precision, 0, true))
    }

    /// A GPU on paper, which does nothing, and the paper on which it writes down what it is asked for.
    #[cfg(feature = "cuda-host")]
    pub fn on_paper_for_tests(precision: Precision) -> (Self, crate::Paper) {
        let paper = crate::Paper::default();
        (Self::Cuda(crate::cuda::Cuda::on_paper(precision, paper.clone())), paper)
    }

    /// The same with other kernels for convolutions that are prepared from now on; only the CPU backend has more than one kind.
    pub fn with_convolution(self, algorithm: Algorithm) -> Self {
        if let Algorithm::Bf16(products) = algorithm {
            assert!(Bf16Products::available().contains(&products), "this machine lacks {}", products.name());
        }
        if let Algorithm::Int8(products) = algorithm {
            assert!(Int8Products::available().contains(&products), "this machine lacks {}", products.name());
        }
        self.on_cpu(|cpu| cpu.convolution = algorithm)
    }

    /// The same with other rounding in convolutions that are prepared from now on, where the CPU backend has it; a GPU's is that with which it
    /// was made.
    pub fn with_precision(self, precision: Precision) -> Self {
        self.on_cpu(|cpu| {
            cpu.bf16 = match precision {
                Precision::Tf32 | Precision::Fp32 => None,
                Precision::Bf16 => Bf16Products::fastest(cpu.isa),
            }
        })
    }

    /// The same with these products where they suit a shape, as if they were the fastest of this machine.
    pub fn with_bf16_for_tests(self, products: Bf16Products) -> Self {
        self.on_cpu(|cpu| cpu.bf16 = Some(products))
    }

    /// The CPU backend changed; others as they are.
    fn on_cpu(mut self, change: impl FnOnce(&mut Cpu)) -> Self {
        match &mut self {
            Self::Cpu(cpu) => change(cpu),
            Self::ReferenceF32 | Self::ReferenceF64 => {}
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => {}
        }
        self
    }

    /// The instruction set that kernels are chosen for, as `RESNET_NATIVE_ISA` names it; of plain definitions and GPUs none.
    pub fn instruction_set(&self) -> Option<&'static str> {
        match self {
            Self::Cpu(cpu) => Some(cpu.isa.name()),
            Self::ReferenceF32 | Self::ReferenceF64 => None,
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => None,
        }
    }

    /// How the CPU backend adds up products that it rounds to bf16; None where all is f32, and of other backends.
    pub fn bf16_products(&self) -> Option<Bf16Products> {
        match self {
            Self::Cpu(cpu) => cpu.bf16_products(),
            Self::ReferenceF32 | Self::ReferenceF64 => None,
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => None,
        }
    }

    /// How the CPU backend adds up products of bytes in quantised convolutions; None where they compute in f32, and of other backends.
    pub fn int8_products(&self) -> Option<Int8Products> {
        match self {
            Self::Cpu(cpu) => cpu.int8_products(),
            Self::ReferenceF32 | Self::ReferenceF64 => None,
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(_) => None,
        }
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

    /// What no other GPU has, of the GPU that computes, if one does.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gpu_id(&self) -> Result<Option<[u8; 16]>> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => cuda.id().map(Some),
            Self::ReferenceF32 | Self::ReferenceF64 | Self::Cpu(_) => Ok(None),
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
    /// launch.
    ///
    /// # Errors
    /// If `work` fails, or takes, reads or writes memory from the host.
    #[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Capture> {
        match self {
            #[cfg(feature = "cuda-kernels")]
            Self::Cuda(cuda) => Ok(cuda.capture(work)?.map_or_else(Capture::Refused, Capture::Graph)),
            Self::ReferenceF32 | Self::ReferenceF64 | Self::Cpu(_) => Ok(Capture::Never),
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

/// The GPU that tests run on. One stays in use, so that its context is not made anew for each test.
fn gpu_for_tests() -> Option<usize> {
    static KEPT: OnceLock<Option<(usize, Executor)>> = OnceLock::new();
    let kept = KEPT.get_or_init(|| {
        let demanded = std::env::var("RESNET_NATIVE_TESTS_GPU").is_ok_and(|value| value == "1");
        let number = usable_for_tests(&DeviceProbe::new(), demanded)?;
        let kept = Executor::cuda(number, Precision::Fp32, true).expect("the GPU can be used");
        Some((number, kept))
    });
    kept.as_ref().map(|(number, _)| *number)
}

/// The first GPU that can be used.
///
/// # Panics
/// If one is demanded and there is none.
fn usable_for_tests(probe: &DeviceProbe, demanded: bool) -> Option<usize> {
    let number = probe.first_usable();
    if let (None, true) = (number, demanded) {
        let problem = probe.problem.as_ref().map_or_else(String::new, ToString::to_string);
        panic!("RESNET_NATIVE_TESTS_GPU: expected a GPU that can be used, got none: {problem}");
    }
    number
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

#[cfg(test)]
mod tests {
    use super::usable_for_tests;
    use crate::{DeviceError, DeviceProbe, GpuDescription};

    #[test]
    fn a_gpu_that_tests_demand_is_there_or_they_fail() {
        let gpu = GpuDescription { name: "Imaginary GPU".into(), compute_capability: (9, 0), memory: 1 << 34 };
        let found = DeviceProbe { gpus: vec![gpu], ..DeviceProbe::default() };
        let problem = Some(DeviceError::Unavailable("there is no cuDNN".into()));
        let broken = DeviceProbe { problem, ..found.clone() };
        assert_eq!([true, false].map(|demanded| usable_for_tests(&found, demanded)), [Some(0); 2]);
        assert_eq!(usable_for_tests(&broken, false), None);
        let panic = std::panic::catch_unwind(|| usable_for_tests(&broken, true)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.ends_with("expected a GPU that can be used, got none: there is no cuDNN"), "{message}");
    }
}
