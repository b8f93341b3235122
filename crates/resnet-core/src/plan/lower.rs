//! From the walk over the tree to a backend's nodes.

use crate::error::Result;
use crate::model::layer::Layer;
use crate::model::params::{Params, Places};
use crate::model::shape::{Kind, Shape, Trace};
use resnet_ops::batch_norm::BatchNorm;
use resnet_ops::conv2d::{self, Conv2d};
use resnet_ops::global_avg_pool::GlobalAvgPool;
use resnet_ops::linear::Linear;
use resnet_ops::max_pool2d::MaxPool2d;
use resnet_ops::Executor;

/// A first convolution reads images as they come up to this many channels; more are worth blocking.
const MOST_PLAIN_CHANNELS: usize = 4;

/// An op with what depends on its shapes worked out.
pub(super) enum Op {
    /// Brings images (N, C, H, W) to the backend's layout.
    Import,
    Conv2d(Box<Conv2d>),
    /// With one input, or with the shortcut as the second.
    BatchNorm(BatchNorm),
    Relu,
    AddRelu,
    MaxPool2d(MaxPool2d),
    GlobalAvgPool(GlobalAvgPool),
    Linear(Linear),
}

/// An op with the values that it reads and writes.
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) inputs: Vec<usize>,
    pub(super) output: usize,
    pub(super) places: Places,
    /// A batch norm takes the bias away again, so its gradient is zero and need not be computed.
    pub(super) bias_cancels: bool,
}

/// A network as a backend's nodes. Value 0 is the input, as (N, C, H, W) whatever the backend.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) shapes: Vec<Shape>,
    pub(super) output: usize,
}

/// Lowers a traced network.
pub(super) fn lower(executor: &Executor, trace: &Trace, params: &Params) -> Result<Graph> {
    let mut graph = Graph { nodes: Vec::new(), shapes: trace.shapes.clone(), output: trace.output };
    let plain = reads_plain_images(trace);
    // Where the images cannot be read as they come, value `images` holds them in the backend's layout.
    let images = if plain { 0 } else { graph.import() };
    let place = |value: usize| if value == 0 { images } else { value };
    graph.output = place(trace.output);
    for (node, places) in trace.nodes.iter().zip(&params.nodes) {
        let input = trace.shapes[node.inputs[0]];
        graph.nodes.push(Node {
            op: op(executor, &node.kind, input, plain && node.inputs[0] == 0)?,
            inputs: node.inputs.iter().map(|&value| place(value)).collect(),
            output: node.output,
            places: places.clone(),
            bias_cancels: false,
        });
    }
    Ok(graph)
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
        self.nodes.push(Node { op: Op::Import, inputs: vec![0], output, places, bias_cancels: false });
        output
    }

    /// How many nodes read a value; the network's output counts as read.
    pub(super) fn readers(&self, value: usize) -> usize {
        let reads = self.nodes.iter().flat_map(|node| &node.inputs).filter(|&&input| input == value).count();
        reads + usize::from(value == self.output)
    }
}

fn op(executor: &Executor, kind: &Kind, input: Shape, plain_input: bool) -> Result<Op> {
    let (channels, size) = (input.channels(), input.size());
    let layer = match kind {
        Kind::AddRelu => return Ok(Op::AddRelu),
        Kind::Layer(layer) => layer,
    };
    Ok(match layer {
        Layer::Conv2d { out_channels, kernel, stride, padding, groups, bias } => {
            let shape = conv2d::Shape {
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
            Op::Conv2d(Box::new(Conv2d::new(executor, shape)?))
        }
        Layer::BatchNorm2d { eps, momentum } => {
            Op::BatchNorm(BatchNorm { channels, size, eps: *eps, momentum: *momentum, relu: false })
        }
        Layer::Relu => Op::Relu,
        Layer::MaxPool2d { kernel, stride, padding } => {
            let op = MaxPool2d { channels, input: size, kernel: *kernel, stride: *stride, padding: *padding };
            op.check()?;
            Op::MaxPool2d(op)
        }
        Layer::GlobalAvgPool2d => Op::GlobalAvgPool(GlobalAvgPool { channels, input: size }),
        Layer::Linear { out_features, bias } => {
            Op::Linear(Linear { in_features: channels, out_features: *out_features, bias: *bias })
        }
        Layer::Sequential { .. } | Layer::Residual { .. } => unreachable!("a trace has no layers made of others"),
    })
}
