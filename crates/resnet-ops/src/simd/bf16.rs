//! Ways in which a machine adds up products of bf16.

use super::Isa;

/// How products of numbers that are rounded to bf16 are added up in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bf16Products {
    /// A portable model of AMX's instruction, for tests: slower than f32.
    Model,
    /// AVX512_BF16, of a processor by AMD: twice as many products as of f32. Intel's make half as many of them as of f32.
    Avx512,
    /// NEON's products of matrices, which has as many instructions as f32 and four times as many products in each.
    Neon,
    /// AMX: tiles of 16 x 16 sums, sixteen times as many products as of f32.
    Amx,
}

impl Bf16Products {
    /// Those that there are here, slowest first; AVX512_BF16 only where it is faster than f32.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut found = vec![Self::Model];
        #[cfg(target_arch = "x86_64")]
        if Isa::available().contains(&Isa::Avx512) && is_x86_feature_detected!("avx512bf16") {
            if x86::is_by_amd() {
                found.push(Self::Avx512);
            }
            if super::amx::has_bf16() {
                found.push(Self::Amx);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("bf16") {
            found.push(Self::Neon);
        }
        found
    }

    /// The fastest of this machine beside kernels of `isa`; None where f32 is faster.
    pub fn fastest(isa: Isa) -> Option<Self> {
        // Where other kernels are asked for, the system is not asked for tiles.
        let found = if matches!(isa, Isa::Avx512 | Isa::Neon) { Self::available() } else { Vec::new() };
        found.into_iter().rfind(|&form| form != Self::Model)
    }

    /// What [`fastest`](Self::fastest) is called where people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Avx512 => "avx512-bf16",
            Self::Neon => "neon-bf16",
            Self::Amx => "amx",
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__cpuid;

    /// By the vendor's name: speed is no feature that a processor tells.
    pub(super) fn is_by_amd() -> bool {
        let leaf = __cpuid(0);
        [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_is_computed_where_nothing_is_faster() {
        assert_eq!(Bf16Products::available()[0], Bf16Products::Model);
        for isa in [Isa::Portable, Isa::Avx2] {
            assert_eq!(Bf16Products::fastest(isa), None);
        }
        for isa in [Isa::Avx512, Isa::Neon] {
            assert_ne!(Bf16Products::fastest(isa), Some(Bf16Products::Model));
        }
    }
}
