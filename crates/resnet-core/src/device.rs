//! Where and how models compute, and what there is for it on this machine.

use crate::error::{Code, Error, Result};
use resnet_ops::{Algorithm, Bf16Products, DeviceError, DeviceProbe, Executor, Int8Products, Isa};
use std::fmt;
use std::str::FromStr;

pub use resnet_ops::Precision;

/// Where a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU that can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

/// How a session computes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compute {
    /// Where; by default the first GPU that can be used, else the CPU.
    pub device: Device,
    /// Threads of the CPU; by default all cores, less one for the event loop where there are more than two.
    pub threads: Option<usize>,
    /// Whether the CPU's convolutions use direct kernels alone, which round to some 1e-7 of a map's values where Winograd's round to
    /// 5e-6, and take two to four times as long. They do not round to bf16 either.
    pub direct_convolutions: bool,
    /// How convolutions round.
    pub precision: Precision,
    /// Whether a GPU gives the same bits each time; the CPU always does.
    pub deterministic: bool,
}

/// What a model without options of its own computes with, and what else there is.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// What [`Device::Auto`] is.
    pub device: Device,
    /// Why that one.
    pub why: String,
    /// The instruction set of the CPU's kernels.
    pub instruction_set: &'static str,
    /// The instruction sets that this machine has kernels for, narrowest first.
    pub instruction_sets: Vec<&'static str>,
    /// How the CPU's convolutions multiply with [`Precision::Bf16`]: `amx`, `avx512-bf16` or `neon-bf16` where those are faster, else `f32`.
    pub bf16: &'static str,
    /// How its convolutions multiply bytes in quantised models: `amx`, `avx512-vnni`, `avx-vnni` or `neon-dot` where there are such
    /// instructions; else they compute in `f32`.
    pub int8: &'static str,
    /// Threads of the CPU.
    pub threads: usize,
    /// What there is for GPUs.
    pub probe: DeviceProbe,
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (name, number) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            _ => Err(Error::expected(Code::InvalidArgument, "device", "auto, cpu, cuda or cuda:NUMBER", name)),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

impl Compute {
    /// The backend that computes so.
    ///
    /// # Errors
    /// `ERR_DEVICE` if a GPU was asked for that cannot be used; `ERR_INVALID_ARGUMENT` for a number of threads beyond reason.
    pub fn executor(self) -> Result<Executor> {
        let gpu = |number| Executor::cuda(number, self.precision, self.deterministic);
        match self.device {
            Device::Cuda(number) => Ok(gpu(number)?),
            Device::Cpu => self.cpu(),
            Device::Auto => match DeviceProbe::new().first_usable().map(gpu) {
                Some(executor) => Ok(executor?),
                None => self.cpu(),
            },
        }
    }

    fn cpu(self) -> Result<Executor> {
        const MOST_THREADS: usize = 1024;
        let threads = match self.threads {
            Some(threads) if (1..=MOST_THREADS).contains(&threads) => threads,
            Some(threads) => {
                let expected = format!("a number from 1 to {MOST_THREADS}");
                return Err(Error::expected(Code::InvalidArgument, "threads", expected, threads));
            }
            None => default_threads(),
        };
        let executor = Executor::cpu(threads).map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))?;
        let convolution = if self.direct_convolutions { Algorithm::Direct } else { Algorithm::Auto };
        Ok(executor.with_convolution(convolution).with_precision(self.precision))
    }
}

impl DeviceInfo {
    /// Probes this machine, which takes some tens of milliseconds where there is a driver.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if `RESNET_NATIVE_ISA` names what this machine has not.
    pub fn new() -> Result<Self> {
        let chosen = Isa::from_environment().map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))?;
        let probe = DeviceProbe::new();
        let (device, why) = match (probe.first_usable(), &probe.problem) {
            (Some(number), _) => (Device::Cuda(number), format!("{} can be used", probe.gpus[number].name)),
            (None, problem) => (Device::Cpu, problem.as_ref().map(DeviceError::to_string).unwrap_or_default()),
        };
        Ok(Self {
            device,
            why,
            instruction_set: chosen.name(),
            instruction_sets: Isa::available().into_iter().map(Isa::name).collect(),
            bf16: Bf16Products::fastest(chosen).map_or("f32", Bf16Products::name),
            int8: Int8Products::fastest(chosen).map_or("f32", Int8Products::name),
            threads: default_threads(),
            probe,
        })
    }
}

/// All cores, less one for the event loop where there are more than two.
fn default_threads() -> usize {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        cores if cores > 2 => cores - 1,
        cores => cores,
    }
}

#[cfg(test)]
mod tests {
    use super::{Compute, Device, DeviceInfo};
    use crate::error::Code;

    #[test]
    fn devices_have_the_names_by_which_they_are_asked_for() {
        let cases =
            [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))];
        for (name, device) in cases {
            assert_eq!((name.parse(), device.to_string().as_str()), (Ok(device), name));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = wrong.parse::<Device>().unwrap_err();
            assert_eq!(error.message, format!("device: expected auto, cpu, cuda or cuda:NUMBER, got {wrong}"));
        }
    }

    #[test]
    fn auto_is_what_can_be_used_and_says_why() {
        let info = DeviceInfo::new().unwrap();
        assert_eq!(info.instruction_sets[0], "portable");
        assert!(info.instruction_sets.contains(&info.instruction_set));
        assert!(["f32", "avx512-bf16", "neon-bf16", "amx"].contains(&info.bf16), "{}", info.bf16);
        assert!(["f32", "avx-vnni", "avx512-vnni", "neon-dot", "amx"].contains(&info.int8), "{}", info.int8);
        assert!(info.threads >= 1 && !info.why.is_empty());
        assert_eq!(info.device, Compute::default().executor().unwrap().gpu().map_or(Device::Cpu, Device::Cuda));
        assert_eq!(info.probe.problem.is_some(), info.device == Device::Cpu);
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_so() {
        let error = Compute { device: Device::Cuda(900), ..Compute::default() }.executor().err().unwrap();
        assert_eq!(error.code, Code::Device, "{error}");
    }
}
