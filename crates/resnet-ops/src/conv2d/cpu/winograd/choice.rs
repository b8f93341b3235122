//! Direct or Winograd: a rule of shape and batch, fitted to measurements on AVX-512 and AVX2, never a timing at run time.
//!
//! ```text
//!   cost for a pair of channels, in products, of n maps that are cut into t tiles of p points, with u points of weights:
//!
//!   direct    n · taps                           those on padding are skipped: (3h − 2)(3w − 2) with stride 1
//!           + 100                                weights to and from the kernels' order
//!   Winograd  p · n · t · (1 + 10/C + 10/K)      products of points; transforms of both activations
//!           + u · 12                             weights to points, and products that wait for them
//! ```
//!
//! Winograd's is taken where, weights apart, direct costs 1.3 times as much or more: within that, threads that share a memory
//! bus favour the smaller weights. With stride 2, where direct kernels make less of their products, as much is enough. One
//! rule serves all three passes. Maps of 2x2, and deep layers on a few small maps, stay direct. Of the tiles of four outputs
//! and of six a side, those of four, unless those of six save 13 % of the products or more.

use super::form::Size;
use super::tiles::Tiling;
use crate::blocked::{blocks, LANES};
use crate::conv2d::shape::ConvShape;

const DIRECT_WEIGHTS: f64 = 100.0;
const POINT_WEIGHTS: f64 = 12.0;
const TRANSFORMS: f64 = 10.0;
/// Products of tiles of four for each of tiles of six, from which on the latter pay: they have almost twice the weights.
const SIX_MARGIN: f64 = 1.15;
/// By stride.
const MARGINS: [f64; 2] = [1.3, 1.0];

/// Whether Winograd's convolution is defined.
pub(super) fn is_defined(shape: &ConvShape) -> bool {
    let strides = [[1; 2], [2; 2]];
    let fits = shape.kernel == [3; 2] && strides.contains(&shape.stride) && shape.padding == [1; 2];
    fits && shape.groups == 1 && !shape.plain_input
}

/// The tile size for a shape, whatever the batch.
pub(super) fn tiling(shape: &ConvShape) -> Tiling {
    if shape.stride == [2; 2] {
        return Tiling::new(Size::Strided, shape);
    }
    if shape.input.iter().all(|&pixels| pixels <= Size::Whole.outputs()) {
        return Tiling::new(Size::Whole, shape);
    }
    let [four, six] = [Size::Four, Size::Six].map(|size| Tiling::new(size, shape));
    let products = |tiling: &Tiling| (tiling.size.points() * tiling.per_image()) as f64;
    if SIX_MARGIN * products(&six) < products(&four) {
        six
    } else {
        four
    }
}

/// From how many images on Winograd's is the one to take; None if it never is.
pub(super) fn fewest_images(shape: &ConvShape, tiling: &Tiling) -> Option<usize> {
    // The last window ends on padding too, but for an even map and stride 2.
    let edges = |i: usize| if shape.input[i].is_multiple_of(2) && shape.stride[i] == 2 { 1 } else { 2 };
    let [height, width] = [0, 1].map(|i| (3 * shape.output()[i] - edges(i)) as f64);
    let [points, weight_points] = [tiling.size.points(), tiling.size.weights()].map(|points| points as f64);
    let transforms: f64 = [shape.in_channels, shape.out_channels]
        .map(|channels| TRANSFORMS / (blocks(channels) * LANES) as f64)
        .into_iter()
        .sum();
    let margin = MARGINS[tiling.size.stride() - 1];
    let image = height * width - margin * points * tiling.per_image() as f64 * (1.0 + transforms);
    let weights = weight_points * POINT_WEIGHTS - DIRECT_WEIGHTS;
    // The products that an image saves must make up for those that the weights cost.
    (image > 0.0).then(|| (weights / image).ceil().max(1.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(channels: [usize; 2], size: usize) -> ConvShape {
        strided(channels, size, 1)
    }

    fn strided(channels: [usize; 2], size: usize, stride: usize) -> ConvShape {
        ConvShape {
            in_channels: channels[0],
            out_channels: channels[1],
            kernel: [3; 2],
            stride: [stride; 2],
            padding: [1; 2],
            groups: 1,
            bias: false,
            input: [size; 2],
            plain_input: false,
        }
    }

    #[test]
    fn tiles_waste_as_little_as_they_can() {
        let four = [4, 7, 8, 14, 15, 16, 20, 28, 32, 56];
        let six = [5, 6, 9, 10, 11, 12, 17, 18, 22, 24, 36, 48];
        for (sizes, expected) in [(&four[..], Size::Four), (&six[..], Size::Six), (&[1, 2, 3], Size::Whole)] {
            for &size in sizes {
                assert_eq!(tiling(&shape([64; 2], size)).size, expected, "{size}");
            }
        }
    }

    #[test]
    fn the_rule_says_what_was_measured() {
        let fewest_of = |shape: ConvShape| fewest_images(&shape, &tiling(&shape));
        let fewest = |channels, size| fewest_of(shape(channels, size));
        // ResNet-18 at 96x96, CIFAR's networks, a VGG stem.
        assert_eq!(fewest([64; 2], 24), Some(1));
        assert_eq!(fewest([128; 2], 12), Some(1));
        assert_eq!(fewest([256; 2], 6), Some(5));
        assert_eq!(fewest([512; 2], 3), Some(4));
        assert_eq!(fewest([16; 2], 32), Some(1));
        assert_eq!(fewest([64; 2], 8), Some(2));
        assert_eq!(fewest([3, 64], 32), Some(1));
        for channels in [64, 512] {
            assert_eq!(fewest([channels; 2], 2), None);
            assert_eq!(fewest([channels; 2], 1), None);
        }
        let halving = |channels, size| fewest_of(strided(channels, size, 2));
        assert_eq!(halving([64, 128], 56), Some(1));
        assert_eq!(halving([64, 128], 24), Some(1));
        assert_eq!(halving([128, 256], 12), Some(3));
        assert_eq!(halving([256, 512], 6), Some(17));
        for (channels, size) in [([32, 64], 16), ([256, 512], 14), ([512; 2], 7), ([512; 2], 4)] {
            assert_eq!(halving(channels, size), None, "{channels:?} at {size}");
        }
    }

    #[test]
    fn it_is_defined_for_plain_3x3_kernels_only() {
        let regular = shape([32; 2], 8);
        assert!(is_defined(&regular));
        for other in [
            ConvShape { kernel: [3, 1], ..regular.clone() },
            ConvShape { stride: [1, 2], ..regular.clone() },
            ConvShape { stride: [3; 2], ..regular.clone() },
            ConvShape { padding: [0, 1], ..regular.clone() },
            ConvShape { groups: 2, ..regular.clone() },
            ConvShape { plain_input: true, ..regular },
        ] {
            assert!(!is_defined(&other), "{other:?}");
        }
    }
}
