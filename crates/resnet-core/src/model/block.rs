//! The blocks that residual networks are made of.

use super::layer::{Child, Layer};
use crate::error::{Code, Error, Result};

/// Most channels, classes or strides that a description may ask for: far beyond any use, far from any overflow.
pub(super) const MAX_SIZE: usize = 1 << 20;

/// The residual block of two 3x3 convolutions (He et al., 2016): conv → norm → ReLU → conv → norm, added to the shortcut,
/// ReLU. Every convolution has a bias; the first one, and the 1x1 convolution of the shortcut, have the given stride.
///
/// Maps (N, C, H, W) become (N, `num_channels`, ⌈H / strides⌉, ⌈W / strides⌉); without the 1x1 convolution C must be
/// `num_channels` and the stride 1, which shows when input shapes are known.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if a number is 0 or beyond 2^20.
pub fn residual(num_channels: usize, use_1x1_conv: bool, strides: usize) -> Result<Layer> {
    check_size("num_channels", num_channels)?;
    check_size("strides", strides)?;
    let body = vec![
        Child::new("conv1", conv(num_channels, 3, strides, 1)),
        Child::new("bn1", batch_norm()),
        Child::new("relu", Layer::Relu),
        Child::new("conv2", conv(num_channels, 3, 1, 1)),
        Child::new("bn2", batch_norm()),
    ];
    let shortcut = vec![Child::new("0", conv(num_channels, 1, strides, 0))];
    Ok(Layer::Residual {
        body: Box::new(Layer::Sequential { children: body }),
        shortcut: use_1x1_conv.then(|| Box::new(Layer::Sequential { children: shortcut })),
    })
}

/// A square convolution with bias.
pub(super) fn conv(out_channels: usize, kernel: usize, stride: usize, padding: usize) -> Layer {
    Layer::Conv2d {
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        groups: 1,
        bias: true,
    }
}

/// Batch normalisation with PyTorch's defaults.
pub(super) fn batch_norm() -> Layer {
    Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1 }
}

/// Refuses sizes that no network can have.
pub(super) fn check_size(parameter: &str, size: usize) -> Result<()> {
    if (1..=MAX_SIZE).contains(&size) {
        return Ok(());
    }
    Err(Error::expected(Code::InvalidArgument, parameter, format!("a number from 1 to {MAX_SIZE}"), size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::params::Params;
    use crate::model::shape::{trace, Shape};

    #[test]
    fn keeps_the_shape_without_a_1x1_convolution() {
        let block = residual(3, false, 1).unwrap();
        let trace = trace(&block, Shape::map(3, 6, 6)).unwrap();
        assert_eq!(trace.shapes[trace.output].with_batch(4), [4, 3, 6, 6]);
    }

    #[test]
    fn changes_channels_and_size_with_a_1x1_convolution() {
        let block = residual(6, true, 2).unwrap();
        let trace = trace(&block, Shape::map(3, 6, 6)).unwrap();
        assert_eq!(trace.shapes[trace.output].with_batch(4), [4, 6, 3, 3]);
    }

    #[test]
    fn names_are_the_block_s_own() {
        let block = residual(6, true, 2).unwrap();
        let params = Params::of(&trace(&block, Shape::map(3, 6, 6)).unwrap()).unwrap();
        let names: Vec<&str> = params.learnt.iter().map(|parameter| parameter.name.as_str()).collect();
        let expected = "conv1.weight conv1.bias bn1.weight bn1.bias conv2.weight conv2.bias bn2.weight bn2.bias \
                        downsample.0.weight downsample.0.bias";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn shapes_that_cannot_be_added_are_refused() {
        for (channels, strides) in [(6, 1), (3, 2)] {
            let block = residual(channels, false, strides).unwrap();
            assert_eq!(trace(&block, Shape::map(3, 6, 6)).unwrap_err().code, Code::Shape);
        }
    }

    #[test]
    fn sizes_outside_the_range_are_refused() {
        let error = residual(0, false, 1).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(error.message, "num_channels: expected a number from 1 to 1048576, got 0");
        assert!(residual(6, true, 0).unwrap_err().message.starts_with("strides: "));
        assert!(residual(usize::MAX, true, 1).is_err());
    }
}
