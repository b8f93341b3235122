//! Batch normalisation over (N, H, W) for each channel (Ioffe and Szegedy, 2015, <https://arxiv.org/abs/1502.03167>), with
//! what usually follows it in a residual network fused in: an addition and a ReLU.
//!
//! y = act(γ·(x − mean)/√(variance + ε) + β + shortcut), where act is ReLU or nothing and the shortcut may be absent.

use crate::executor::by_backend;
use crate::{layout, Buffer, Executor, Result, View, ViewMut};

pub(crate) mod cpu;
#[cfg(feature = "cuda-kernels")]
pub(crate) mod cuda;
mod reference;

/// A batch norm of a given map size.
///
/// Parameters are flat: weight γ (channels), then bias β (channels); gradients lie the same way. Running statistics are
/// flat: mean (channels), then variance (channels).
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Channels of input and output.
    pub channels: usize,
    /// Height and width of the map.
    pub size: [usize; 2],
    /// ε, added to the variance.
    pub eps: f64,
    /// Weight of the new statistic in the running one, as in PyTorch.
    pub momentum: f64,
    /// Whether a ReLU follows.
    pub relu: bool,
}

impl BatchNorm {
    /// Elements of the statistics that [`forward_train`] saves: mean, biased variance and 1/√(variance + ε), each of
    /// as many values as there are channels, rounded up to whole blocks of 16.
    pub fn saved_len(&self) -> usize {
        3 * layout::blocks(self.channels) * layout::LANES
    }

    /// Elements (always f64) of the moments of a batch of `n` images, and of the scratch space that [`backward`] needs.
    pub fn sums_len(&self, n: usize) -> usize {
        sums_len(self.channels, n)
    }
}

/// [`BatchNorm::sums_len`] for a number of channels.
pub fn sums_len(channels: usize, n: usize) -> usize {
    2 * n * layout::blocks(channels) * layout::LANES
}

/// Writes the moments of each image, of which [`forward_train`] makes the batch's statistics. The convolution before a norm
/// can do so while its output is at hand ([`crate::conv2d::Epilogue`]). The plain definitions need none.
pub fn moments(executor: &Executor, op: &BatchNorm, n: usize, x: &Buffer, moments: &mut Buffer) -> Result<()> {
    match executor {
        Executor::Cpu(cpu) => cpu::moments(cpu, op, n, x, moments),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::moments(cuda, op, n, x, moments),
        _ => Ok(()),
    }
}

/// Normalises with the batch's own statistics, which it makes of `moments` and saves.
///
/// The statistics of a batch do not depend on the number of threads: they are summed per image, then over images in order.
/// `shortcut`, if given, is added before the ReLU.
pub fn forward_train(
    executor: &Executor,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    shortcut: Option<&Buffer>,
    params: View,
    moments: &Buffer,
    saved: &mut Buffer,
    y: &mut Buffer,
) -> Result<()> {
    by_backend!(executor, forward_train(op, n, x, shortcut, params, moments, saved, y))
}

/// Normalises with the running statistics.
pub fn forward_eval(
    executor: &Executor,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    shortcut: Option<&Buffer>,
    params: View,
    running: View,
    y: &mut Buffer,
) -> Result<()> {
    by_backend!(executor, forward_eval(op, n, x, shortcut, params, running, y))
}

/// Folds a batch norm with its running statistics into the convolution before it: writes the weights and the bias of one
/// convolution that does the work of both, γ·w/√(variance + ε) and γ·(bias − mean)/√(variance + ε) + β. `conv` holds the
/// convolution's weights, then, if it has one, its bias.
pub fn fold(
    executor: &Executor,
    op: &BatchNorm,
    conv: View,
    params: View,
    running: View,
    folded: ViewMut,
) -> Result<()> {
    match executor {
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::fold(cuda, op, conv, params, running, folded),
        Executor::ReferenceF64 => reference::fold::<f64>(op, conv, params, running, folded),
        _ => reference::fold::<f32>(op, conv, params, running, folded),
    }
}

/// Moves the running statistics towards the saved ones of a batch of `n` images:
/// running = (1 − momentum)·running + momentum·batch, with the unbiased variance. `left_out`, if given, is a value for each
/// channel that should have been added to x and was not ([`crate::conv2d::leaves_bias_out`]): the batch's mean takes it in.
pub fn update_running(
    executor: &Executor,
    op: &BatchNorm,
    n: usize,
    saved: &Buffer,
    left_out: Option<View>,
    running: ViewMut,
) -> Result<()> {
    by_backend!(executor, update_running(op, n, saved, left_out, running))
}

/// The gradients of [`forward_train`].
///
/// Without a shortcut (`y_and_dx` is None), `dy` comes in as the gradient of the output and goes out as the gradient of x;
/// the ReLU's mask is worked out again from x. With one, `y_and_dx` holds the output and a place for the gradient of x,
/// and `dy` goes out as the gradient of the sum, which is that of the shortcut.
pub fn backward(
    executor: &Executor,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    params: View,
    saved: &Buffer,
    scratch: &mut Buffer,
    dy: &mut Buffer,
    y_and_dx: Option<(&Buffer, &mut Buffer)>,
    grads: ViewMut,
) -> Result<()> {
    by_backend!(executor, backward(op, n, x, params, saved, scratch, dy, y_and_dx, grads))
}

/// Whether a convolution's input gradient can begin the backward of the batch norm that made its input
/// ([`crate::conv2d::NormBehind`]), so that [`finish_backward`] does the rest.
pub fn sums_behind(executor: &Executor) -> bool {
    matches!(executor, Executor::Cpu(_))
}

/// What [`backward`] has left to do where a convolution began it: gradients from the sums. That of x goes over `dy`, or to `dx` if
/// it is given. Only where [`sums_behind`].
pub fn finish_backward(
    executor: &Executor,
    op: &BatchNorm,
    n: usize,
    x: &Buffer,
    params: View,
    saved: &Buffer,
    sums: &Buffer,
    dy: &mut Buffer,
    dx: Option<&mut Buffer>,
    grads: ViewMut,
) -> Result<()> {
    match executor {
        Executor::Cpu(cpu) => cpu::finish_backward(cpu, op, n, x, params, saved, sums, dy, dx, grads),
        _ => candle_core::bail!("batch norm: this backend goes back in one piece"),
    }
}
