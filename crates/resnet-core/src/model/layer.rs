//! The tree of plain data that a network is: all that is needed to build it anew, but its weights and its number of input
//! channels.

use serde::{Deserialize, Serialize};

/// How a parameter is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Uniform in ±√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).
    #[default]
    XavierUniform,
    /// Normal with variance 2 / fan_out (He et al., 2015), as torchvision draws convolutions.
    KaimingNormal,
    /// Uniform in ±1/√fan_in, PyTorch's default.
    TorchDefault,
    /// All zero.
    Zeros,
    /// All one.
    Ones,
}

/// A layer, or layers put together. Input channels are not part of it: they follow from what comes before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// Convolution.
    Conv2d {
        /// Channels of the output.
        out_channels: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Pixels between neighbouring windows, down and across.
        stride: [usize; 2],
        /// Zero rows and columns around the input.
        padding: [usize; 2],
        /// Groups that the channels are divided into.
        groups: usize,
        /// Whether a bias is added; it is drawn as PyTorch's default says.
        bias: bool,
        /// How its weight is drawn.
        #[serde(default)]
        init: Init,
    },
    /// Batch normalisation.
    BatchNorm2d {
        /// Added to the variance.
        eps: f64,
        /// Weight of the new statistic in the running one.
        momentum: f64,
        /// Whether γ starts at 0 instead of 1, which makes a residual block whose last norm it is start as its shortcut.
        #[serde(default)]
        zero_init: bool,
    },
    /// max(x, 0).
    Relu,
    /// x·σ(x) (Elfwing et al., 2018).
    Silu,
    /// Max-pooling.
    MaxPool2d {
        /// Height and width of a window.
        kernel: [usize; 2],
        /// Pixels between neighbouring windows, down and across.
        stride: [usize; 2],
        /// Rows and columns around the input that never win.
        padding: [usize; 2],
    },
    /// Average-pooling, as PyTorch defines it.
    AvgPool2d {
        /// Height and width of a window.
        kernel: [usize; 2],
        /// Pixels between neighbouring windows, down and across.
        stride: [usize; 2],
        /// Zero rows and columns around the input.
        padding: [usize; 2],
        /// Whether a last window may hang over the edge.
        ceil_mode: bool,
        /// Whether padding counts in the mean.
        count_include_pad: bool,
    },
    /// Mean of each channel's map: (N, C, H, W) to (N, C).
    GlobalAvgPool2d,
    /// Zero channels around those of every s-th pixel, half of them, rounded down, before: the shortcut without parameters (option
    /// A) of He et al., 2016.
    PadChannels {
        /// Channels of the output, at least those of the input.
        out_channels: usize,
        /// Pixels from one that is taken to the next, down and across.
        stride: [usize; 2],
    },
    /// In training, zeroes each value with probability p and scales the others by 1 / (1 − p); else the identity.
    Dropout {
        /// Probability, below 1.
        p: f64,
    },
    /// Fully connected layer.
    Linear {
        /// Features of the output.
        out_features: usize,
        /// Whether a bias is added; it is drawn as PyTorch's default says.
        bias: bool,
        /// How its weight is drawn.
        #[serde(default)]
        init: Init,
    },
    /// One after the other.
    Sequential {
        /// The layers in order.
        children: Vec<Child>,
    },
    /// body(p(x)) + shortcut(p(x)), where p is the preactivation, if there is one; without a shortcut, body(p(x)) + x. The
    /// parameters of preactivation and body are named as if they were the block's own, the shortcut's stand under
    /// `downsample`.
    Residual {
        /// What body and shortcut have in common.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preactivation: Option<Box<Layer>>,
        /// The residual branch.
        body: Box<Layer>,
        /// What brings the input to the body's shape.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shortcut: Option<Box<Layer>>,
        /// Whether ReLU follows the sum.
        relu: bool,
        /// Probability, below 1, that a training step leaves the body out for an image; else it counts 1 / (1 − p) times (Huang et al.,
        /// 2016, <https://arxiv.org/abs/1603.09382>).
        #[serde(default, skip_serializing_if = "is_zero")]
        stochastic_depth: f64,
    },
    /// Branches that read the same input; their outputs become the channels of one, in order.
    Concat {
        /// The branches.
        branches: Vec<Child>,
    },
}

/// What walks over the tree tell apart: layers made of others, layers with weights, and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    /// See [`Layer::Sequential`].
    Sequential(&'a [Child]),
    /// See [`Layer::Residual`].
    Residual {
        preactivation: Option<&'a Layer>,
        body: &'a Layer,
        shortcut: Option<&'a Layer>,
        relu: bool,
        stochastic_depth: f64,
    },
    /// See [`Layer::Concat`].
    Concat(&'a [Child]),
    Weighted(Weighted),
    /// A layer without weights.
    Plain,
}

/// A layer with weights, and what decides on them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weighted {
    /// See [`Layer::Conv2d`].
    Conv2d { out_channels: usize, kernel: [usize; 2], groups: usize, bias: bool, init: Init },
    /// See [`Layer::Linear`].
    Linear { out_features: usize, bias: bool, init: Init },
    /// See [`Layer::BatchNorm2d`].
    BatchNorm2d { zero_init: bool },
}

/// A named layer of a [`Layer::Sequential`] or [`Layer::Concat`], or what such a layer is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child<L = Layer> {
    /// Its part of the state-dict names; an empty one adds no part.
    pub name: String,
    /// Its name in a summary, if not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The layer.
    pub layer: L,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Child {
    /// A layer with its name.
    pub fn new(name: impl Into<String>, layer: Layer) -> Self {
        Self { name: name.into(), title: None, layer }
    }

    /// Layers whose names stand as if they were the parent's own, shown as `title` in a summary.
    pub fn group(title: impl Into<String>, children: Vec<Child>) -> Self {
        Self { name: String::new(), title: Some(title.into()), layer: Layer::Sequential { children } }
    }
}

impl Layer {
    /// Layers, one after the other.
    pub fn sequential(children: Vec<Child>) -> Self {
        Self::Sequential { children }
    }

    /// The description as JSON, which [`super::recipe::layer`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// Gives the last linear layer so many outputs; false if there is none.
    pub(crate) fn set_classes(&mut self, classes: usize) -> bool {
        match self {
            Self::Linear { out_features, .. } => {
                *out_features = classes;
                true
            }
            Self::Sequential { children } | Self::Concat { branches: children } => {
                children.iter_mut().rev().any(|child| child.layer.set_classes(classes))
            }
            Self::Residual { preactivation, body, shortcut, .. } => {
                let mut parts = [shortcut.as_mut(), Some(body), preactivation.as_mut()].into_iter().flatten();
                parts.any(|part| part.set_classes(classes))
            }
            Self::Conv2d { .. }
            | Self::BatchNorm2d { .. }
            | Self::Relu
            | Self::Silu
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool2d
            | Self::PadChannels { .. }
            | Self::Dropout { .. } => false,
        }
    }

    /// What kind of part of a network it is.
    pub(crate) fn form(&self) -> Form<'_> {
        match self {
            Self::Sequential { children } => Form::Sequential(children),
            Self::Residual { preactivation, body, shortcut, relu, stochastic_depth } => {
                let (preactivation, shortcut) = (preactivation.as_deref(), shortcut.as_deref());
                Form::Residual { preactivation, body, shortcut, relu: *relu, stochastic_depth: *stochastic_depth }
            }
            Self::Concat { branches } => Form::Concat(branches),
            Self::Conv2d { out_channels, kernel, groups, bias, init, .. } => Form::Weighted(Weighted::Conv2d {
                out_channels: *out_channels,
                kernel: *kernel,
                groups: *groups,
                bias: *bias,
                init: *init,
            }),
            Self::Linear { out_features, bias, init } => {
                Form::Weighted(Weighted::Linear { out_features: *out_features, bias: *bias, init: *init })
            }
            Self::BatchNorm2d { zero_init, .. } => Form::Weighted(Weighted::BatchNorm2d { zero_init: *zero_init }),
            Self::Relu
            | Self::Silu
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool2d
            | Self::PadChannels { .. }
            | Self::Dropout { .. } => Form::Plain,
        }
    }

    /// Its kind in a summary: the name of PyTorch's module, where there is one.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "Conv2d",
            Self::BatchNorm2d { .. } => "BatchNorm2d",
            Self::Relu => "ReLU",
            Self::Silu => "SiLU",
            Self::MaxPool2d { .. } => "MaxPool2d",
            Self::AvgPool2d { .. } => "AvgPool2d",
            Self::GlobalAvgPool2d => "GlobalAvgPool2d",
            Self::PadChannels { .. } => "PadChannels",
            Self::Dropout { .. } => "Dropout",
            Self::Linear { .. } => "Linear",
            Self::Sequential { .. } => "Sequential",
            Self::Residual { .. } => "Residual",
            Self::Concat { .. } => "Concat",
        }
    }

    /// How deep layers are nested in it, itself included.
    pub(super) fn depth(&self) -> usize {
        let of = |layers: &[Child]| layers.iter().map(|child| child.layer.depth()).max().unwrap_or(0);
        1 + match self.form() {
            Form::Sequential(layers) | Form::Concat(layers) => of(layers),
            Form::Residual { preactivation, body, shortcut, .. } => {
                [preactivation, Some(body), shortcut].into_iter().flatten().map(Self::depth).max().unwrap_or(0)
            }
            Form::Weighted(_) | Form::Plain => 0,
        }
    }
}
