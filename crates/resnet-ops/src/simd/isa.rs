//! The instruction sets that a machine may have.

use candle_core::{bail, Result};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Whatever the target guarantees.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// NEON, which every arm64 machine has.
    Neon,
}

impl Isa {
    /// The instruction sets that this machine has, narrowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
            }
            let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if avx512 && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                found.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found
    }

    /// The name that `RESNET_NATIVE_ISA` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// The instruction set that `RESNET_NATIVE_ISA` names, else the widest of the machine.
    ///
    /// # Errors
    /// If the variable names an instruction set which does not exist or which this machine lacks.
    pub fn from_environment() -> Result<Self> {
        let available = Self::available();
        let Ok(wanted) = std::env::var("RESNET_NATIVE_ISA") else {
            return Ok(available[available.len() - 1]);
        };
        match available.iter().find(|isa| isa.name() == wanted) {
            Some(&isa) => Ok(isa),
            None => {
                let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
                bail!("RESNET_NATIVE_ISA: expected one of {} on this machine, got {wanted:?}", names.join(", "))
            }
        }
    }
}
