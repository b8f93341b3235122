//! The tree of plain data that a network is.

use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// A network's description: all that is needed to build it anew, but its weights and its number of input channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// How weights are drawn.
    pub init: Init,
    /// The layers.
    pub root: Layer,
}

/// How the weights of convolutions and linear layers are drawn; biases are drawn as PyTorch does by default, uniform in
/// ±1/√fan_in, batch norms start as the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Uniform in ±√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).
    XavierUniform,
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
        /// Whether a bias is added.
        bias: bool,
    },
    /// Batch normalisation.
    BatchNorm2d {
        /// Added to the variance.
        eps: f64,
        /// Weight of the new statistic in the running one.
        momentum: f64,
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
    /// Mean of each channel's map: (N, C, H, W) to (N, C).
    GlobalAvgPool2d,
    /// Fully connected layer.
    Linear {
        /// Features of the output.
        out_features: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// One after the other.
    Sequential {
        /// The layers in order.
        children: Vec<Child>,
    },
    /// relu(body(x) + shortcut(x)); without a shortcut, relu(body(x) + x). The body's parameters are named as if they were
    /// the block's own, the shortcut's stand under `downsample`.
    Residual {
        /// The residual branch.
        body: Box<Layer>,
        /// What brings x to the body's shape.
        shortcut: Option<Box<Layer>>,
    },
}

/// A named layer of a [`Layer::Sequential`].
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

impl Network {
    /// The description as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// The description that [`Network::to_json`] wrote.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(Code::InvalidArgument, format!("network description: {error}")))
    }
}
