//! Convolution on a GPU: cuDNN's, with kernels of our own around them.

use super::{foreign, Conv2d, ConvShape, Forward, InputGradient, Kernels, PackedGradient, WeightGradient};
use crate::algorithm::Pass;
use crate::batch_norm::cuda::moments_of;
use crate::cuda::bias_gradient::bias_gradient;
use crate::cuda::{arguments, padded, Address, Cuda, OCTET};
use crate::{Buffer, DType, GradientTarget, Result, ViewMut};

mod filters;
mod layout;

pub(super) use filters::{pack, pack_together, unpack_together};
pub(super) use layout::CudnnLayout;

fn layout(conv: &Conv2d) -> Result<&CudnnLayout> {
    match &conv.kernels {
        Kernels::Cuda(layout) => Ok(layout),
        Kernels::Reference | Kernels::Cpu(_) => foreign(),
    }
}

fn output_len(shape: &ConvShape, n: usize) -> usize {
    let [p, q] = shape.output();
    n * p * q * padded(shape.out_channels)
}

/// x as cuDNN reads it: plain images are brought to `scratch`.
fn imported(cuda: &Cuda, conv: &Conv2d, n: usize, x: &Buffer, scratch: &mut Buffer) -> Result<Address> {
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let len = layout.input_len(n);
    if !shape.plain_input {
        return cuda.real(x, len);
    }
    let [height, width] = shape.input;
    let images = cuda.address(x, DType::F32, n * shape.in_channels * height * width)?;
    let target = cuda.real(scratch, len)?;
    let arguments = arguments![
        (len / OCTET) as i64,
        shape.in_channels as i32,
        height as i32,
        width as i32,
        layout.block as i32,
        layout.lead[0] as i32,
        layout.lead[1] as i32,
        layout.input[0] as i32,
        layout.input[1] as i32,
        images,
        target,
    ];
    // SAFETY: there are `n` images of the shape's size, and room for the imported ones.
    unsafe { cuda.launch("conv_import", len / OCTET, arguments)? };
    Ok(target)
}

pub(super) fn forward(cuda: &Cuda, conv: &Conv2d, call: Forward) -> Result<()> {
    let Forward { n, x, params: _, packed, scratch, y, shortcut, relu, moments } = call;
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let x = imported(cuda, conv, n, x, scratch)?;
    let packed = cuda.real(packed, layout.packed_len(shape))?;
    let len = output_len(shape, n);
    let y = cuda.real(y, len)?;
    cuda.convolve(&layout.geometry(cuda, shape, n, false), Pass::Forward, x, packed, y)?;
    let bias = match shape.bias && moments.is_none() {
        true => layout.bias(shape, packed),
        false => Address::NULL,
    };
    let partial = layout.channels[1] < layout.pixel[1];
    if bias != Address::NULL || shortcut.is_some() || relu || partial {
        let shortcut = shortcut.map_or(Ok(Address::NULL), |shortcut| cuda.real(shortcut, len))?;
        let arguments = arguments![(len / OCTET) as i64, shape.out_channels as i32, bias, shortcut, relu, y];
        // SAFETY: y and the shortcut have so many octets, and there is a bias for each channel.
        unsafe { cuda.launch_octets("conv_epilogue", len / OCTET, shape.out_channels, arguments)? };
    }
    match moments {
        Some(moments) => moments_of(cuda, n, y, moments),
        None => Ok(()),
    }
}

pub(super) fn input_gradient(cuda: &Cuda, conv: &Conv2d, call: InputGradient) -> Result<()> {
    let InputGradient { n, dy, packed, dx: GradientTarget { buffer: dx, accumulate }, .. } = call;
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let len = layout.input_len(n);
    let weights = cuda.real(packed, layout.packed_len(shape))?;
    let (dy, dx) = (cuda.real(dy, output_len(shape, n))?, cuda.real(dx, len)?);
    cuda.convolve(&layout.geometry(cuda, shape, n, accumulate), Pass::InputGradient, dy, weights, dx)?;
    // What is added to has zeros there.
    if layout.channels[0] < layout.pixel[0] && !accumulate {
        let (octets, channels) = ((len / OCTET) as i64, shape.in_channels as i32);
        let arguments = arguments![octets, channels, Address::NULL, Address::NULL, false, dx];
        // SAFETY: the gradient has so many octets.
        unsafe { cuda.launch_octets("conv_epilogue", len / OCTET, shape.in_channels, arguments)? };
    }
    Ok(())
}

pub(super) fn weight_gradient(cuda: &Cuda, conv: &Conv2d, call: WeightGradient) -> Result<()> {
    let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let total = layout.scratch_len(shape, Pass::WeightGradient, n);
    let packed = cuda.real(scratch, total)?.plus(total - layout.weights_len(shape), cuda.dtype());
    let gradients = packed_gradient_at(cuda, conv, n, [x, dy], scratch, packed, grads, skip_bias)?;
    // SAFETY: there are so many gradients, and all packed ones.
    unsafe { filters::unpack(cuda, conv, packed, gradients, skip_bias) }
}

pub(super) fn packed_gradient(cuda: &Cuda, conv: &Conv2d, call: PackedGradient) -> Result<()> {
    let PackedGradient { n, x, dy, scratch, packed, grads, skip_bias } = call;
    let packed = cuda.real(packed, layout(conv)?.weights_len(&conv.shape))?;
    packed_gradient_at(cuda, conv, n, [x, dy], scratch, packed, grads, skip_bias).map(drop)
}

/// Writes the packed gradient of the weights, and that of the bias to its place; returns where the parameters' gradients are.
fn packed_gradient_at(
    cuda: &Cuda,
    conv: &Conv2d,
    n: usize,
    [x, dy]: [&Buffer; 2],
    scratch: &mut Buffer,
    packed: Address,
    grads: ViewMut,
    skip_bias: bool,
) -> Result<Address> {
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let (x, dy) = (imported(cuda, conv, n, x, scratch)?, cuda.real(dy, output_len(shape, n))?);
    cuda.convolve(&layout.geometry(cuda, shape, n, false), Pass::WeightGradient, x, dy, packed)?;
    let gradients = grads.device_address(shape.params_len())?;
    if shape.bias && !skip_bias {
        let [p, q] = shape.output();
        bias_gradient(cuda, n * p * q, shape.out_channels, dy, gradients.plus_f32(shape.weight_len()))?;
    }
    Ok(gradients)
}
