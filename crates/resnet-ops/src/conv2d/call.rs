//! The arguments of a convolution's passes.

use super::Conv2d;
use crate::batch_norm::{BatchNorm, Moments};
use crate::{Buffer, GradientTarget, View, ViewMut};
use std::ops::Range;

/// The arguments of [`forward`](super::forward): y = act(conv(x) + bias + shortcut).
pub struct Forward<'a> {
    /// Images.
    pub n: usize,
    /// Input: an activation, or, for a [plain input](super::ConvShape::plain_input), (N, C, H, W) of the executor's parameter type;
    /// [`input_len`](super::input_len) elements.
    pub x: &'a Buffer,
    /// Weights and bias, [`ConvShape::params_len`](super::ConvShape::params_len) elements of the executor's parameter type.
    pub params: View<'a>,
    /// The weights that [`pack`](super::pack) wrote for [`Pass::Forward`](crate::Pass::Forward) and as many images.
    pub packed: &'a Buffer,
    /// [`Conv2d::scratch_len`](super::Conv2d::scratch_len) elements of the executor's type.
    pub scratch: &'a mut Buffer,
    /// Output activation.
    pub y: &'a mut Buffer,
    /// An activation of the output's shape that is added to it.
    pub shortcut: Option<&'a Buffer>,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// The batch norm that follows, and where the moments of the output go, as [`crate::batch_norm::moments`] writes them. The plain
    /// backends write none; some then [elide the bias](super::elides_bias).
    pub moments: Option<Moments<'a>>,
}

/// The batch norm that made a convolution's input, whose backward begins in the pass that writes that input's gradient: see
/// [`crate::batch_norm::fuses_backward`].
pub struct FusedNorm<'a> {
    /// The batch norm.
    pub op: &'a BatchNorm,
    /// Its input.
    pub x: &'a Buffer,
    /// Its parameters.
    pub params: View<'a>,
    /// The statistics that its output was made with.
    pub saved: &'a Buffer,
    /// Its output, if a shortcut was added.
    pub y: Option<&'a Buffer>,
    /// Where the sums go that [`crate::batch_norm::finish_backward`] begins with: [`BatchNorm::sums_len`] f64.
    pub sums: &'a mut Buffer,
}

/// The arguments of [`input_gradient`](super::input_gradient).
pub struct InputGradient<'a> {
    /// Images.
    pub n: usize,
    /// The gradient of the output.
    pub dy: &'a Buffer,
    /// Weights and bias, as for the forward pass.
    pub params: View<'a>,
    /// The weights that [`pack`](super::pack) wrote for [`Pass::InputGradient`](crate::Pass::InputGradient) and as many images.
    pub packed: &'a Buffer,
    /// [`Conv2d::scratch_len`](super::Conv2d::scratch_len) elements of the executor's type.
    pub scratch: &'a mut Buffer,
    /// Where the gradient of the input goes, in the input's layout.
    pub dx: GradientTarget<'a>,
    /// A norm whose backward is to begin while dx is at hand: its sums are taken and, with a shortcut, dx is masked by its ReLU.
    /// Only where the backend [fuses](crate::batch_norm::fuses_backward) that.
    pub norm: Option<FusedNorm<'a>>,
}

/// The arguments of [`weight_gradient`](super::weight_gradient).
pub struct WeightGradient<'a> {
    /// Images.
    pub n: usize,
    /// The forward pass's input.
    pub x: &'a Buffer,
    /// The gradient of the output.
    pub dy: &'a Buffer,
    /// [`Conv2d::scratch_len`](super::Conv2d::scratch_len) elements of the executor's type.
    pub scratch: &'a mut Buffer,
    /// Where the gradients of weights and bias go, as the parameters lie.
    pub grads: ViewMut<'a>,
    /// Whether the gradient of the bias is left zero and not computed, because a batch norm takes the bias away again.
    pub skip_bias: bool,
}

/// The arguments of [`packed_gradient`](super::packed_gradient).
pub struct PackedGradient<'a> {
    /// Images.
    pub n: usize,
    /// The forward pass's input.
    pub x: &'a Buffer,
    /// The gradient of the output.
    pub dy: &'a Buffer,
    /// [`Conv2d::scratch_len`](super::Conv2d::scratch_len) elements of the executor's type.
    pub scratch: &'a mut Buffer,
    /// Where the gradient of the weights goes, in the order in which they are packed:
    /// [`Conv2d::packed_len`](super::Conv2d::packed_len) elements of the executor's type.
    pub packed: &'a mut Buffer,
    /// Where the gradient of the bias goes, as the parameters lie. That of the weights is left to
    /// [`unpack_together`](super::unpack_together).
    pub grads: ViewMut<'a>,
    /// Whether the gradient of the bias is not computed: a batch norm takes the bias away again, or another gradient is the same.
    pub skip_bias: bool,
}

/// Weights to be packed, one convolution's of those of [`pack_together`](super::pack_together).
pub struct Packing<'a> {
    /// The convolution.
    pub conv: &'a Conv2d,
    /// Its weights and bias.
    pub params: View<'a>,
    /// Where they go: [`Conv2d::packed_len`](super::Conv2d::packed_len) elements.
    pub packed: &'a mut Buffer,
}

/// A gradient of weights as they are packed, one convolution's of those of [`unpack_together`](super::unpack_together).
pub struct Unpacking<'a> {
    /// The convolution.
    pub conv: &'a Conv2d,
    /// What [`packed_gradient`](super::packed_gradient) wrote.
    pub packed: &'a Buffer,
    /// Where the gradients of its weights and bias are in flat storage.
    pub params: Range<usize>,
    /// Whether the gradient of the bias was not computed.
    pub skip_bias: bool,
    /// What it becomes then: what is there in the same storage; zero where this is None.
    pub bias_from: Option<usize>,
}
