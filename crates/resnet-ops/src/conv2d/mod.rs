//! Two-dimensional convolution (cross-correlation, as in deep learning): output, input gradient, weight gradient.
//!
//! y\[n,k,p,q\] = bias\[k\] + Σ over c of k's group, r, s of x\[n, c, p·stride+r−padding, q·stride+s−padding\] · w\[k,c,r,s\].

use crate::algorithm::Pass;
use crate::batch_norm::{fuses_backward, Moments};
use crate::executor::by_backend;
use crate::{Buffer, Executor, Result, View};
use candle_core::bail;

mod call;
mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;
mod shape;

pub use cpu::quantize_row;

pub use call::{Forward, FusedNorm, InputGradient, PackedGradient, Packing, Unpacking, WeightGradient};
pub use shape::{ConvShape, InputRange};

/// A convolution prepared for a backend: what depends on its shape alone is worked out once.
pub struct Conv2d {
    shape: ConvShape,
    kernels: Kernels,
}

/// What a backend runs a convolution with.
enum Kernels {
    /// The definition.
    Reference,
    /// One of the CPU backend's kinds, by shape.
    Cpu(Box<cpu::CpuKernels>),
    /// cuDNN's, and how the convolution is put to it.
    #[cfg(feature = "cuda-kernels")]
    Cuda(cuda::CudnnLayout),
}

impl Conv2d {
    /// Prepares a convolution.
    ///
    /// # Errors
    /// If a size is zero, groups do not divide the channels, or the kernel is larger than the padded input.
    pub fn new(executor: &Executor, shape: ConvShape) -> Result<Self> {
        shape.check()?;
        let kernels = match executor {
            Executor::ReferenceF32 | Executor::ReferenceF64 => Kernels::Reference,
            Executor::Cpu(cpu) => Kernels::Cpu(Box::new(cpu::CpuKernels::new(cpu, &shape))),
            #[cfg(feature = "cuda-kernels")]
            Executor::Cuda(cuda) => Kernels::Cuda(cuda::CudnnLayout::new(cuda, &shape)),
        };
        Ok(Self { shape, kernels })
    }

    /// Prepares a convolution for an input of which a range is known: the CPU backend then multiplies bytes in the forward pass, where it has
    /// [a way](crate::Int8Products) that is faster than f32. Weights are best rounded by [`quantize_row`] before.
    ///
    /// # Errors
    /// As for [`Conv2d::new`].
    pub fn quantized(executor: &Executor, shape: ConvShape, range: InputRange) -> Result<Self> {
        let Self { shape, kernels } = Self::new(executor, shape)?;
        let kernels = match executor {
            Executor::Cpu(cpu) => Kernels::Cpu(Box::new(cpu::CpuKernels::quantized(cpu, &shape, range))),
            Executor::ReferenceF32 | Executor::ReferenceF64 => kernels,
            #[cfg(feature = "cuda-kernels")]
            Executor::Cuda(_) => kernels,
        };
        Ok(Self { shape, kernels })
    }

    /// The same for weights that change from call to call: the CPU backend does not pack large ones.
    pub fn for_training(mut self) -> Self {
        match &mut self.kernels {
            Kernels::Cpu(kernels) => kernels.train(),
            Kernels::Reference => {}
            #[cfg(feature = "cuda-kernels")]
            Kernels::Cuda(_) => {}
        }
        self
    }

    /// The shape it was prepared for.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Elements of the executor's type that the packed weights of a pass take; 0 if the backend reads the parameters as they are.
    pub fn packed_len(&self, pass: Pass) -> usize {
        match &self.kernels {
            Kernels::Reference => 0,
            Kernels::Cpu(kernels) => kernels.packed_len(pass),
            #[cfg(feature = "cuda-kernels")]
            Kernels::Cuda(rewritten) => rewritten.packed_len(&self.shape),
        }
    }

    /// Elements of the executor's type of scratch space that a pass needs for a batch of up to `n` images.
    pub fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match &self.kernels {
            Kernels::Reference => 0,
            Kernels::Cpu(kernels) => kernels.scratch_len(pass, n),
            #[cfg(feature = "cuda-kernels")]
            Kernels::Cuda(rewritten) => rewritten.scratch_len(&self.shape, pass, n),
        }
    }

    /// Whether weights that were packed for a batch of `n` images serve one of `m`.
    pub fn packs_alike(&self, n: usize, m: usize) -> bool {
        match &self.kernels {
            Kernels::Reference => true,
            Kernels::Cpu(kernels) => kernels.packs_alike(n, m),
            #[cfg(feature = "cuda-kernels")]
            Kernels::Cuda(_) => true,
        }
    }
}

/// Writes the weights, [`Conv2d::packed_len`] elements, in the order in which the backend's kernels of `pass` read them for a batch
/// of `n` images.
///
/// # Errors
/// If a buffer is of another type or on another device; if the convolution was prepared for another backend; if the device
/// fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn pack(executor: &Executor, conv: &Conv2d, n: usize, pass: Pass, params: View, packed: &mut Buffer) -> Result<()> {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 => reference::shape(conv).map(drop),
        Executor::Cpu(cpu) => cpu::pack(cpu, conv, n, pass, params, packed),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::pack(cuda, conv, params, packed),
    }
}

/// Whether the weights are best packed for many convolutions at once, by [`pack_together`], and serve every pass then; and their gradients
/// computed as they are packed, by [`packed_gradient`], and brought back at once, by [`unpack_together`].
pub fn packs_together(executor: &Executor) -> bool {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => false,
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => true,
    }
}

/// [`pack`] for each of these, in as few launches as can be.
///
/// # Errors
/// If the backend does not [pack together](packs_together); as for [`pack`].
#[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
pub fn pack_together(executor: &Executor, every: &mut [Packing]) -> Result<()> {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => apart(),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::pack_together(cuda, every),
    }
}

/// [`weight_gradient`], but that the gradients of the weights are left as they are packed, for [`unpack_together`].
///
/// # Errors
/// As for [`pack_together`].
#[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
pub fn packed_gradient(executor: &Executor, conv: &Conv2d, call: PackedGradient) -> Result<()> {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => apart(),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::packed_gradient(cuda, conv, call),
    }
}

/// Brings gradients of weights to their places in flat storage, as the parameters lie, and clears those of biases that were skipped.
///
/// # Errors
/// As for [`pack_together`].
#[cfg_attr(not(feature = "cuda-kernels"), allow(unused_variables))]
pub fn unpack_together(executor: &Executor, every: &[Unpacking], gradients: &mut Buffer) -> Result<()> {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => apart(),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => cuda::unpack_together(cuda, every, gradients),
    }
}

fn apart<T>() -> Result<T> {
    bail!("convolution: this backend packs weights one by one")
}

/// Whether a convolution whose moments are wanted elides its bias, which the batch norm after it would take away again:
/// [`crate::batch_norm::update_running`] then makes up for it.
pub fn elides_bias(executor: &Executor) -> bool {
    match executor {
        Executor::ReferenceF32 | Executor::ReferenceF64 | Executor::Cpu(_) => false,
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(_) => true,
    }
}

/// y = act(conv(x) + bias + shortcut) for `n` images, where act is ReLU or nothing and the shortcut may be absent.
///
/// # Errors
/// As for [`pack`].
pub fn forward(executor: &Executor, conv: &Conv2d, call: Forward) -> Result<()> {
    forward_together(executor, conv, vec![call])
}

/// [`forward`] of several batches, to the bits of a call for each; what is worked out from the weights alone is worked out once.
///
/// # Errors
/// As for [`pack`].
pub fn forward_together(executor: &Executor, conv: &Conv2d, calls: Vec<Forward>) -> Result<()> {
    for Moments { op, .. } in calls.iter().filter_map(|call| call.moments.as_ref()) {
        if (op.channels, op.size) != (conv.shape.out_channels, conv.shape.output()) {
            bail!("convolution: {op:?} does not read an output of {:?}", conv.shape);
        }
    }
    match executor {
        Executor::ReferenceF32 => calls.into_iter().try_for_each(|call| reference::forward::<f32>(conv, call)),
        Executor::ReferenceF64 => calls.into_iter().try_for_each(|call| reference::forward::<f64>(conv, call)),
        Executor::Cpu(cpu) => cpu::forward(cpu, conv, calls),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => calls.into_iter().try_for_each(|call| cuda::forward(cuda, conv, call)),
    }
}

/// Writes the gradient of the input, or adds it to what is there. With a [`FusedNorm`] it begins that norm's backward, too.
///
/// # Errors
/// If the input is plain, for the CPU and GPU backends; if a norm is given to a backend that
/// [does not fuse it](crate::batch_norm::fuses_backward), or one of another shape than the input; as for [`pack`].
pub fn input_gradient(executor: &Executor, conv: &Conv2d, call: InputGradient) -> Result<()> {
    input_gradient_together(executor, conv, vec![call])
}

/// [`input_gradient`] of several batches, as [`forward_together`].
///
/// # Errors
/// As for [`input_gradient`].
pub fn input_gradient_together(executor: &Executor, conv: &Conv2d, calls: Vec<InputGradient>) -> Result<()> {
    let ConvShape { plain_input, in_channels, input, .. } = conv.shape;
    if plain_input && !executor.is_reference() {
        bail!("convolution: a plain input has no gradient");
    }
    for FusedNorm { op, .. } in calls.iter().filter_map(|call| call.norm.as_ref()) {
        if !fuses_backward(executor) {
            bail!("convolution: this backend does not begin the backward of a batch norm");
        }
        if (op.channels, op.size) != (in_channels, input) {
            bail!("convolution: {op:?} did not make an input of {in_channels} channels of {input:?}");
        }
    }
    match executor {
        Executor::ReferenceF32 => calls.into_iter().try_for_each(|call| reference::input_gradient::<f32>(conv, call)),
        Executor::ReferenceF64 => calls.into_iter().try_for_each(|call| reference::input_gradient::<f64>(conv, call)),
        Executor::Cpu(cpu) => cpu::input_gradient(cpu, conv, calls),
        #[cfg(feature = "cuda-kernels")]
        Executor::Cuda(cuda) => calls.into_iter().try_for_each(|call| cuda::input_gradient(cuda, conv, call)),
    }
}

/// A convolution prepared for another backend than that which is to run it.
fn foreign<T>() -> Result<T> {
    bail!("convolution: prepared for another backend")
}

/// Writes the gradients of weights and bias, summed over `n` images.
///
/// # Errors
/// As for [`pack`].
pub fn weight_gradient(executor: &Executor, conv: &Conv2d, call: WeightGradient) -> Result<()> {
    by_backend!(executor, weight_gradient(conv, call))
}

/// Elements of an input of `n` images in the executor's layout.
pub fn input_len(executor: &Executor, shape: &ConvShape, n: usize) -> usize {
    let [h, w] = shape.input;
    match shape.plain_input {
        true => n * shape.in_channels * h * w,
        false => executor.activation_len(n, shape.in_channels, h, w),
    }
}
