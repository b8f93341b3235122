//! From the walk over the tree to a backend's nodes.

use super::Mode;
use crate::error::Result;
use crate::model::layer::Layer;
use crate::model::params::{Params, Places};
use crate::model::shape::{Kind, Shape, Trace};
use resnet_ops::avg_pool2d::AvgPool2d;
use resnet_ops::batch_norm::BatchNorm;
use resnet_ops::concat::Concat;
use resnet_ops::conv2d::{self, Conv2d};
use resnet_ops::dropout::Dropout;
use resnet_ops::global_avg_pool::GlobalAvgPool;
use resnet_ops::linear::Linear;
use resnet_ops::max_pool2d::MaxPool2d;
use resnet_ops::norm_pool::NormPool;
use resnet_ops::Executor;
use std::ops::Range;

/// A first convolution reads images as they come up to this many channels; more are worth blocking.
const MOST_PLAIN_CHANNELS: usize = 4;

/// An op with what depends on its shapes worked out.
pub(super) enum Op {
    /// Brings images (N, C, H, W) to the backend's layout.
    Import,
    /// With one input, or with the shortcut as the second.
    Conv2d(Box<Convolution>),
    /// With one input, or with the shortcut as the second.
    BatchNorm(BatchNorm),
    Relu,
    Add {
        relu: bool,
    },
    Concat(Concat),
    Dropout(Dropout),
    MaxPool2d(MaxPool2d),
    NormPool(NormPool),
    AvgPool2d(AvgPool2d),
    GlobalAvgPool(GlobalAvgPool),
    Linear(Linear),
}

/// A convolution with what is done in the same passes.
pub(super) struct Convolution {
    pub(super) kernels: Conv2d,
    /// The batch norm, and its places, whose running statistics are folded into the weights.
    pub(super) folded: Option<(BatchNorm, Places)>,
    pub(super) relu: bool,
    /// A batch norm follows in training: it wants the output's moments, and takes the bias away again, whose gradient is zero
    /// and need not be computed.
    pub(super) normed: bool,
}

/// An op with the values that it reads and writes.
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) inputs: Vec<usize>,
    pub(super) output: usize,
    pub(super) places: Places,
    /// Of a batch norm: where the bias is that the convolution before it left out.
    pub(super) left_out: Option<Range<usize>>,
}

/// A network as a backend's nodes. Value 0 is the input, as (N, C, H, W) whatever the backend.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) shapes: Vec<Shape>,
    pub(super) output: usize,
}

/// Lowers a traced network.
pub(super) fn lower(executor: &Executor, trace: &Trace, params: &Params, mode: Mode) -> Result<Graph> {
    let mut graph = Graph { nodes: Vec::new(), shapes: trace.shapes.clone(), output: trace.output };
    let plain = reads_plain_images(trace);
    // Where each value of the trace is: elsewhere for images that must be imported, and behind layers that do nothing.
    let mut places: Vec<usize> = (0..trace.shapes.len()).collect();
    if !plain {
        places[0] = graph.import();
    }
    for (node, parameters) in trace.nodes.iter().zip(&params.nodes) {
        if is_identity(&node.kind, mode) {
            places[node.output] = places[node.inputs[0]];
            continue;
        }
        let inputs: Vec<Shape> = node.inputs.iter().map(|&input| trace.shapes[input]).collect();
        graph.nodes.push(Node {
            op: op(executor, &node.kind, &inputs, plain && node.inputs[0] == 0, mode)?,
            inputs: node.inputs.iter().map(|&value| places[value]).collect(),
            output: node.output,
            places: parameters.clone(),
            left_out: None,
        });
    }
    graph.output = places[trace.output];
    Ok(graph)
}

/// Whether a node would hand its input on as it is.
fn is_identity(kind: &Kind, mode: Mode) -> bool {
    matches!(kind, Kind::Layer(Layer::Dropout { p }) if mode == Mode::Eval || *p == 0.0)
}

/// Whether the images go to one convolution only, and have few channels.
fn reads_plain_images(trace: &Trace) -> bool {
    let mut readers = trace.nodes.iter().filter(|node| node.inputs.contains(&0));
    let first = readers.next().map(|node| node.kind);
    let convolution = matches!(first, Some(Kind::Layer(Layer::Conv2d { .. })));
    convolution && readers.next().is_none() && trace.output != 0 && trace.shapes[0].channels() <= MOST_PLAIN_CHANNELS
}

impl Graph {
    fn import(&mut self) -> usize {
        let output = self.shapes.len();
        self.shapes.push(self.shapes[0]);
        let places = Places::default();
        self.nodes.push(Node { op: Op::Import, inputs: vec![0], output, places, left_out: None });
        output
    }

    /// How many times each value is read; the network's output counts as read.
    pub(super) fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.shapes.len()];
        for &value in self.nodes.iter().flat_map(|node| &node.inputs).chain([&self.output]) {
            readers[value] += 1;
        }
        readers
    }
}

fn op(executor: &Executor, kind: &Kind, inputs: &[Shape], plain_input: bool, mode: Mode) -> Result<Op> {
    let (channels, size) = (inputs[0].channels(), inputs[0].size());
    let layer = match kind {
        Kind::Add { relu } => return Ok(Op::Add { relu: *relu }),
        Kind::Concat => {
            return Ok(Op::Concat(Concat { channels: inputs.iter().map(|input| input.channels()).collect(), size }))
        }
        Kind::Layer(layer) => layer,
    };
    Ok(match layer {
        Layer::Conv2d { out_channels, kernel, stride, padding, groups, bias, .. } => {
            let shape = conv2d::ConvShape {
                in_channels: channels,
                out_channels: *out_channels,
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
                groups: *groups,
                bias: *bias,
                input: size,
                plain_input,
            };
            let kernels = Conv2d::new(executor, shape)?;
            let kernels = if mode == Mode::Train { kernels.for_training() } else { kernels };
            Op::Conv2d(Box::new(Convolution { kernels, folded: None, relu: false, normed: false }))
        }
        Layer::BatchNorm2d { eps, momentum, .. } => {
            Op::BatchNorm(BatchNorm { channels, size, eps: *eps, momentum: *momentum, relu: false })
        }
        Layer::Relu => Op::Relu,
        Layer::MaxPool2d { kernel, stride, padding } => {
            let op = MaxPool2d { channels, input: size, kernel: *kernel, stride: *stride, padding: *padding };
            op.check()?;
            Op::MaxPool2d(op)
        }
        Layer::AvgPool2d { kernel, stride, padding, ceil_mode, count_include_pad } => {
            let op = AvgPool2d {
                channels,
                input: size,
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
                ceil_mode: *ceil_mode,
                count_include_pad: *count_include_pad,
            };
            op.check()?;
            Op::AvgPool2d(op)
        }
        Layer::Dropout { p } => Op::Dropout(Dropout { p: *p, channels, size }),
        Layer::GlobalAvgPool2d => Op::GlobalAvgPool(GlobalAvgPool { channels, input: size }),
        Layer::Linear { out_features, bias, .. } => {
            Op::Linear(Linear { in_features: channels, out_features: *out_features, bias: *bias })
        }
        Layer::Sequential { .. } | Layer::Residual { .. } | Layer::Concat { .. } => {
            unreachable!("a trace has no layers made of others")
        }
    })
}
