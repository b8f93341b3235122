//! How a GPU rounds.

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
