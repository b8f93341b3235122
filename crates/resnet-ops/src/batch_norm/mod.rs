//! Batch normalisation over (N, H, W) for each channel (Ioffe and Szegedy, 2015, <https://arxiv.org/abs/1502.03167>), with
//! what usually follows it in a residual network fused in: an addition and a ReLU.
//!
//! y = act(γ·(x − mean)/√(variance + ε) + β + shortcut), where act is ReLU or nothing and the shortcut may be absent.

use crate::executor::by_backend;
use crate::{blocked, Buffer, Executor, Result, View, ViewMut};
use candle_core::bail;
use std::ops::Range;

pub(crate) mod cpu;
#[cfg(feature = "cuda-kernels")]
pub(crate) mod cuda;
pub mod joint;
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
    /// Elements, of the executor's parameter type, of the statistics that [`forward_train`] and [`save_running`] save: mean, biased
    /// variance and 1/√(variance + ε), each of as many values as there are channels, rounded up to whole blocks of 16.
    pub fn saved_len(&self) -> usize {
        3 * blocked::blocks(self.channels) * blocked::LANES
    }

    /// Elements (always f64) of the moments of a batch of `n` images, and of the scratch space that [`backward`] needs.
    pub fn sums_len(&self, n: usize) -> usize {
        2 * n * blocked::blocks(self.channels) * blocked::LANES
    }

    /// Numbers of a part, see [`joint`]: two for each channel, rounded up to whole blocks of 16. Forward means and sums of squared distances
    /// from them, backward sums of dy and of dy·(x − mean).
    pub fn part_len(&self) -> usize {
        self.sums_len(1)
    }
}

/// What the parts of all shards of a batch came to; see [`joint`].
#[derive(Clone, Copy)]
pub struct Total<'a> {
    /// Images of all shards.
    pub n: usize,
    /// The merged parts, [`BatchNorm::part_len`] numbers.
    pub values: &'a [f64],
}

/// Whose statistics a norm's output was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// The batch's own, which depend on x: [`forward_train`]'s.
    #[default]
    Batch,
    /// The running ones, which are constants: [`forward_eval`]'s.
    Running,
}

/// The arguments of [`forward_train`].
pub struct ForwardTrain<'a> {
    /// Images.
    pub n: usize,
    /// Input activation.
    pub x: &'a Buffer,
    /// An activation of the same shape that is added before the ReLU.
    pub shortcut: Option<&'a Buffer>,
    /// γ, then β.
    pub params: View<'a>,
    /// The moments of x, [`BatchNorm::sums_len`] f64: what [`moments`], or the convolution before, wrote. The plain definitions do
    /// not read them.
    pub moments: &'a Buffer,
    /// Where the batch's statistics go, [`BatchNorm::saved_len`] elements: the buffer that was named with the moments.
    pub saved: &'a mut Buffer,
    /// Output activation.
    pub y: &'a mut Buffer,
}

/// Where [`moments`] writes what [`forward_train`] makes the batch's statistics of.
pub struct Moments<'a> {
    /// The batch norm.
    pub op: &'a BatchNorm,
    /// Mean and squared distances from it for each image: [`BatchNorm::sums_len`] f64. A GPU has other memory for its sums.
    pub sums: &'a mut Buffer,
    /// Where [`forward_train`] saves the statistics, [`BatchNorm::saved_len`] elements: a GPU does it here.
    pub saved: &'a mut Buffer,
}

/// The arguments of [`forward_eval`].
pub struct ForwardEval<'a> {
    /// Images.
    pub n: usize,
    /// Input activation.
    pub x: &'a Buffer,
    /// An activation of the same shape that is added before the ReLU.
    pub shortcut: Option<&'a Buffer>,
    /// γ, then β.
    pub params: View<'a>,
    /// Running mean, then running variance.
    pub running: View<'a>,
    /// Output activation.
    pub y: &'a mut Buffer,
}

/// The arguments of [`backward`], where `y` and `dx` are given if a shortcut was added, else both are absent, and of
/// [`finish_backward`], which does not read `y`.
pub struct Backward<'a> {
    /// Images.
    pub n: usize,
    /// The forward pass's input.
    pub x: &'a Buffer,
    /// Its output, if a shortcut was added.
    pub y: Option<&'a Buffer>,
    /// γ, then β.
    pub params: View<'a>,
    /// The statistics that the output was made with: what [`forward_train`] or [`save_running`] saved.
    pub saved: &'a Buffer,
    /// Sums of dy and of dy·(x − mean), [`BatchNorm::sums_len`] f64: scratch space for [`backward`], and what [`finish_backward`] begins
    /// with.
    pub sums: &'a mut Buffer,
    /// The gradient of the output on entry. Without a shortcut that of x on return; with one, that of the sum before the ReLU,
    /// which is that of the shortcut.
    pub dy: &'a mut Buffer,
    /// Where the gradient of x goes, if a shortcut was added.
    pub dx: Option<&'a mut Buffer>,
    /// Where the gradients of γ, then of β, go.
    pub grads: ViewMut<'a>,
    /// Whose statistics `saved` holds: running ones do not depend on x.
    pub statistics: Statistics,
}

/// The arguments of [`update_running`].
pub struct UpdateRunning<'a> {
    /// Images.
    pub n: usize,
    /// The batch's statistics, as [`forward_train`] saved them.
    pub saved: &'a Buffer,
    /// A value for each channel that should have been added to x and was not ([`crate::conv2d::elides_bias`]): the batch's mean takes
    /// it in.
    pub elided_bias: Option<View<'a>>,
    /// Running mean, then running variance.
    pub running: ViewMut<'a>,
    /// Becomes 1 if one of them becomes NaN or infinite, as a variance beyond f32 does; see [`crate::finite`].
    pub non_finite: &'a mut Buffer,
}

/// A norm whose running statistics are to be updated, one of those of [`update_together`].
pub struct Updating<'a> {
    /// The batch norm.
    pub op: &'a BatchNorm,
    /// As in [`UpdateRunning`].
    pub saved: &'a Buffer,
    /// As in [`UpdateRunning`].
    pub elided_bias: Option<View<'a>>,
    /// Where its running statistics are in flat storage.
    pub running: Range<usize>,
}

/// Writes the moments of each of `n` images, [`BatchNorm::sums_len`] f64, of which [`forward_train`] makes the batch's statistics.
/// The convolution before a norm can do so while its output is at hand ([`crate::conv2d::Forward::moments`]). The plain definitions
/// need none and write none.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn moments(executor: &Executor, n: usize, x: &Buffer, moments: Moments) -> Result<()> {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 => Ok(()),
        Executor::Cpu(cpu) => cpu::moments(cpu, moments.op, n, x, moments.sums),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::moments(cuda, n, x, moments),
    }
}

/// Normalises with the batch's own statistics, which it makes of the moments and saves.
///
/// The statistics of a batch do not depend on the number of threads: they are summed per image, then over images in order.
///
/// # Errors
/// As for [`moments`].
pub fn forward_train(executor: &Executor, op: &BatchNorm, call: ForwardTrain) -> Result<()> {
    by_backend!(executor, forward_train(op, call))
}

/// Normalises with the running statistics. For a [`backward`] of this, [`save_running`] saves them.
///
/// # Errors
/// As for [`moments`].
pub fn forward_eval(executor: &Executor, op: &BatchNorm, call: ForwardEval) -> Result<()> {
    by_backend!(executor, forward_eval(op, call))
}

/// Writes the running statistics where [`forward_train`] saves the batch's, in its layout ([`BatchNorm::saved_len`] elements): mean,
/// variance and 1/√(variance + ε), zero beyond the channels.
///
/// # Errors
/// As for [`moments`].
pub fn save_running(executor: &Executor, op: &BatchNorm, running: View, saved: &mut Buffer) -> Result<()> {
    by_backend!(executor, save_running(op, running, saved))
}

/// Folds a batch norm with its running statistics into the convolution before it: writes the weights and the bias of one
/// convolution that does the work of both, γ·w/√(variance + ε) and γ·(bias − mean)/√(variance + ε) + β. `conv` holds the
/// convolution's weights, then, if it has one, its bias; `norm` and `running` the norm's parameters
/// and statistics; `folded` has room for weights and bias.
///
/// # Errors
/// As for [`moments`].
pub fn fold(executor: &Executor, op: &BatchNorm, conv: View, norm: View, running: View, folded: ViewMut) -> Result<()> {
    match executor {
        Executor::ReferenceF64 => reference::fold::<f64>(op, conv, norm, running, folded),
        Executor::ReferenceF32 | Executor::Cpu(_) => reference::fold::<f32>(op, conv, norm, running, folded),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::fold(cuda, op, conv, norm, running, folded),
    }
}

/// Moves the running statistics towards the saved ones of a batch of `n` images:
/// running = (1 − momentum)·running + momentum·batch, with the unbiased variance.
///
/// # Errors
/// As for [`moments`].
pub fn update_running(executor: &Executor, op: &BatchNorm, call: UpdateRunning) -> Result<()> {
    by_backend!(executor, update_running(op, call))
}

/// Whether the running statistics of many norms are best updated at once, by [`update_together`].
pub fn updates_together(executor: &Executor) -> bool {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => false,
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => true,
    }
}

/// [`update_running`] for each of these after a batch of `n` images, in as few launches as can be.
///
/// # Errors
/// If the backend does not [update together](updates_together); as for [`moments`].
#[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
pub fn update_together(
    executor: &Executor,
    n: usize,
    every: &[Updating],
    running: &mut Buffer,
    non_finite: &mut Buffer,
) -> Result<()> {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => {
            bail!("batch norm: this backend updates running statistics one by one")
        }
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::update_together(cuda, n, every, running, non_finite),
    }
}

/// The gradients of [`forward_train`], or of [`forward_eval`] if [`Backward::statistics`] are the running ones: of γ and β, of x
/// and, if there was one, of the shortcut.
///
/// With the mask m of the ReLU (1 where the output is positive; worked out again from x if there was no shortcut), the normalised
/// x̂ and the number M of values of a channel, dβ = Σ m·dy, dγ = Σ m·dy·x̂ and
/// dx = γ/√(variance + ε)·(m·dy − dβ/M − x̂·dγ/M), with running statistics dx = γ/√(variance + ε)·m·dy.
///
/// # Errors
/// If only one of `y` and `dx` is given; as for [`moments`].
pub fn backward(executor: &Executor, op: &BatchNorm, call: Backward) -> Result<()> {
    if call.y.is_some() != call.dx.is_some() {
        bail!("batch norm: a backward takes both the output and a place for the gradient of x, or neither");
    }
    by_backend!(executor, backward(op, call))
}

/// Whether a convolution's input gradient can begin the backward of the batch norm that made its input
/// ([`crate::conv2d::FusedNorm`]), so that [`finish_backward`] does the rest.
pub fn fuses_backward(executor: &Executor) -> bool {
    match executor {
        Executor::Cpu(_) => true,
        Executor::ReferenceF32 | Executor::ReferenceF64 => false,
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => false,
    }
}

/// What [`backward`] has left to do where a convolution began it: gradients from [`Backward::sums`].
///
/// # Errors
/// If the backend does not [fuse a norm's backward](fuses_backward); as for [`moments`].
pub fn finish_backward(executor: &Executor, op: &BatchNorm, call: Backward) -> Result<()> {
    match executor {
        Executor::Cpu(cpu) => cpu::finish_backward(cpu, op, call),
        Executor::ReferenceF32 | Executor::ReferenceF64 => bail!("batch norm: no convolution begins a plain backward"),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => bail!("batch norm: no convolution begins a GPU's backward"),
    }
}
