//! The tree of plain data that a network is: all that is needed to build it anew, but its weights and its number of input
//! channels.

use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How deep layers may be nested.
const MOST_NESTED: usize = 32;

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
    },
    /// Branches that read the same input; their outputs become the channels of one, in order.
    Concat {
        /// The branches.
        branches: Vec<Child>,
    },
}

/// A named layer of a [`Layer::Sequential`] or [`Layer::Concat`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// Its part of the state-dict names; an empty one adds no part.
    pub name: String,
    /// Its name in a summary, if not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The layer.
    pub layer: Layer,
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

    /// The description as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// The description that [`Layer::to_json`] wrote.
    ///
    /// # Errors
    /// If it is not one, or its layers are nested more than 32 deep.
    pub fn from_json(json: &str) -> Result<Self> {
        let refused =
            |reason: &dyn fmt::Display| Error::new(Code::InvalidArgument, format!("network description: {reason}"));
        // The parser's own limit is three levels for each layer, and those around it in a model file.
        let nested = format!("expected layers nested at most {MOST_NESTED} deep");
        let layer: Self = serde_json::from_str(json).map_err(|error| match error.to_string() {
            text if text.starts_with("recursion limit") => refused(&nested),
            text => refused(&text),
        })?;
        if layer.depth() > MOST_NESTED {
            return Err(refused(&nested));
        }
        Ok(layer)
    }

    /// How deep layers are nested in it, itself included.
    fn depth(&self) -> usize {
        let of = |layers: &[Child]| layers.iter().map(|child| child.layer.depth()).max().unwrap_or(0);
        1 + match self {
            Self::Sequential { children } | Self::Concat { branches: children } => of(children),
            Self::Residual { preactivation, body, shortcut, .. } => {
                let parts = [preactivation.as_deref(), Some(body.as_ref()), shortcut.as_deref()];
                parts.into_iter().flatten().map(Self::depth).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_nested_too_deep_are_refused_in_our_words() {
        let nested = |depth: usize| {
            let [open, close] = [r#"{"type":"sequential","children":[{"name":"0","layer":"#, "}]}"];
            format!(r#"{}{{"type":"relu"}}{}"#, open.repeat(depth - 1), close.repeat(depth - 1))
        };
        assert!(Layer::from_json(&nested(MOST_NESTED)).is_ok());
        for depth in [MOST_NESTED + 1, 50, 10_000] {
            let message = Layer::from_json(&nested(depth)).unwrap_err().message;
            assert_eq!(message, "network description: expected layers nested at most 32 deep");
        }
    }
}
