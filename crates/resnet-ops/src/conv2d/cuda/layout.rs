//! How a convolution is put to cuDNN.

use super::super::ConvShape;
use crate::algorithm::Pass;
use crate::cuda::{padded, Address, Cuda, Geometry, OCTET};
use crate::DType;

/// How a convolution is put to cuDNN: with whole octets of channels, and a first convolution of stride 2 with 2x2 pixels as one
/// pixel of four times the channels, so that the products of its few channels fill the tensor cores.
pub(in crate::conv2d) struct CudnnLayout {
    pub(super) block: usize,
    /// Blocks of zeros before the image, down and across.
    pub(super) lead: [usize; 2],
    /// What a rewritten kernel's row or column is off by.
    offset: [i16; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    pub(super) input: [usize; 2],
    /// Of x and y, with the zero ones that cuDNN reads too.
    pub(super) channels: [usize; 2],
    /// Elements of a pixel of x and y.
    pub(super) pixel: [usize; 2],
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
                layout.offset[axis] = -((padding % 2) as i16);
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

    /// Filters in what is packed, the zero ones too.
    pub(super) fn packed_filters(&self) -> usize {
        self.channels[1]
    }

    /// Filters in what is packed, filters, channels, height and width of a kernel; a block's side, what a rewritten kernel is off by (down and
    /// across, half a word each), its size and its lanes.
    pub(super) fn filter_sizes(&self, shape: &ConvShape) -> [i32; 10] {
        let [height, width] = shape.kernel.map(|size| size as i32);
        let [down, across] = self.offset.map(|offset| i32::from(offset as u16));
        let [packed, filters, channels, block, rows, columns, lanes] = [
            self.packed_filters(),
            shape.out_channels,
            shape.in_channels / shape.groups,
            self.block,
            self.kernel[0],
            self.kernel[1],
            self.lanes(shape),
        ]
        .map(|size| size as i32);
        [packed, filters, channels, height, width, block, across << 16 | down, rows, columns, lanes]
    }

    /// Elements of the packed weights.
    pub(super) fn weights_len(&self, shape: &ConvShape) -> usize {
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
    pub(super) fn input_len(&self, n: usize) -> usize {
        n * self.input[0] * self.input[1] * self.pixel[0]
    }

    pub fn scratch_len(&self, shape: &ConvShape, pass: Pass, n: usize) -> usize {
        let imported = if shape.plain_input { self.input_len(n) } else { 0 };
        match pass {
            Pass::Forward => imported,
            Pass::InputGradient => 0,
            Pass::WeightGradient => imported + self.weights_len(shape),
        }
    }

    /// The bias in what is packed.
    pub(super) fn bias(&self, shape: &ConvShape, packed: Address) -> Address {
        packed.plus(self.bias_start(shape), self.dtype)
    }

    /// What cuDNN is asked for; with `accumulate` it adds to what is there.
    pub(super) fn geometry(&self, cuda: &Cuda, shape: &ConvShape, n: usize, accumulate: bool) -> Geometry {
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
            accumulate,
        }
    }
}
