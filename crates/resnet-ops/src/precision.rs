//! How a model rounds.

/// How convolutions round, and on a GPU activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32. On a GPU, products in convolutions are rounded to TF32 (10 bits of fraction), as PyTorch does by default.
    #[default]
    Tf32,
    /// f32 throughout.
    Fp32,
    /// On a GPU, activations and their gradients in bf16; sums, parameters and their gradients in f32. On a CPU all are f32 in memory, and
    /// convolutions multiply numbers rounded to bf16 where the machine is faster at that (see [`Bf16Products`](crate::Bf16Products)).
    Bf16,
}
