use resnet_ops::Isa;

/// How sums run, and whether a product is rounded before it is added: sets of kernels that have both in common give the same bits.
pub fn order(isa: Isa) -> Option<&'static str> {
    match isa {
        Isa::Portable => Some("portable"),
        Isa::Avx2 | Isa::Neon => Some("AVX2 and NEON"),
        Isa::Avx512 => None,
    }
}
