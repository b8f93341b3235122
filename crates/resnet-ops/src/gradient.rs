//! Where the gradient of an op's input goes.

use crate::Buffer;

/// The gradient of an op's input, in the input's layout: written over what the buffer holds, or added to it where the input has
/// other readers, whose gradients are there already.
pub struct GradientTarget<'a> {
    /// Elements of the executor's type ([`crate::Executor::dtype`]), as many as the input has or more.
    pub buffer: &'a mut Buffer,
    /// Whether the gradient is added to what the buffer holds; else what it holds is not read.
    pub accumulate: bool,
}
