//! What forward and input gradient come to, whatever kernels run them: a source, weights, and a target.

use super::target::Target;
use crate::algorithm::Pass;

/// The arguments of a pass that writes an activation.
pub(super) struct OutputsCall<'a> {
    /// Forward or input gradient.
    pub(super) pass: Pass,
    /// Images.
    pub(super) n: usize,
    /// What is read: x, or dy.
    pub(super) source: &'a [f32],
    /// The weights, as they are and packed.
    pub(super) params: &'a [f32],
    pub(super) packed: &'a [f32],
    /// What is written: y, or dx.
    pub(super) target: Target<'a>,
}
