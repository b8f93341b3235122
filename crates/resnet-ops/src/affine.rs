//! A scale and a shift for each channel of a block: what a batch norm comes to, once its statistics are known.

use crate::blocked::LANES;

/// One value for each channel of a block.
pub(crate) type Lanes = [f32; LANES];

/// What x is multiplied by and what is then added; both zero beyond the channels.
pub(crate) struct Affine {
    pub(crate) scale: Lanes,
    pub(crate) shift: Lanes,
}

impl Affine {
    /// For kernels that are told not to multiply or add.
    pub(crate) const NONE: Self = Self { scale: [0.0; LANES], shift: [0.0; LANES] };
}
