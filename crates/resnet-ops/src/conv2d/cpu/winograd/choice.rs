//! Direct or Winograd: a rule of shape and batch, fitted to measurements on AVX-512 and AVX2, never a timing at run time.
//!
//! ```text
//!   cost for a pair of channels, in products, of n maps of h x w that are cut into t tiles of p points:
//!
//!   direct    n · (3h − 2)(3w − 2)               taps on padding are skipped
//!           + 280                                weights to and from the kernels' order
//!   Winograd  p · n · t · (1 + 10/C + 10/K)      products of points; transforms of both activations
//!           + p · 13                             weights to points, and products that wait for them
//! ```
//!
//! Winograd's is taken where direct costs 1.3 times as much or more: within that, threads that share a memory bus favour
//! the smaller weights. One rule serves all three passes. Maps of 2x2, and deep layers on a few small maps, stay direct.

use super::super::super::Shape;
use super::tiles::{Size, Tiling};
use crate::layout::{blocks, LANES};

const DIRECT_WEIGHTS: f64 = 280.0;
const POINT_WEIGHTS: f64 = 13.0;
const TRANSFORMS: f64 = 10.0;
const MARGIN: f64 = 1.3;

/// Whether Winograd's convolution is defined.
pub(super) fn is_defined(shape: &Shape) -> bool {
    let window = [shape.kernel, shape.stride, shape.padding];
    window == [[3; 2], [1; 2], [1; 2]] && shape.groups == 1 && !shape.plain_input
}

/// The tile size with the fewest products.
pub(super) fn tiling(shape: &Shape) -> Tiling {
    let [four, three] = [Size::Four, Size::Three].map(|size| Tiling::new(size, shape.input));
    let products = |tiling: &Tiling| tiling.size.points() * tiling.per_image();
    if products(&four) <= products(&three) {
        four
    } else {
        three
    }
}

/// From how many images on Winograd's is the one to take; None if it never is.
pub(super) fn fewest_images(shape: &Shape, tiling: &Tiling) -> Option<usize> {
    let [height, width] = shape.input.map(|size| (3 * size - 2) as f64);
    let points = tiling.size.points() as f64;
    let transforms: f64 = [shape.in_channels, shape.out_channels]
        .map(|channels| TRANSFORMS / (blocks(channels) * LANES) as f64)
        .into_iter()
        .sum();
    let image = height * width - MARGIN * points * tiling.per_image() as f64 * (1.0 + transforms);
    let weights = MARGIN * points * POINT_WEIGHTS - DIRECT_WEIGHTS;
    // The products that an image saves must make up for those that the weights cost.
    (image > 0.0).then(|| (weights / image).ceil().max(1.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(channels: [usize; 2], size: usize) -> Shape {
        Shape {
            in_channels: channels[0],
            out_channels: channels[1],
            kernel: [3; 2],
            stride: [1; 2],
            padding: [1; 2],
            groups: 1,
            bias: false,
            input: [size; 2],
            plain_input: false,
        }
    }

    #[test]
    fn tiles_waste_as_little_as_they_can() {
        let four = [4, 7, 8, 11, 12, 14, 16, 24, 28, 32, 56];
        let three = [1, 2, 3, 5, 6, 9];
        for (sizes, expected) in [(&four[..], Size::Four), (&three[..], Size::Three)] {
            for &size in sizes {
                assert_eq!(tiling(&shape([64; 2], size)).size, expected, "{size}");
            }
        }
    }

    #[test]
    fn the_rule_says_what_was_measured() {
        let fewest = |channels, size| {
            let shape = shape(channels, size);
            fewest_images(&shape, &tiling(&shape))
        };
        // ResNet-18 at 96x96, CIFAR's networks, a VGG stem.
        assert_eq!(fewest([64; 2], 24), Some(1));
        assert_eq!(fewest([128; 2], 12), Some(1));
        assert_eq!(fewest([256; 2], 6), Some(2));
        assert_eq!(fewest([512; 2], 3), Some(10));
        assert_eq!(fewest([16; 2], 32), Some(1));
        assert_eq!(fewest([64; 2], 8), Some(2));
        assert_eq!(fewest([3, 64], 32), Some(1));
        for channels in [64, 512] {
            assert_eq!(fewest([channels; 2], 2), None);
            assert_eq!(fewest([channels; 2], 1), None);
        }
    }

    #[test]
    fn it_is_defined_for_plain_3x3_kernels_only() {
        let regular = shape([32; 2], 8);
        assert!(is_defined(&regular));
        for other in [
            Shape { kernel: [3, 1], ..regular.clone() },
            Shape { stride: [1, 2], ..regular.clone() },
            Shape { padding: [0, 1], ..regular.clone() },
            Shape { groups: 2, ..regular.clone() },
            Shape { plain_input: true, ..regular },
        ] {
            assert!(!is_defined(&other), "{other:?}");
        }
    }
}
