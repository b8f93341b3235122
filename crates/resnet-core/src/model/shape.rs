//! Shapes of values, and what each layer that is not made of others makes of them.

use super::layer::Layer;
use crate::error::{Code, Error, Result};
use resnet_ops::avg_pool2d;
use std::fmt;

/// Largest size of a kernel, stride or padding: far beyond any use, far from any overflow.
const MAX_WINDOW: usize = 1 << 20;

/// Most channels that zeros are added to: no weights, whose number is checked, go with them.
const MAX_CHANNELS: usize = 1 << 20;

/// The shape of a value, without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Channels of maps, whose height and width may not be known yet.
    Map {
        /// Number of channels.
        channels: usize,
        /// Height and width.
        size: Option<[usize; 2]>,
    },
    /// Features of a sample.
    Features(usize),
}

impl Shape {
    /// Maps of a known size.
    pub fn map(channels: usize, height: usize, width: usize) -> Self {
        Self::Map { channels, size: Some([height, width]) }
    }

    /// Channels or features.
    pub fn channels(self) -> usize {
        match self {
            Self::Map { channels, .. } => channels,
            Self::Features(features) => features,
        }
    }

    /// The same with another number of channels or features.
    pub(super) fn with_channels(self, channels: usize) -> Self {
        match self {
            Self::Map { size, .. } => Self::Map { channels, size },
            Self::Features(_) => Self::Features(channels),
        }
    }

    /// Height and width; [1, 1] for features and for maps of unknown size.
    pub fn size(self) -> [usize; 2] {
        match self {
            Self::Map { size, .. } => size.unwrap_or([1, 1]),
            Self::Features(_) => [1, 1],
        }
    }

    /// The shape of a batch of `n`: (N, C, H, W), or (N, features).
    pub fn with_batch(self, n: usize) -> Vec<usize> {
        match self {
            Self::Map { channels, .. } => vec![n, channels, self.size()[0], self.size()[1]],
            Self::Features(features) => vec![n, features],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Map { channels, size: Some([h, w]) } => write!(formatter, "(N, {channels}, {h}, {w})"),
            Self::Map { channels, size: None } => write!(formatter, "(N, {channels}, H, W)"),
            Self::Features(features) => write!(formatter, "(N, {features})"),
        }
    }
}

/// The shape of what a layer that is not made of others returns for an input; `path` names it in errors.
pub(super) fn leaf_output(layer: &Layer, path: &str, input: Shape) -> Result<Shape> {
    let at = named(path);
    let maps = || match input {
        Shape::Map { channels, size } => Ok((channels, size)),
        Shape::Features(_) => Err(Error::expected(Code::Shape, at, "maps (N, C, H, W)", input)),
    };
    let windows = |size, kernel, stride, padding, ceil| windows(at, input, size, [kernel, stride, padding], ceil);
    match layer {
        Layer::Conv2d { out_channels, kernel, stride, padding, groups, .. } => {
            let (channels, size) = maps()?;
            if *groups == 0 || *out_channels == 0 || channels % groups != 0 || out_channels % groups != 0 {
                let given = format!("{groups} groups for {channels} input and {out_channels} output channels");
                return Err(Error::expected(Code::Shape, at, "groups that divide the channels", given));
            }
            Ok(Shape::Map { channels: *out_channels, size: windows(size, kernel, stride, padding, false)? })
        }
        Layer::MaxPool2d { kernel, stride, padding } => {
            let (channels, size) = maps()?;
            if (0..2).any(|i| padding[i] > kernel[i] / 2) || kernel[0].saturating_mul(kernel[1]) > 255 {
                let given = format!("kernel {kernel:?}, padding {padding:?}");
                let expected = "a window of at most 255 pixels and padding of at most half of it";
                return Err(Error::expected(Code::InvalidArgument, at, expected, given));
            }
            Ok(Shape::Map { channels, size: windows(size, kernel, stride, padding, false)? })
        }
        Layer::AvgPool2d { kernel, stride, padding, ceil_mode, .. } => {
            let (channels, size) = maps()?;
            if (0..2).any(|i| padding[i] > kernel[i] / 2) {
                let given = format!("kernel {kernel:?}, padding {padding:?}");
                return Err(Error::expected(Code::InvalidArgument, at, "padding of at most half the window", given));
            }
            Ok(Shape::Map { channels, size: windows(size, kernel, stride, padding, *ceil_mode)? })
        }
        Layer::PadChannels { out_channels, stride } => {
            let (channels, size) = maps()?;
            if *out_channels > MAX_CHANNELS {
                let expected = format!("at most {MAX_CHANNELS} channels");
                return Err(Error::expected(Code::InvalidArgument, at, expected, out_channels));
            }
            if channels > *out_channels {
                let expected = format!("maps of at most the {out_channels} channels that they are padded to");
                return Err(Error::expected(Code::Shape, at, expected, input));
            }
            Ok(Shape::Map { channels: *out_channels, size: windows(size, &[1; 2], stride, &[0; 2], false)? })
        }
        Layer::Dropout { p } => check_probability(path, *p).map(|()| input),
        Layer::BatchNorm2d { eps, momentum, .. } => {
            if !(eps.is_finite() && *eps >= 0.0 && (0.0..=1.0).contains(momentum)) {
                let given = format!("eps {eps}, momentum {momentum}");
                let expected = "an eps of at least 0 and a momentum from 0 to 1";
                return Err(Error::expected(Code::InvalidArgument, at, expected, given));
            }
            maps().map(|_| input)
        }
        Layer::Relu | Layer::Silu => Ok(input),
        Layer::GlobalAvgPool2d => Ok(Shape::Features(maps()?.0)),
        Layer::Linear { out_features, .. } => match input {
            Shape::Features(_) if *out_features > 0 => Ok(Shape::Features(*out_features)),
            Shape::Features(_) => Err(Error::expected(Code::InvalidArgument, at, "at least 1 output feature", 0)),
            Shape::Map { .. } => Err(Error::expected(Code::Shape, at, "features (N, F)", input)),
        },
        Layer::Sequential { .. } | Layer::Residual { .. } | Layer::Concat { .. } => {
            unreachable!("made of other layers")
        }
    }
}

/// Refuses what cannot be the probability that something is dropped.
pub(super) fn check_probability(path: &str, p: f64) -> Result<()> {
    match (0.0..1.0).contains(&p) {
        true => Ok(()),
        false => Err(Error::expected(Code::InvalidArgument, named(path), "a probability from 0 to below 1", p)),
    }
}

/// Height and width of what windows over an input make, if its size is known.
fn windows(
    at: &str,
    input: Shape,
    size: Option<[usize; 2]>,
    [kernel, stride, padding]: [&[usize; 2]; 3],
    ceil: bool,
) -> Result<Option<[usize; 2]>> {
    let too_large = [kernel, stride, padding].into_iter().flatten().any(|&size| size > MAX_WINDOW);
    if kernel.contains(&0) || stride.contains(&0) || too_large {
        let given = format!("kernel {kernel:?}, stride {stride:?}, padding {padding:?}");
        let expected = format!("a kernel and a stride of 1 to {MAX_WINDOW}, and padding of at most that");
        return Err(Error::expected(Code::InvalidArgument, at, expected, given));
    }
    let Some(size) = size else { return Ok(None) };
    let output = |i: usize| avg_pool2d::output_size(size[i], kernel[i], stride[i], padding[i], ceil);
    output(0).zip(output(1)).map(|(height, width)| Some([height, width])).ok_or_else(|| {
        let least = format!("a map of at least {kernel:?} pixels with padding {padding:?}");
        Error::expected(Code::Shape, at, least, input)
    })
}

/// A layer's name in errors.
pub(super) fn named(path: &str) -> &str {
    if path.is_empty() {
        "network"
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layer::Init;

    #[test]
    fn batch_norms_that_cannot_work_are_refused() {
        let norm = |eps, momentum| {
            let layer = Layer::BatchNorm2d { eps, momentum, zero_init: false };
            leaf_output(&layer, "bn", Shape::map(1, 2, 2))
        };
        for (eps, momentum) in [(-1e-5, 0.1), (f64::NAN, 0.1), (f64::INFINITY, 0.1), (1e-5, -0.1), (1e-5, 1.5)] {
            assert_eq!(norm(eps, momentum).unwrap_err().code, Code::InvalidArgument);
        }
        assert_eq!(norm(0.0, 1.0), Ok(Shape::map(1, 2, 2)));
    }

    #[test]
    fn windows_beyond_any_use_are_refused_whatever_the_map() {
        let conv = |kernel, stride, padding| Layer::Conv2d {
            out_channels: 1,
            kernel: [kernel, 1],
            stride: [1, stride],
            padding: [padding, 0],
            groups: 1,
            bias: false,
            init: Init::default(),
        };
        let unknown = Shape::Map { channels: 1, size: None };
        for layer in [conv(1 << 60, 1, 0), conv(1, 1 << 60, 0), conv(1, 1, 1 << 60), conv(0, 1, 0), conv(1, 0, 0)] {
            for input in [unknown, Shape::map(1, 4, 4)] {
                let error = leaf_output(&layer, "conv", input).unwrap_err();
                assert_eq!(error.code, Code::InvalidArgument, "{error}");
            }
        }
        assert!(leaf_output(&conv(1 << 20, 1 << 20, 1 << 20), "conv", unknown).is_ok());
    }

    #[test]
    fn padding_takes_every_so_manieth_pixel_and_no_channels_away() {
        let pad = |out_channels, stride| Layer::PadChannels { out_channels, stride: [stride; 2] };
        let output = |layer: &Layer, input| leaf_output(layer, "pad", input);
        assert_eq!(output(&pad(32, 2), Shape::map(16, 5, 8)), Ok(Shape::map(32, 3, 4)));
        let open = |channels| Shape::Map { channels, size: None };
        assert_eq!(output(&pad(16, 1), open(16)), Ok(open(16)));
        let error = output(&pad(8, 2), open(16)).unwrap_err();
        assert_eq!(error.code, Code::Shape);
        assert_eq!(
            error.message,
            "pad: expected maps of at most the 8 channels that they are padded to, got (N, 16, H, W)"
        );
        for (layer, input) in [(pad(1 << 60, 1), open(1)), (pad(4, 0), open(1)), (pad(4, 1 << 60), open(1))] {
            assert_eq!(output(&layer, input).unwrap_err().code, Code::InvalidArgument);
        }
        assert_eq!(output(&pad(4, 1), Shape::Features(2)).unwrap_err().code, Code::Shape);
    }

    #[test]
    fn sizes_too_small_for_the_window_name_the_layer() {
        let pool = Layer::AvgPool2d {
            kernel: [4; 2],
            stride: [4; 2],
            padding: [0; 2],
            ceil_mode: false,
            count_include_pad: true,
        };
        let error = leaf_output(&pool, "pool", Shape::map(3, 3, 3)).unwrap_err();
        assert_eq!(
            error.message,
            "pool: expected a map of at least [4, 4] pixels with padding [0, 0], got (N, 3, 3, 3)"
        );
    }
}
