//! Shape inference: one walk over the tree gives the layers in the order in which they run, with every value's shape.

use super::layer::{Child, Layer};
use crate::error::{Code, Error, Result};
use resnet_ops::avg_pool2d;
use std::fmt;

/// Longest path of a layer in state-dict names, in bytes.
const MAX_PATH: usize = 1024;

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
    fn with_channels(self, channels: usize) -> Self {
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

/// What a node does.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// A layer that is not made of others.
    Layer(&'a Layer),
    /// The end of a residual block: first + second, then ReLU if `relu`.
    Add {
        /// Whether ReLU follows.
        relu: bool,
    },
    /// The end of branches: their channels in order.
    Concat,
}

/// A step of the computation.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// Where it stands in the tree, in state-dict names.
    pub path: String,
    /// Which child of the root it belongs to.
    pub stage: usize,
    /// What it does.
    pub kind: Kind<'a>,
    /// The values it reads, as indices into [`Trace::shapes`].
    pub inputs: Vec<usize>,
    /// The value it writes.
    pub output: usize,
}

/// A network's steps in the order in which they run. Value 0 is the input.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// The steps.
    pub nodes: Vec<Node<'a>>,
    /// The shape of every value.
    pub shapes: Vec<Shape>,
    /// The value that the network returns.
    pub output: usize,
}

/// Walks over the tree with an input shape.
///
/// # Errors
/// `ERR_SHAPE`, with the layer's path, where a layer does not fit what comes before it.
pub fn trace(root: &Layer, input: Shape) -> Result<Trace<'_>> {
    if input.channels() == 0 || input.size().contains(&0) {
        return Err(Error::expected(Code::Shape, "input", "sizes of at least 1", input));
    }
    let mut trace = Trace { nodes: Vec::new(), shapes: vec![input], output: 0 };
    trace.output = match root {
        Layer::Sequential { children } => {
            let mut value = 0;
            for (stage, child) in children.iter().enumerate() {
                value = trace.walk(&child.layer, &child.name, stage, value)?;
            }
            value
        }
        other => trace.walk(other, "", 0, 0)?,
    };
    Ok(trace)
}

/// Walks over the tree with an input whose size is not known, and refuses a network that fits no size: where a shortcut and
/// its body divide the size differently.
///
/// # Errors
/// As [`trace`]; shapes in messages are then those for images of 224x224.
pub fn trace_channels(root: &Layer, channels: usize) -> Result<Trace<'_>> {
    // Usual strides divide the one; the other is for windows that fit odd sizes only.
    const SIZES: [usize; 2] = [3 << 20, (3 << 20) - 1];
    let found = trace(root, Shape::Map { channels, size: None });
    let [Some(error), Some(_)] = SIZES.map(|size| trace(root, Shape::map(channels, size, size)).err()) else {
        return found;
    };
    let usual = trace(root, Shape::map(channels, 224, 224)).err().unwrap_or(error);
    match found {
        // Sizes have no part in it.
        Err(error) if error.message == usual.message => Err(error),
        _ => Err(Error::new(usual.code, format!("{} (for images of 224x224)", usual.message))),
    }
}

/// `path.name`, where either may be empty.
pub(crate) fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

impl<'a> Trace<'a> {
    fn walk(&mut self, layer: &'a Layer, path: &str, stage: usize, input: usize) -> Result<usize> {
        // Nested long names would make paths that outgrow the description by far.
        if path.len() > MAX_PATH {
            let given = format!("{} bytes", path.len());
            return Err(Error::expected(Code::InvalidArgument, "name", format!("at most {MAX_PATH} bytes"), given));
        }
        match layer {
            Layer::Sequential { children } => children
                .iter()
                .try_fold(input, |value, Child { name, layer, .. }| self.walk(layer, &join(path, name), stage, value)),
            Layer::Residual { preactivation, body, shortcut, relu } => {
                let start = match preactivation {
                    Some(preactivation) => self.walk(preactivation, path, stage, input)?,
                    None => input,
                };
                let result = self.walk(body, path, stage, start)?;
                let shortcut = match shortcut {
                    Some(shortcut) => self.walk(shortcut, &join(path, "downsample"), stage, start)?,
                    None => input,
                };
                let (a, b) = (self.shapes[result], self.shapes[shortcut]);
                if a != b {
                    return Err(cannot_add(path, a, b));
                }
                Ok(self.push(path, stage, Kind::Add { relu: *relu }, vec![result, shortcut], a))
            }
            Layer::Concat { branches } => {
                let walk = |Child { name, layer, .. }: &'a Child| self.walk(layer, &join(path, name), stage, input);
                let values = branches.iter().map(walk).collect::<Result<Vec<_>>>()?;
                let shape = self.concatenated(path, &values)?;
                Ok(self.push(path, stage, Kind::Concat, values, shape))
            }
            leaf => {
                let output = leaf_output(leaf, path, self.shapes[input])?;
                Ok(self.push(path, stage, Kind::Layer(leaf), vec![input], output))
            }
        }
    }

    /// The shape of values side by side.
    fn concatenated(&self, path: &str, values: &[usize]) -> Result<Shape> {
        let shapes: Vec<Shape> = values.iter().map(|&value| self.shapes[value]).collect();
        let Some(&first) = shapes.first() else {
            return Err(Error::expected(Code::InvalidArgument, named(path), "at least 1 branch", 0));
        };
        if let Some(other) = shapes.iter().find(|shape| shape.with_channels(0) != first.with_channels(0)) {
            let message = format!("{}: cannot concatenate branches of {first} and {other}", named(path));
            return Err(Error::new(Code::Shape, message));
        }
        let channels = shapes.iter().try_fold(0usize, |sum, shape| sum.checked_add(shape.channels()));
        let channels = channels.ok_or_else(|| {
            Error::expected(Code::InvalidArgument, named(path), "channels that can be counted", "more")
        })?;
        Ok(first.with_channels(channels))
    }

    fn push(&mut self, path: &str, stage: usize, kind: Kind<'a>, inputs: Vec<usize>, shape: Shape) -> usize {
        let output = self.shapes.len();
        self.shapes.push(shape);
        self.nodes.push(Node { path: path.to_owned(), stage, kind, inputs, output });
        output
    }
}

/// Why body and shortcut do not fit each other.
fn cannot_add(path: &str, body: Shape, shortcut: Shape) -> Error {
    let mut differing = Vec::new();
    if body.channels() != shortcut.channels() {
        differing.push("channels");
    }
    if body.with_channels(0) != shortcut.with_channels(0) {
        differing.push("height and width");
    }
    let message = format!(
        "{}: cannot add a body of {body} and a shortcut of {shortcut}: {} differ; a 1x1 convolution with the body's \
         channels and stride makes the shortcut fit",
        named(path),
        differing.join(", ")
    );
    Error::new(Code::Shape, message)
}

fn named(path: &str) -> &str {
    if path.is_empty() {
        "network"
    } else {
        path
    }
}

fn leaf_output(layer: &Layer, path: &str, input: Shape) -> Result<Shape> {
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
        Layer::Dropout { p } => match (0.0..1.0).contains(p) {
            true => Ok(input),
            false => Err(Error::expected(Code::InvalidArgument, at, "a probability from 0 to below 1", p)),
        },
        Layer::BatchNorm2d { eps, momentum, .. } => {
            if !(eps.is_finite() && *eps >= 0.0 && (0.0..=1.0).contains(momentum)) {
                let given = format!("eps {eps}, momentum {momentum}");
                let expected = "an eps of at least 0 and a momentum from 0 to 1";
                return Err(Error::expected(Code::InvalidArgument, at, expected, given));
            }
            maps().map(|_| input)
        }
        Layer::Relu => Ok(input),
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

/// Height and width of what windows over an input make, if its size is known.
fn windows(
    at: &str,
    input: Shape,
    size: Option<[usize; 2]>,
    [kernel, stride, padding]: [&[usize; 2]; 3],
    ceil: bool,
) -> Result<Option<[usize; 2]>> {
    if kernel.contains(&0) || stride.contains(&0) {
        let given = format!("kernel {kernel:?}, stride {stride:?}");
        return Err(Error::expected(Code::InvalidArgument, at, "a kernel and a stride of at least 1", given));
    }
    let Some(size) = size else { return Ok(None) };
    let output = |i: usize| avg_pool2d::output_size(size[i], kernel[i], stride[i], padding[i], ceil);
    output(0).zip(output(1)).map(|(height, width)| Some([height, width])).ok_or_else(|| {
        let least = format!("a map of at least {kernel:?} pixels with padding {padding:?}");
        Error::expected(Code::Shape, at, least, input)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_norms_that_cannot_work_are_refused() {
        for (eps, momentum) in [(-1e-5, 0.1), (f64::NAN, 0.1), (f64::INFINITY, 0.1), (1e-5, -0.1), (1e-5, 1.5)] {
            let layer = Layer::BatchNorm2d { eps, momentum, zero_init: false };
            assert_eq!(trace(&layer, Shape::map(1, 2, 2)).unwrap_err().code, Code::InvalidArgument);
        }
        assert!(trace(&Layer::BatchNorm2d { eps: 0.0, momentum: 1.0, zero_init: false }, Shape::map(1, 2, 2)).is_ok());
    }

    #[test]
    fn paths_that_grow_out_of_bounds_are_refused() {
        let nested = |depth| {
            (0..depth)
                .fold(Layer::Relu, |layer, _| Layer::Sequential { children: vec![Child::new("x".repeat(99), layer)] })
        };
        assert!(trace(&nested(10), Shape::map(1, 2, 2)).is_ok());
        assert_eq!(trace(&nested(11), Shape::map(1, 2, 2)).unwrap_err().code, Code::InvalidArgument);
    }

    fn conv(out_channels: usize, kernel: usize, stride: usize, padding: usize) -> Layer {
        Layer::Conv2d {
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            groups: 1,
            bias: false,
            init: Default::default(),
        }
    }

    fn sum(body: Layer, shortcut: Option<Layer>) -> Layer {
        let block =
            Layer::Residual { preactivation: None, body: Box::new(body), shortcut: shortcut.map(Box::new), relu: true };
        Layer::sequential(vec![Child::new("layer1.0", block)])
    }

    #[test]
    fn sums_that_fit_no_size_are_refused_without_one() {
        let error = trace_channels(&sum(conv(8, 3, 2, 1), None), 8).unwrap_err();
        assert_eq!(error.code, Code::Shape);
        assert_eq!(
            error.message,
            "layer1.0: cannot add a body of (N, 8, 112, 112) and a shortcut of (N, 8, 224, 224): height and width differ; a \
             1x1 convolution with the body's channels and stride makes the shortcut fit (for images of 224x224)"
        );
        let both = trace_channels(&sum(conv(8, 3, 2, 1), None), 4).unwrap_err();
        assert!(both.message.contains("channels, height and width differ"), "{both}");
    }

    #[test]
    fn sums_that_fit_even_or_odd_sizes_only_are_not() {
        for (body, shortcut) in [(conv(4, 3, 2, 1), conv(4, 2, 2, 0)), (conv(4, 3, 2, 0), conv(4, 2, 2, 0))] {
            assert!(trace_channels(&sum(body, Some(shortcut)), 4).is_ok());
        }
    }

    #[test]
    fn branches_must_have_one_size() {
        let branch = |stride: usize| Child::new(stride.to_string(), conv(3, 1, stride, 0));
        let concat = |branches| Layer::sequential(vec![Child::new("mixed", Layer::Concat { branches })]);
        let fits = concat(vec![branch(1), branch(1)]);
        assert_eq!(trace(&fits, Shape::map(5, 4, 6)).unwrap().shapes[3], Shape::map(6, 4, 6));
        let error = trace(&concat(vec![branch(1), branch(2)]), Shape::map(5, 4, 6)).unwrap_err();
        assert_eq!(error.message, "mixed: cannot concatenate branches of (N, 3, 4, 6) and (N, 3, 2, 3)");
        assert_eq!(trace(&concat(vec![]), Shape::map(5, 4, 6)).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn sizes_too_small_for_the_strides_name_the_layer() {
        let pool = Layer::AvgPool2d {
            kernel: [4; 2],
            stride: [4; 2],
            padding: [0; 2],
            ceil_mode: false,
            count_include_pad: true,
        };
        let network = Layer::sequential(vec![Child::new("conv", conv(3, 1, 2, 0)), Child::new("pool", pool)]);
        let error = trace(&network, Shape::map(5, 6, 6)).unwrap_err();
        assert_eq!(
            error.message,
            "pool: expected a map of at least [4, 4] pixels with padding [0, 0], got (N, 3, 3, 3)"
        );
    }
}
