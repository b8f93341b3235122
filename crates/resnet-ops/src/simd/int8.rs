//! Ways in which a machine adds up products of bytes.

use super::Isa;

/// How products of unsigned and signed bytes are added up, as integers of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Int8Products {
    /// A portable model, for tests: slower than f32.
    Model,
    /// AVX-VNNI, in registers of 256 bits: four times as many products as of f32.
    Avx2,
    /// AVX512_VNNI, likewise in registers of 512.
    Avx512,
    /// NEON's dot products, which take signed bytes alone: unsigned ones less 128. Four times as many products as of f32.
    Neon,
    /// AMX: tiles of 16 x 16 sums, 32 times as many products as of f32.
    Amx,
}

impl Int8Products {
    /// Those that there are here, slowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut found = vec![Self::Model];
        #[cfg(target_arch = "x86_64")]
        {
            if Isa::available().contains(&Isa::Avx2) && is_x86_feature_detected!("avxvnni") {
                found.push(Self::Avx2);
            }
            if Isa::available().contains(&Isa::Avx512) {
                if is_x86_feature_detected!("avx512vnni") {
                    found.push(Self::Avx512);
                }
                if super::amx::has_int8() {
                    found.push(Self::Amx);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            found.push(Self::Neon);
        }
        found
    }

    /// The fastest of this machine beside kernels of `isa`; None where f32 is faster.
    pub fn fastest(isa: Isa) -> Option<Self> {
        let suits = |products: &Self| match (isa, products) {
            (Isa::Portable, _) => false,
            (Isa::Avx2, products) => *products == Self::Avx2,
            (Isa::Avx512, products) => matches!(products, Self::Avx2 | Self::Avx512 | Self::Amx),
            (Isa::Neon, products) => *products == Self::Neon,
        };
        // Where other kernels are asked for, the system is not asked for tiles.
        let found = if isa == Isa::Portable { Vec::new() } else { Self::available() };
        found.into_iter().rfind(suits)
    }

    /// Whether it takes signed bytes in the place of unsigned ones: those less 128.
    pub(crate) fn is_signed(self) -> bool {
        self == Self::Neon
    }

    /// What [`fastest`](Self::fastest) is called where people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Avx2 => "avx-vnni",
            Self::Avx512 => "avx512-vnni",
            Self::Neon => "neon-dot",
            Self::Amx => "amx",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_is_computed_where_nothing_is_faster() {
        assert_eq!(Int8Products::available()[0], Int8Products::Model);
        assert_eq!(Int8Products::fastest(Isa::Portable), None);
        assert!(Isa::available().into_iter().all(|isa| Int8Products::fastest(isa) != Some(Int8Products::Model)));
        assert!(matches!(Int8Products::fastest(Isa::Avx2), None | Some(Int8Products::Avx2)));
    }
}
