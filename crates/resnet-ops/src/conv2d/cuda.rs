//! Convolution on a GPU: cuDNN's, with kernels of our own around them.

use super::{foreign, Conv2d, ConvShape, Forward, InputGradient, Kernels, WeightGradient};
use crate::algorithm::Pass;
use crate::batch_norm::cuda::moments_of;
use crate::cuda::bias_gradient::bias_gradient;
use crate::cuda::{arguments, padded, Address, Cuda, Geometry, OCTET};
use crate::{Buffer, DType, GradientTarget, Result, View};

/// How a convolution is put to cuDNN: with whole octets of channels, and a first convolution of stride 2 with 2x2 pixels as one
/// pixel of four times the channels, so that the products of its few channels fill the tensor cores.
pub(super) struct CudnnLayout {
    block: usize,
    /// Blocks of zeros before the image, down and across.
    lead: [usize; 2],
    /// What a rewritten kernel's row or column is off by.
    offset: [i32; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    input: [usize; 2],
    /// Of x and y, with the zero ones that cuDNN reads too.
    channels: [usize; 2],
    /// Elements of a pixel of x and y.
    pixel: [usize; 2],
    /// The type of activations and packed weights.
    dtype: DType,
}

impl CudnnLayout {
    pub fn new(cuda: &Cuda, shape: &ConvShape) -> Self {
        let [p, q] = shape.output();
        let blocked = shape.plain_input && shape.groups == 1 && shape.stride == [2, 2];
        let block = if blocked { 2 } else { 1 };
        let channels = block * block * shape.in_channels;
        let lanes = |channels: usize| if shape.groups == 1 { padded(channels) } else { channels };
        let mut layout = Self {
            block,
            lead: [0; 2],
            offset: [0; 2],
            kernel: shape.kernel,
            stride: shape.stride,
            padding: shape.padding,
            input: shape.input,
            channels: [lanes(channels), lanes(shape.out_channels)],
            pixel: [padded(channels), padded(shape.out_channels)],
            dtype: cuda.dtype(),
        };
        if blocked {
            for (axis, output) in [p, q].into_iter().enumerate() {
                let (kernel, padding) = (shape.kernel[axis], shape.padding[axis]);
                let lead = padding.div_ceil(2);
                layout.lead[axis] = lead;
                layout.offset[axis] = padding as i32 - 2 * lead as i32;
                layout.kernel[axis] = (kernel + 2 * lead - padding).div_ceil(2);
                layout.stride[axis] = 1;
                layout.padding[axis] = 0;
                layout.input[axis] = output + layout.kernel[axis] - 1;
            }
        }
        layout
    }

    /// Lanes of a packed weight's tap.
    fn lanes(&self, shape: &ConvShape) -> usize {
        self.channels[0] / shape.groups
    }

    /// Channels, height and width of a kernel; a block's side, what a rewritten kernel is off by, its size and its lanes.
    fn weight_sizes(&self, shape: &ConvShape) -> [i32; 9] {
        let [height, width] = shape.kernel.map(|size| size as i32);
        let ([down, across], [rows, columns]) = (self.offset, self.kernel.map(|size| size as i32));
        let [channels, block, lanes] =
            [shape.in_channels / shape.groups, self.block, self.lanes(shape)].map(|size| size as i32);
        [channels, height, width, block, down, across, rows, columns, lanes]
    }

    /// Elements of the packed weights.
    fn weights_len(&self, shape: &ConvShape) -> usize {
        self.channels[1] * self.kernel[0] * self.kernel[1] * self.lanes(shape)
    }

    /// Where the bias begins, in f32, in what is packed.
    fn bias_start(&self, shape: &ConvShape) -> usize {
        self.weights_len(shape).next_multiple_of(OCTET)
    }

    /// Elements of all that is packed.
    pub fn packed_len(&self, shape: &ConvShape) -> usize {
        let bias = if shape.bias { shape.out_channels } else { 0 };
        self.bias_start(shape) + bias * DType::F32.size_in_bytes() / self.dtype.size_in_bytes()
    }

    /// Elements of x as cuDNN reads it.
    fn input_len(&self, n: usize) -> usize {
        n * self.input[0] * self.input[1] * self.pixel[0]
    }

    pub fn scratch_len(&self, shape: &ConvShape, pass: Pass, n: usize) -> usize {
        let imported = if shape.plain_input { self.input_len(n) } else { 0 };
        match pass {
            Pass::Forward => imported,
            Pass::InputGradient => self.input_len(n),
            Pass::WeightGradient => imported + self.weights_len(shape),
        }
    }

    /// The bias in what is packed.
    fn bias(&self, shape: &ConvShape, packed: Address) -> Address {
        packed.plus(self.bias_start(shape), self.dtype)
    }

    fn geometry(&self, cuda: &Cuda, shape: &ConvShape, n: usize) -> Geometry {
        Geometry {
            n,
            in_channels: self.channels[0],
            out_channels: self.channels[1],
            input: self.input,
            output: shape.output(),
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            groups: shape.groups,
            pixel: self.pixel,
            precision: cuda.precision(),
        }
    }
}

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

pub(super) fn pack(cuda: &Cuda, conv: &Conv2d, params: View, packed: &mut Buffer) -> Result<()> {
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let len = layout.weights_len(shape);
    let (weights, packed) = (params.device_address(shape.params_len())?, cuda.real(packed, layout.packed_len(shape))?);
    let [channels, height, width, block, down, across, rows, columns, lanes] = layout.weight_sizes(shape);
    let (threads, outputs) = (len / lanes as usize * (lanes as usize).div_ceil(OCTET), shape.out_channels as i32);
    let arguments = arguments![
        threads as i64,
        outputs,
        channels,
        height,
        width,
        block,
        down,
        across,
        rows,
        columns,
        lanes,
        weights,
        packed
    ];
    // SAFETY: there are as many weights as the shape says, and room for all packed ones.
    unsafe { cuda.launch("conv_pack", threads, arguments)? };
    match shape.bias {
        true => {
            let (source, target) = (weights.plus_f32(shape.weight_len()), layout.bias(shape, packed));
            copy_bias(cuda, shape.out_channels, source, target)
        }
        false => Ok(()),
    }
}

/// Copies a bias, or clears it if there is no source.
fn copy_bias(cuda: &Cuda, channels: usize, source: Address, target: Address) -> Result<()> {
    // SAFETY: both have a value for each channel.
    unsafe { cuda.launch("conv_bias", channels, arguments![channels as i32, source, target]) }
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
    cuda.convolve(&layout.geometry(cuda, shape, n), Pass::Forward, x, packed, y)?;
    let bias = match shape.bias && moments.is_none() {
        true => layout.bias(shape, packed),
        false => Address::NULL,
    };
    let partial = layout.channels[1] < layout.pixel[1];
    if bias != Address::NULL || shortcut.is_some() || relu || partial {
        let shortcut = shortcut.map_or(Ok(Address::NULL), |shortcut| cuda.real(shortcut, len))?;
        let arguments = arguments![(len / OCTET) as i64, shape.out_channels as i32, bias, shortcut, relu, y];
        // SAFETY: y and the shortcut have so many octets, and there is a bias for each channel.
        unsafe { cuda.launch("conv_epilogue", len / OCTET, arguments)? };
    }
    match moments {
        Some(moments) => moments_of(cuda, shape.out_channels, shape.output(), n, y, moments),
        None => Ok(()),
    }
}

pub(super) fn input_gradient(cuda: &Cuda, conv: &Conv2d, call: InputGradient) -> Result<()> {
    let InputGradient { n, dy, params: _, packed, scratch, dx: GradientTarget { buffer: dx, accumulate }, norm: _ } =
        call;
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let len = layout.input_len(n);
    let weights = cuda.real(packed, layout.packed_len(shape))?;
    let (dy, dx) = (cuda.real(dy, output_len(shape, n))?, cuda.real(dx, len)?);
    let target = if accumulate { cuda.real(scratch, len)? } else { dx };
    cuda.convolve(&layout.geometry(cuda, shape, n), Pass::InputGradient, dy, weights, target)?;
    if layout.channels[0] < layout.pixel[0] {
        let (octets, channels) = ((len / OCTET) as i64, shape.in_channels as i32);
        let arguments = arguments![octets, channels, Address::NULL, Address::NULL, false, target];
        // SAFETY: the gradient has so many octets.
        unsafe { cuda.launch("conv_epilogue", len / OCTET, arguments)? };
    }
    if accumulate {
        // SAFETY: both gradients have `len` elements.
        unsafe { cuda.launch("add_gradient", len / OCTET, arguments![len as i64, target, dx, true])? };
    }
    Ok(())
}

pub(super) fn weight_gradient(cuda: &Cuda, conv: &Conv2d, call: WeightGradient) -> Result<()> {
    let WeightGradient { n, x, dy, scratch, grads, skip_bias } = call;
    let (shape, layout) = (&conv.shape, layout(conv)?);
    let x = imported(cuda, conv, n, x, scratch)?;
    let total = layout.scratch_len(shape, Pass::WeightGradient, n);
    let packed = cuda.real(scratch, total)?.plus(total - layout.weights_len(shape), cuda.dtype());
    let dy = cuda.real(dy, output_len(shape, n))?;
    cuda.convolve(&layout.geometry(cuda, shape, n), Pass::WeightGradient, x, dy, packed)?;
    let (len, grads) = (shape.weight_len(), grads.device_address(shape.params_len())?);
    let [channels, height, width, block, down, across, rows, columns, lanes] = layout.weight_sizes(shape);
    let kernels = len / shape.kernel.iter().product::<usize>();
    let arguments =
        arguments![kernels as i64, channels, height, width, block, down, across, rows, columns, lanes, packed, grads];
    // SAFETY: there are so many gradients, and all packed ones.
    unsafe { cuda.launch("conv_unpack", kernels, arguments)? };
    let bias = grads.plus_f32(len);
    match (shape.bias, skip_bias) {
        (false, _) => Ok(()),
        (true, true) => copy_bias(cuda, shape.out_channels, Address::NULL, bias),
        (true, false) => {
            let [p, q] = shape.output();
            bias_gradient(cuda, n * p * q, shape.out_channels, dy, bias)
        }
    }
}
