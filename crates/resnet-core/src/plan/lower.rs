//! From the walk over the tree to a backend's nodes.

use super::mode::{Gradients, Mode};
use super::ops::{Import, Op, Site};
use super::tape::{NamedValues, Wires};
use crate::error::{Code, Error, Result};
use crate::model::graph::{Kind, Trace};
use crate::model::layer::Layer;
use crate::model::nearest::nearest;
use crate::model::params::{Parameter, Params};
use crate::model::shape::Shape;
use resnet_ops::Executor;
use std::collections::HashMap;

/// A first convolution reads images as they come up to this many channels; more are worth blocking.
const MOST_PLAIN_CHANNELS: usize = 4;

/// An op with the values that it reads and writes.
pub(super) struct Node {
    pub op: Op,
    pub wires: Wires,
}

/// A network as a backend's nodes. Value 0 is the input, as (N, C, H, W) whatever the backend.
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    pub shapes: Vec<Shape>,
    pub named: NamedValues,
    /// Which values need a gradient: one that is named, and whatever comes behind it or behind parameters that are trained.
    pub requires_grad: Vec<bool>,
}

/// Lowers a traced network.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if the mode names a layer that the network does not have.
pub(super) fn lower(executor: &Executor, trace: &Trace, params: &Params, mode: &Mode) -> Result<Graph> {
    let mut nodes = Vec::new();
    let mut shapes = trace.shapes.clone();
    let plain = reads_plain_images(trace);
    // Where each value of the trace is: elsewhere for images that must be imported, and behind layers that do nothing.
    let mut values: Vec<usize> = (0..shapes.len()).collect();
    if !plain {
        let shape = shapes[0];
        values[0] = shapes.len();
        let wires = Wires { inputs: vec![0], output: shapes.len(), is_trained: false };
        nodes.push(Node { op: Op::Import(Import { shape }), wires });
        shapes.push(shape);
    }
    let of_weight = |weight: &Parameter| weight.input.map(|range| (weight.range.start, range));
    let input_ranges: HashMap<_, _> = params.parameters.iter().filter_map(of_weight).collect();
    for (node, ranges) in trace.nodes.iter().zip(&params.nodes) {
        if is_identity(&node.kind, mode) {
            values[node.output] = values[node.inputs[0]];
            continue;
        }
        let site = Site {
            executor,
            mode,
            inputs: node.inputs.iter().map(|&input| trace.shapes[input]).collect(),
            ranges,
            plain_input: plain && node.inputs[0] == 0,
            input_range: input_ranges.get(&ranges.params.start).copied(),
            output: node.output,
        };
        let wires = Wires {
            inputs: node.inputs.iter().map(|&value| values[value]).collect(),
            output: node.output,
            is_trained: mode.trains_any(&ranges.params),
        };
        nodes.push(Node { op: Op::lower(&site, &node.kind)?, wires });
    }
    let named = |name: &String| {
        let value = trace.value_of(name).map(|value| values[value]);
        value.ok_or_else(|| unknown(trace, name))
    };
    let retained = mode.retained.iter().map(named).collect::<Result<Vec<_>>>()?;
    let differentiated = match &mode.gradients {
        Gradients::None | Gradients::Parameters => None,
        Gradients::Value(name) => Some(named(name)?),
    };
    let mut requires_grad = vec![false; shapes.len()];
    for Node { wires, .. } in &nodes {
        let goes_through = wires.is_trained || wires.inputs.iter().any(|&input| requires_grad[input]);
        requires_grad[wires.output] = goes_through || differentiated == Some(wires.output);
    }
    let named = NamedValues { output: values[trace.output], retained, differentiated };
    Ok(Graph { nodes, shapes, named, requires_grad })
}

/// The error for a name that no layer has.
fn unknown(trace: &Trace, name: &str) -> Error {
    let mut expected = String::from("the name of a layer or stage");
    let mut near = nearest(name, trace.names(), 3);
    near.sort_by_key(|name| trace.value_of(name));
    if let Some((last, others)) = near.split_last() {
        let others = if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
        expected += &format!(", such as {others}{last} (layerSummary with depth: \"layers\" lists them all)");
    }
    Error::expected(Code::InvalidArgument, "layer", expected, name)
}

/// Whether a node would return its input as it is.
fn is_identity(kind: &Kind, mode: &Mode) -> bool {
    matches!(kind, Kind::Layer(Layer::Dropout { p }) | Kind::StochasticDepth { p } if !mode.drops() || *p == 0.0)
}

/// Whether the images go to one convolution only, and have few channels.
fn reads_plain_images(trace: &Trace) -> bool {
    let mut readers = trace.nodes.iter().filter(|node| node.inputs.contains(&0));
    let first = readers.next().map(|node| node.kind);
    let convolution = matches!(first, Some(Kind::Layer(Layer::Conv2d { .. })));
    convolution && readers.next().is_none() && trace.output != 0 && trace.shapes[0].channels() <= MOST_PLAIN_CHANNELS
}

impl Graph {
    /// How many times each value is read; the network's output counts as read, and so does what the mode names.
    pub fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.shapes.len()];
        let NamedValues { output, retained, differentiated } = &self.named;
        let named = retained.iter().chain(differentiated).chain([output]);
        for &value in self.nodes.iter().flat_map(|node| &node.wires.inputs).chain(named) {
            readers[value] += 1;
        }
        readers
    }
}
