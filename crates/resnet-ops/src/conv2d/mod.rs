//! Two-dimensional convolution (cross-correlation, as in deep learning): output, input gradient, weight gradient.
//!
//! y\[n,k,p,q\] = bias\[k\] + Σ over c of k's group, r, s of x\[n, c, p·stride+r−padding, q·stride+s−padding\] · w\[k,c,r,s\].

use crate::batch_norm::BatchNorm;
use crate::executor::by_backend;
use crate::{Buffer, Executor, Result, View, ViewMut};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
pub(crate) mod cuda;
mod reference;

/// A convolution of a given input size.
///
/// Parameters are flat: weights (out_channels, in_channels / groups, kernel height, kernel width), then, if there is one,
/// the bias (out_channels). Gradients lie the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Pixels between neighbouring windows, down and across.
    pub stride: [usize; 2],
    /// Zero rows and columns around the input.
    pub padding: [usize; 2],
    /// Groups that input and output channels are divided into; each output group sees one input group.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Whether the CPU and GPU backends find the input as plain (N, C, H, W), as images come, instead of blocked. There is then no
    /// input gradient. Meant for a first layer with few channels.
    pub plain_input: bool,
}

impl Shape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        let size = |i: usize| (self.input[i] + 2 * self.padding[i] - self.kernel[i]) / self.stride[i] + 1;
        [size(0), size(1)]
    }

    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Number of weights and biases.
    pub fn params_len(&self) -> usize {
        self.weight_len() + if self.bias { self.out_channels } else { 0 }
    }

    fn check(&self) -> Result<()> {
        let positive = [self.in_channels, self.out_channels, self.groups];
        if positive.iter().chain(&self.kernel).chain(&self.stride).chain(&self.input).any(|&size| size == 0) {
            bail!("convolution: every size must be at least 1, got {self:?}");
        }
        if !self.in_channels.is_multiple_of(self.groups) || !self.out_channels.is_multiple_of(self.groups) {
            bail!(
                "convolution: {} groups must divide {} input and {} output channels",
                self.groups,
                self.in_channels,
                self.out_channels
            );
        }
        if (0..2).any(|i| self.input[i] + 2 * self.padding[i] < self.kernel[i]) {
            bail!(
                "convolution: a {:?} kernel is larger than the {:?} input with padding {:?}",
                self.kernel,
                self.input,
                self.padding
            );
        }
        Ok(())
    }
}

/// A convolution prepared for a backend: what depends on its shape alone is worked out once.
pub struct Conv2d {
    shape: Shape,
    direct: Option<cpu::Direct>,
    /// Instead of `direct`, for shapes that they suit.
    grouped: Option<cpu::Grouped>,
    winograd: Option<cpu::Winograd>,
    #[cfg(feature = "cuda-kernels")]
    rewritten: Option<cuda::Rewritten>,
}

/// Which kernels the CPU backend runs convolutions with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// The fastest for shape and batch, by a fixed rule.
    #[default]
    Auto,
    /// Direct kernels, which round least.
    Direct,
    /// Winograd's wherever it is defined (3x3 kernels of stride 1 or 2 and padding 1, one group), fast or not.
    Winograd,
}

/// A way through the convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// From input to output.
    Forward,
    /// From output gradient to input gradient.
    InputGradient,
    /// From input and output gradient to the gradients of weights and bias; it needs no packed weights.
    WeightGradient,
}

impl Conv2d {
    /// Prepares a convolution.
    ///
    /// # Errors
    /// If a size is zero, groups do not divide the channels, or the kernel is larger than the padded input.
    pub fn new(executor: &Executor, shape: Shape) -> Result<Self> {
        shape.check()?;
        let (mut direct, mut grouped, mut winograd) = (None, None, None);
        if let Executor::Cpu(cpu) = executor {
            grouped = cpu::Grouped::new(cpu, &shape);
            direct = grouped.is_none().then(|| cpu::Direct::new(cpu, &shape));
            winograd = cpu::Winograd::new(cpu, &shape);
        }
        #[cfg(feature = "cuda-kernels")]
        let rewritten = match executor {
            Executor::Cuda(cuda) => Some(cuda::Rewritten::new(cuda, &shape)),
            _ => None,
        };
        Ok(Self {
            shape,
            direct,
            grouped,
            winograd,
            #[cfg(feature = "cuda-kernels")]
            rewritten,
        })
    }

    /// The same for weights that change from call to call: the CPU backend does not pack large ones.
    pub fn for_training(self) -> Self {
        Self { winograd: self.winograd.map(cpu::Winograd::for_training), ..self }
    }

    /// The shape it was prepared for.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Elements that the packed weights of a pass take; 0 if the backend reads the parameters as they are.
    pub fn packed_len(&self, pass: Pass) -> usize {
        #[cfg(feature = "cuda-kernels")]
        if let Some(rewritten) = &self.rewritten {
            return rewritten.packed_len(&self.shape);
        }
        let direct = self.direct.as_ref().map_or(0, |direct| direct.packed_len(pass));
        let grouped = self.grouped.as_ref().map_or(0, |grouped| grouped.packed_len(pass));
        direct.max(grouped).max(self.winograd.as_ref().map_or(0, |winograd| winograd.packed_len(pass)))
    }

    /// Elements of scratch space that a pass needs for a batch of up to `n` images.
    pub fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        #[cfg(feature = "cuda-kernels")]
        if let Some(rewritten) = &self.rewritten {
            return rewritten.scratch_len(&self.shape, pass, n);
        }
        let direct = self.direct.as_ref().map_or(0, |direct| direct.scratch_len(pass, n));
        let grouped = self.grouped.as_ref().map_or(0, |grouped| grouped.scratch_len(pass, n));
        direct.max(grouped).max(self.winograd.as_ref().map_or(0, |winograd| winograd.scratch_len(pass, n)))
    }

    /// Whether weights that were packed for a batch of `n` images serve one of `m`.
    pub fn packs_alike(&self, n: usize, m: usize) -> bool {
        self.winograd(n).is_some() == self.winograd(m).is_some()
    }

    /// Winograd's kernels, if they are to run a batch of `n` images.
    fn winograd(&self, n: usize) -> Option<&cpu::Winograd> {
        self.winograd.as_ref().filter(|winograd| winograd.takes(n))
    }

    fn direct(&self) -> &cpu::Direct {
        self.direct.as_ref().expect("prepared for this backend")
    }
}

/// Writes the weights in the order in which the backend's kernels of `pass` read them for a batch of `n` images.
pub fn pack(executor: &Executor, conv: &Conv2d, n: usize, pass: Pass, params: View, packed: &mut Buffer) -> Result<()> {
    match executor {
        Executor::Cpu(cpu) => cpu::pack(cpu, conv, n, pass, params, packed),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::pack(cuda, conv, params, packed),
        _ => Ok(()),
    }
}

/// What follows a convolution in the pass that writes its output.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Added to the output, of which it has the shape and layout.
    pub shortcut: Option<&'a Buffer>,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Where the moments of the output go, as [`crate::batch_norm::moments`] writes them.
    pub moments: Option<&'a mut Buffer>,
}

/// Whether a convolution whose moments are wanted leaves out its bias, which the batch norm behind it would take away again:
/// [`crate::batch_norm::update_running`] then makes up for it.
pub fn leaves_bias_out(executor: &Executor) -> bool {
    !matches!(executor, Executor::Cpu(_)) && !executor.is_reference()
}

/// y = act(conv(x) + bias + shortcut) for `n` images, where act is ReLU or nothing and the shortcut may be absent. `packed`
/// holds the weights of [`Pass::Forward`] for as many images.
pub fn forward(
    executor: &Executor,
    conv: &Conv2d,
    n: usize,
    x: &Buffer,
    params: View,
    packed: &Buffer,
    scratch: &mut Buffer,
    y: &mut Buffer,
    epilogue: Epilogue,
) -> Result<()> {
    by_backend!(executor, forward(conv, n, x, params, packed, scratch, y, epilogue))
}

/// The batch norm that made a convolution's input, whose backward begins in the pass that writes that input's gradient: see
/// [`crate::batch_norm::sums_behind`]. With a shortcut, `y` is the norm's output.
pub struct NormBehind<'a> {
    /// The batch norm.
    pub op: &'a BatchNorm,
    /// Its input.
    pub x: &'a Buffer,
    /// Its parameters.
    pub params: View<'a>,
    /// What its forward saved.
    pub saved: &'a Buffer,
    /// Its output, if something was added before the ReLU.
    pub y: Option<&'a Buffer>,
    /// Where the sums go: the scratch space of its backward.
    pub sums: &'a mut Buffer,
}

/// Writes the gradient of the input, or adds it to what `dx` holds if `accumulate`. `packed` holds the weights of
/// [`Pass::InputGradient`] for as many images. `norm`, which the CPU backend alone takes, begins
/// the backward of a batch norm while dx is at hand: it sums dx up and, with a shortcut, puts the ReLU's mask on it.
pub fn input_gradient(
    executor: &Executor,
    conv: &Conv2d,
    n: usize,
    dy: &Buffer,
    params: View,
    packed: &Buffer,
    scratch: &mut Buffer,
    dx: &mut Buffer,
    accumulate: bool,
    norm: Option<NormBehind>,
) -> Result<()> {
    by_backend!(executor, input_gradient(conv, n, dy, params, packed, scratch, dx, accumulate, norm))
}

/// For backends that do not begin a batch norm's backward here.
fn refuse(norm: Option<NormBehind>) -> Result<()> {
    match norm {
        None => Ok(()),
        Some(_) => bail!("convolution: this backend goes back through a batch norm in one piece"),
    }
}

/// Writes the gradients of weights and bias. `skip_bias` leaves the bias gradient zero without computing it, for a
/// convolution whose bias a batch norm takes away again.
pub fn weight_gradient(
    executor: &Executor,
    conv: &Conv2d,
    n: usize,
    x: &Buffer,
    dy: &Buffer,
    scratch: &mut Buffer,
    grads: ViewMut,
    skip_bias: bool,
) -> Result<()> {
    by_backend!(executor, weight_gradient(conv, n, x, dy, scratch, grads, skip_bias))
}

/// Elements of an input of `n` images in the executor's layout.
pub fn input_len(executor: &Executor, shape: &Shape, n: usize) -> usize {
    let [h, w] = shape.input;
    match shape.plain_input {
        true => n * shape.in_channels * h * w,
        false => executor.activation_len(n, shape.in_channels, h, w),
    }
}
