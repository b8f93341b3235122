//! Each layer as nodes. A node is called by its layer's path, and a value by the layer that returns it; what a layer needs beside has its
//! path and a word of its own.

use super::fold::{folded, Affine};
use super::graph::{float, int, ints, Graph, Operand, Site, Type};
use super::initializer::Numbers;
use super::proto::AttributeProto;
use crate::error::Result;
use crate::model::graph::{join, Kind, Trace, TraceNode};
use crate::model::params::{Parameter, Params};
use crate::model::shape::Shape;
use crate::model::Layer;
use std::collections::{HashMap, HashSet};

/// A network with its weights.
pub struct Weighted<'a> {
    /// Its graph for the shape that it is exported for.
    pub trace: &'a Trace<'a>,
    /// Names and shapes.
    pub params: &'a Params,
    /// As many as its `parameters_len`.
    pub parameters: &'a [f32],
    /// As many as its `running_len`.
    pub running: &'a [f32],
}

/// What adds a network's layers to a graph.
struct Walk<'a, 'g> {
    graph: &'g mut Graph<'a>,
    network: &'g Weighted<'a>,
    by_name: HashMap<&'a str, &'a Parameter>,
    /// By the numbers of their convolutions.
    norms: HashMap<usize, usize>,
}

/// Adds a network's layers; the value that it returns. With `fold` a norm goes into the convolution before it.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn add<'a>(graph: &mut Graph<'a>, network: &Weighted<'a>, fold: bool, input: Operand) -> Result<Operand> {
    let (trace, params) = (network.trace, network.params);
    let named = |parameter: &'a Parameter| (&*parameter.name, parameter);
    let by_name = params.parameters.iter().chain(&params.running).map(named).collect();
    let norms = if fold { folded(trace) } else { HashMap::new() };
    let gone: HashSet<usize> = norms.values().copied().collect();
    let mut walk = Walk { graph, network, by_name, norms };
    let mut values = vec![input; trace.shapes.len()];
    for (index, node) in trace.nodes.iter().enumerate() {
        let inputs: Vec<Operand> = node.inputs.iter().map(|&value| values[value]).collect();
        values[node.output] = if gone.contains(&index) { inputs[0] } else { walk.node(index, node, inputs)? };
    }
    Ok(values[trace.output])
}

impl<'a> Walk<'a, '_> {
    /// Adds what a node of the network does; its value.
    fn node(&mut self, index: usize, node: &TraceNode, inputs: Vec<Operand>) -> Result<Operand> {
        let path = called(&node.path);
        let shape = self.network.trace.shapes[node.output];
        let x = inputs[0];
        Ok(match node.kind {
            Kind::Add { relu: false } => self.push(&join(path, "add"), path, shape, "Add", inputs),
            Kind::Add { relu: true } => {
                let add = join(path, "add");
                let sum = self.push(&add, &add, shape, "Add", inputs);
                self.push(&join(path, "relu"), path, shape, "Relu", vec![sum])
            }
            Kind::StochasticDepth { .. } => x,
            Kind::Concat => self.with(&join(path, "concat"), path, shape, "Concat", inputs, vec![int("axis", 1)]),
            Kind::Layer(layer) => match layer {
                Layer::Conv2d { kernel, stride, padding, groups, .. } => {
                    let mut attributes = window(kernel, stride, [*padding; 2]);
                    attributes.extend([ints("dilations", [1; 2]), int("group", *groups as i64)]);
                    self.convolution(index, node, x, attributes)?
                }
                Layer::BatchNorm2d { eps, momentum, .. } => {
                    let words = ["weight", "bias", "running_mean", "running_var"];
                    let parameters = words.map(|word| self.plain(&join(&node.path, word)));
                    let inputs = [x].into_iter().chain(parameters).collect();
                    // Here it is the weight of the old statistic.
                    let attributes = vec![float("epsilon", *eps), float("momentum", 1.0 - momentum)];
                    self.with(path, path, shape, "BatchNormalization", inputs, attributes)
                }
                Layer::Relu => self.push(path, path, shape, "Relu", inputs),
                Layer::Silu => {
                    let name = join(path, "sigmoid");
                    let sigmoid = self.push(&name, &name, shape, "Sigmoid", inputs);
                    self.push(path, path, shape, "Mul", vec![x, sigmoid])
                }
                Layer::MaxPool2d { kernel, stride, padding } => {
                    let attributes = window(kernel, stride, [*padding; 2]);
                    self.with(path, path, shape, "MaxPool", inputs, attributes)
                }
                Layer::AvgPool2d { kernel, stride, padding, count_include_pad, .. } => {
                    self.average_pooling(node, path, x, [*kernel, *stride, *padding], *count_include_pad)
                }
                Layer::GlobalAvgPool2d => {
                    let pooled = Shape::map(shape.channels(), 1, 1);
                    let map = self.push(path, &join(path, "map"), pooled, "GlobalAveragePool", inputs);
                    self.with(&join(path, "flatten"), path, shape, "Flatten", vec![map], vec![int("axis", 1)])
                }
                Layer::PadChannels { stride, .. } => self.padding_of_channels(node, path, x, *stride),
                Layer::Dropout { .. } => x,
                Layer::Linear { bias, .. } => {
                    let weight = self.plain(&join(&node.path, "weight"));
                    let bias = bias.then(|| self.plain(&join(&node.path, "bias")));
                    let inputs = [x, weight].into_iter().chain(bias).collect();
                    self.with(path, path, shape, "Gemm", inputs, vec![int("transB", 1)])
                }
                Layer::Sequential { .. } | Layer::Residual { .. } | Layer::Concat { .. } => {
                    unreachable!("made of other layers")
                }
            },
        })
    }

    /// A convolution, with the norm that is folded into it.
    fn convolution(
        &mut self,
        index: usize,
        node: &TraceNode,
        x: Operand,
        attributes: Vec<AttributeProto>,
    ) -> Result<Operand> {
        let Weighted { trace, .. } = *self.network;
        let [weight, bias] = ["weight", "bias"].map(|word| join(&node.path, word));
        let has_bias = self.by_name.contains_key(&*bias);
        let mut returned = &node.path;
        let mut inputs = vec![x];
        match self.norms.get(&index).map(|&norm| &trace.nodes[norm]) {
            None => {
                inputs.push(self.plain(&weight));
                inputs.extend(has_bias.then(|| self.plain(&bias)));
            }
            Some(norm) => {
                let affine = self.affine(norm)?;
                let folded = Numbers::Plain(affine.bias(has_bias.then(|| self.values(&bias)))?.into());
                let dims = vec![affine.factors.len()];
                let scaled = Numbers::Scaled { values: self.values(&weight), factors: affine.factors };
                inputs.push(self.graph.parameter(&weight, self.by_name[&*weight].shape.clone(), scaled));
                inputs.push(match has_bias {
                    true => self.graph.parameter(&bias, dims, folded),
                    false => self.graph.constant(&bias, dims, folded, self.graph.precision),
                });
                returned = &norm.path;
            }
        }
        let [name, value] = [&node.path, returned].map(|path| called(path));
        Ok(self.with(name, value, trace.shapes[node.output], "Conv", inputs, attributes))
    }

    /// What a norm does with its running statistics.
    fn affine(&self, norm: &TraceNode) -> Result<Affine> {
        let Kind::Layer(Layer::BatchNorm2d { eps, .. }) = norm.kind else { unreachable!("a norm") };
        let words = ["weight", "bias", "running_mean", "running_var"];
        Affine::of_norm(words.map(|word| self.values(&join(&norm.path, word))), *eps)
    }

    /// What hangs over the edge, where a last window does, is padding that never counts. So it does not matter how a runtime rounds
    /// sizes up, in which many have differed.
    fn average_pooling(
        &mut self,
        node: &TraceNode,
        path: &str,
        x: Operand,
        [kernel, stride, padding]: [[usize; 2]; 3],
        counts_padding: bool,
    ) -> Operand {
        let [input, output] = [node.inputs[0], node.output].map(|value| self.network.trace.shapes[value]);
        let over = [0, 1].map(|i| {
            let end = (output.size()[i] - 1) * stride[i] + kernel[i];
            end.saturating_sub(input.size()[i] + 2 * padding[i])
        });
        let beyond = |padding: [usize; 2]| [padding, [0, 1].map(|i| padding[i] + over[i])];
        let (x, pads, counts) = match counts_padding && over != [0; 2] && padding != [0; 2] {
            false => (x, beyond(padding), counts_padding && over == [0; 2]),
            true => {
                let name = join(path, "pad");
                let [h, w] = [0, 1].map(|i| input.size()[i] + 2 * padding[i]);
                let [down, across] = padding.map(|size| size as i64);
                let pads = self.graph.whole(&join(path, "pads"), vec![0, 0, down, across, 0, 0, down, across]);
                let padded = Shape::map(input.channels(), h, w);
                (self.push(&name, &name, padded, "Pad", vec![x, pads]), beyond([0; 2]), false)
            }
        };
        let mut attributes = window(&kernel, &stride, pads);
        attributes.push(int("count_include_pad", counts.into()));
        self.with(path, path, output, "AveragePool", vec![x], attributes)
    }

    /// Every s-th pixel, then zero channels around.
    fn padding_of_channels(&mut self, node: &TraceNode, path: &str, mut x: Operand, stride: [usize; 2]) -> Operand {
        let [input, output] = [node.inputs[0], node.output].map(|value| self.network.trace.shapes[value]);
        let added = output.channels() - input.channels();
        if stride != [1; 2] {
            let name = if added == 0 { path.to_owned() } else { join(path, "slice") };
            let ends = input.size().map(|size| size as i64);
            let numbers = [[0; 2], ends, [2, 3], stride.map(|size| size as i64)];
            let mut inputs = vec![x];
            for (word, numbers) in ["starts", "ends", "axes", "steps"].into_iter().zip(numbers) {
                inputs.push(self.graph.whole(&join(path, word), numbers.to_vec()));
            }
            let [height, width] = output.size();
            x = self.push(&name, &name, Shape::map(input.channels(), height, width), "Slice", inputs);
        }
        if added != 0 {
            let (before, after) = (added / 2, added - added / 2);
            let pads = [0, before, 0, 0, 0, after, 0, 0].map(|size| size as i64);
            let pads = self.graph.whole(&join(path, "pads"), pads.to_vec());
            x = self.push(path, path, output, "Pad", vec![x, pads]);
        }
        x
    }

    /// A parameter as it is.
    fn plain(&mut self, name: &str) -> Operand {
        let (values, dims) = (self.values(name), self.by_name[name].shape.clone());
        self.graph.parameter(name, dims, Numbers::Plain(values.into()))
    }

    fn values(&self, name: &str) -> &'a [f32] {
        self.by_name[name].values(self.network.parameters, self.network.running)
    }

    /// Adds a node without attributes.
    fn push(&mut self, node: &str, value: &str, shape: Shape, op: &'static str, inputs: Vec<Operand>) -> Operand {
        self.with(node, value, shape, op, inputs, Vec::new())
    }
    /// Adds a node.
    fn with(
        &mut self,
        node: &str,
        value: &str,
        shape: Shape,
        op: &'static str,
        inputs: Vec<Operand>,
        attributes: Vec<AttributeProto>,
    ) -> Operand {
        let r#type = Type { element: self.graph.precision.element(), sizes: shape.with_batch(1).split_off(1) };
        self.graph.push(Site { node, value, r#type }, op, inputs, attributes)
    }
}

/// What a layer is called: a network that is one layer has no path.
fn called(path: &str) -> &str {
    if path.is_empty() {
        "network"
    } else {
        path
    }
}

/// The attributes of windows over a map, with so many pixels before it and behind.
fn window(kernel: &[usize; 2], stride: &[usize; 2], pads: [[usize; 2]; 2]) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", *kernel), ints("strides", *stride), ints("pads", pads.concat())]
}
