//! Which convolutions have their operands rounded: a rule of shape and instruction set, never a timing at run time.
//!
//! AMX makes sixteen times as many products as f32's kernels, from which Winograd's save two thirds to four fifths: by that estimate it takes
//! all shapes. AVX512_BF16 makes twice as many. By measurements on a Zen 5 it is used where its products, each counted as half of one, are at most
//! so large a share of those of direct kernels, and in the place of Winograd's kernels for outputs with stride 2 alone. Bytes are four times as
//! many products, and by such measurements with AVX512_VNNI each counts as a quarter, which is assumed of the others. Nothing is left to Winograd's kernels, which are some
//! tenths faster with large batches of 3x3 kernels: so an image's outputs are the same alone and among others.
//!
//! ```text
//!   bf16                outputs      32 · ⌈C/32⌉ · taps · rows / 2        rows: places, those between lines and images too
//!                       weights      16 · ⌈C/16⌉ · taps · rows / 2
//!   bytes               outputs      64 · ⌈C/64⌉ · taps · rows / 4
//!   f32, direct                      16 · ⌈C/16⌉ · those taps of each pixel that do not fall on padding
//! ```

use super::axis::{ends, Axis};
use super::bf16::pack;
use super::int8::bytes;
use crate::algorithm::{Algorithm, Pass};
use crate::blocked::{blocks, LANES};
use crate::conv2d::cpu::winograd::Winograd;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::{Bf16Products, Int8Products};

/// Most products of bf16, as halves, and of bytes, as quarters, for each of f32: of outputs, and of weights, whose maps are both rounded anew.
const MOST: f64 = 0.75;
const MOST_OF_WEIGHTS: f64 = 0.6;

/// Whether there are such kernels for a shape.
pub(super) fn is_defined(shape: &ConvShape) -> bool {
    shape.groups == 1 && !shape.plain_input
}

/// Whether they are the ones to run a pass.
pub(super) fn takes(cpu: &Cpu, products: Bf16Products, shape: &ConvShape, pass: Pass) -> bool {
    let always = matches!(cpu.convolution, Algorithm::Bf16(_));
    let pays = || match products {
        Bf16Products::Amx => true,
        Bf16Products::Avx512 | Bf16Products::Neon | Bf16Products::Model => {
            let (strided, most) = match pass {
                Pass::Forward | Pass::InputGradient => (shape.stride[0] > 1, MOST),
                Pass::WeightGradient => (false, MOST_OF_WEIGHTS),
            };
            (strided || Winograd::new(cpu, shape).is_none()) && share(shape, pass) <= most
        }
    };
    is_defined(shape) && (always || pays())
}

/// Whether bytes may be the operands of a shape's forward pass. Sums must fit 32 bits.
pub(super) fn takes_bytes(cpu: &Cpu, products: Int8Products, shape: &ConvShape) -> bool {
    let largest = (shape.in_channels * shape.kernel[0] * shape.kernel[1]).saturating_mul(255 * 127);
    let always = matches!(cpu.convolution, Algorithm::Int8(_));
    let pays = || match products {
        Int8Products::Amx => true,
        Int8Products::Model | Int8Products::Avx2 | Int8Products::Avx512 | Int8Products::Neon => {
            share_of_bytes(shape) <= MOST
        }
    };
    is_defined(shape) && i32::try_from(largest).is_ok() && (always || pays())
}

/// What a pass takes of bf16 for each product of f32.
fn share(shape: &ConvShape, pass: Pass) -> f64 {
    let [source, _] = ends(shape, pass);
    let depths = match pass {
        Pass::Forward | Pass::InputGradient => source.div_ceil(pack::DEPTHS) * pack::DEPTHS,
        Pass::WeightGradient => blocks(source) * LANES,
    };
    products(shape, pass, depths) / 2.0
}

/// What the forward pass takes of bytes for each product of f32.
fn share_of_bytes(shape: &ConvShape) -> f64 {
    let depths = shape.in_channels.div_ceil(bytes::DEPTHS) * bytes::DEPTHS;
    products(shape, Pass::Forward, depths) / 4.0
}

/// Products of so many depths for each of direct kernels.
fn products(shape: &ConvShape, pass: Pass, depths: usize) -> f64 {
    let axes = [0, 1].map(|axis| Axis::new(shape, pass, axis));
    let [source, _] = ends(shape, pass);
    let mut rows = 0;
    for below in &axes[0].phases {
        for beside in &axes[1].phases {
            let lines = if pass == Pass::WeightGradient { axes[0].pitch() } else { below.count };
            rows += lines * axes[1].pitch() * below.taps.len() * beside.taps.len();
        }
    }
    let met: usize = [0, 1].map(|axis| met(shape, axis)).into_iter().product();
    (depths * rows) as f64 / (blocks(source) * LANES * met) as f64
}

/// Pairs of output and kernel place along an axis that do not fall on padding.
fn met(shape: &ConvShape, axis: usize) -> usize {
    let met = |output: usize| {
        let places = 0..shape.kernel[axis];
        let inputs = shape.padding[axis]..shape.padding[axis] + shape.input[axis];
        places.filter(|place| inputs.contains(&(output * shape.stride[axis] + place))).count()
    };
    (0..shape.output()[axis]).map(met).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, Precision};

    fn shape([in_channels, out_channels]: [usize; 2], kernel: usize, stride: usize, size: usize) -> ConvShape {
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [kernel / 2; 2]);
        let input = [size; 2];
        ConvShape {
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            groups: 1,
            bias: false,
            input,
            plain_input: false,
        }
    }

    #[test]
    fn the_rule_says_what_was_measured() {
        let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient];
        let Executor::Cpu(cpu) = Executor::cpu(1).unwrap().with_precision(Precision::Bf16) else { unreachable!() };
        let taken = |shape: &ConvShape, products| passes.map(|pass| takes(&cpu, products, shape, pass));
        // A bottleneck's, of ResNet-50, and where half of a step would be zeros.
        for (channels, size) in [([64, 256], 56), ([256, 64], 16), ([2048, 512], 2), ([512, 2048], 1)] {
            assert_eq!(taken(&shape(channels, 1, 1, size), Bf16Products::Avx512), [true; 3], "{channels:?}, {size}");
        }
        assert_eq!(taken(&shape([256, 512], 1, 2, 16), Bf16Products::Avx512), [true; 3]);
        assert_eq!(taken(&shape([16, 64], 1, 1, 8), Bf16Products::Avx512), [false, true, true]);
        // Direct kernels' and Winograd's with stride 2; Winograd's; and maps that would be padding for the most part.
        for (channels, stride, size, avx512) in [
            ([128, 128], 2, 16, [true, true, false]),
            ([256, 256], 2, 8, [true, true, false]),
            ([64, 128], 2, 24, [true, true, false]),
            ([128, 256], 2, 12, [true, true, false]),
            ([256, 512], 2, 6, [false; 3]),
            ([64, 64], 1, 24, [false; 3]),
            ([512, 512], 1, 2, [false; 3]),
            ([512, 512], 2, 4, [false; 3]),
        ] {
            let shape = shape(channels, 3, stride, size);
            assert_eq!(taken(&shape, Bf16Products::Avx512), avx512, "{channels:?}, {size}");
            assert_eq!(taken(&shape, Bf16Products::Amx), [true; 3], "{channels:?}, {size}");
        }
    }

    #[test]
    fn bytes_are_used_where_that_was_faster() {
        let shape = |channels: usize, kernel: usize, groups: usize| ConvShape {
            groups,
            ..shape([channels, 64], kernel, 1, 16)
        };
        let Executor::Cpu(cpu) = Executor::cpu(1).unwrap() else { unreachable!() };
        let taken = |shape: &ConvShape| {
            [Int8Products::Avx512, Int8Products::Amx].map(|products| takes_bytes(&cpu, products, shape))
        };
        assert_eq!(taken(&shape(64, 1, 1)), [true; 2]);
        assert_eq!(taken(&shape(32, 3, 1)), [true; 2]);
        assert_eq!(taken(&shape(16, 1, 1)), [false, true], "three quarters of a step would be zeros");
        assert_eq!(taken(&shape(64, 3, 2)), [false; 2], "groups");
        assert_eq!(taken(&shape(2048, 3, 1)), [true; 2]);
        assert_eq!(taken(&shape(8192, 3, 1)), [false; 2], "sums beyond 32 bits");
    }
}
