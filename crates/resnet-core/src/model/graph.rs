//! The graph of a network: one walk over the tree gives its layers in the order in which they run, with every value's shape.

use super::layer::{Child, Form, Layer};
use super::shape::{check_probability, leaf_output, named, Shape};
use crate::error::{Code, Error, Result};
use std::collections::HashSet;

/// Longest path of a layer in state-dict names, in bytes.
const MAX_PATH: usize = 1024;

/// Most names of layers in a message.
const MOST_NAMES: usize = 12;

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
    /// The end of a residual block's body, in training left out for an image with probability p, else scaled by 1 / (1 − p).
    StochasticDepth {
        /// Probability.
        p: f64,
    },
    /// The end of branches: their channels in order.
    Concat,
}

/// A node of the graph: a layer, or the end of branches.
#[derive(Clone, Debug)]
pub struct TraceNode<'a> {
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

/// A network's graph. Its values are numbered; value 0 is the input.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// The nodes in the order in which they run.
    pub nodes: Vec<TraceNode<'a>>,
    /// The shape of every value.
    pub shapes: Vec<Shape>,
    /// The value that the network returns.
    pub output: usize,
    /// The titles of stages without a name of their own, such as `stem`, with the value that each returns.
    titles: Vec<(&'a str, usize)>,
}

/// The graph of a network for an input of a shape.
///
/// # Errors
/// `ERR_SHAPE`, with the layer's path, where a layer does not fit what comes before it.
pub fn trace(root: &Layer, input: Shape) -> Result<Trace<'_>> {
    if input.channels() == 0 || input.size().contains(&0) {
        return Err(Error::expected(Code::Shape, "input", "sizes of at least 1", input));
    }
    let mut trace = Trace { nodes: Vec::new(), shapes: vec![input], output: 0, titles: Vec::new() };
    if let Layer::Sequential { children } = root {
        for (stage, Child { name, title, layer }) in children.iter().enumerate() {
            trace.output = trace.walk(layer, name, stage, trace.output)?;
            if let (true, Some(title)) = (name.is_empty(), title) {
                trace.titles.push((title, trace.output));
            }
        }
    } else {
        trace.output = trace.walk(root, "", 0, 0)?;
    }
    Ok(trace)
}

/// The graph of a network for maps of a size that is not known; refuses a network that fits no size: where a shortcut and
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
    /// The value that a layer or a stage returns, by its name in the state dict, such as `layer4` or `layer4.1.conv2`: what the
    /// last of the nodes that bear it writes; or by its title in a summary. None if nothing is called so.
    pub fn value_of(&self, name: &str) -> Option<usize> {
        let bears = |path: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let named = self.nodes.iter().rfind(|node| bears(&node.path)).map(|node| node.output);
        named.or_else(|| self.titles.iter().find(|(title, _)| *title == name).map(|&(_, value)| value))
    }

    /// What [`Trace::value_of`] knows, each once: stages by their titles, then stages, blocks and layers in the order in which they begin.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let ends = |path: &str| path.match_indices('.').map(|(end, _)| end).chain([path.len()]).collect::<Vec<_>>();
        let paths = self.nodes.iter().flat_map(move |node| ends(&node.path).into_iter().map(|end| &node.path[..end]));
        let mut told = HashSet::new();
        let titles = self.titles.iter().map(|&(title, _)| title);
        titles.chain(paths).filter(move |&name| !name.is_empty() && told.insert(name))
    }

    /// The names of stages that return maps, in the order in which they run, as many as a message has room for.
    pub fn stages_of_maps(&self) -> Vec<&str> {
        let mut found: Vec<(usize, &str)> = self
            .names()
            .filter(|name| !name.contains('.'))
            .filter_map(|name| Some((self.value_of(name)?, name)))
            .filter(|&(value, _)| matches!(self.shapes[value], Shape::Map { .. }))
            .collect();
        found.sort_by_key(|&(value, _)| value);
        // Of a long chain the last know most of classes.
        found.drain(..found.len().saturating_sub(MOST_NAMES));
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// The name of the layer or stage that returns what the last linear layer reads. None if there is no linear layer, or nothing with a
    /// name before it.
    pub fn before_head(&self) -> Option<&str> {
        let is_linear = |node: &&TraceNode| matches!(node.kind, Kind::Layer(Layer::Linear { .. }));
        let input = self.nodes.iter().rfind(is_linear)?.inputs[0];
        let path = &self.nodes.iter().find(|node| node.output == input)?.path;
        (self.value_of(path) == Some(input)).then_some(path)
    }

    /// The name of what the last stage to return maps of more than a pixel ends in. None if there is no such stage.
    pub fn last_maps(&self) -> Option<&str> {
        let ends_stage = |&at: &usize| self.nodes.get(at + 1).is_none_or(|next| next.stage != self.nodes[at].stage);
        let returns_maps = |node: &&TraceNode| match self.shapes[node.output] {
            Shape::Map { size: Some(size), .. } => size != [1, 1],
            Shape::Map { size: None, .. } | Shape::Features(_) => false,
        };
        let stages = (0..self.nodes.len()).rev().filter(ends_stage).map(|at| &self.nodes[at]);
        let named = |node: &&TraceNode| self.value_of(&node.path) == Some(node.output);
        stages.filter(returns_maps).find(named).map(|node| &*node.path)
    }

    /// Adds the nodes of `layer`; the value that it returns.
    fn walk(&mut self, layer: &'a Layer, path: &str, stage: usize, input: usize) -> Result<usize> {
        // Nested long names would make paths that outgrow the description by far.
        if path.len() > MAX_PATH {
            let given = format!("{} bytes", path.len());
            return Err(Error::expected(Code::InvalidArgument, "name", format!("at most {MAX_PATH} bytes"), given));
        }
        match layer.form() {
            Form::Sequential(children) => children
                .iter()
                .try_fold(input, |value, Child { name, layer, .. }| self.walk(layer, &join(path, name), stage, value)),
            Form::Residual { preactivation, body, shortcut, relu, stochastic_depth: p } => {
                check_probability(path, p)?;
                let start = match preactivation {
                    Some(preactivation) => self.walk(preactivation, path, stage, input)?,
                    None => input,
                };
                let mut result = self.walk(body, path, stage, start)?;
                if p > 0.0 {
                    let shape = self.shapes[result];
                    result = self.push(path, stage, Kind::StochasticDepth { p }, vec![result], shape);
                }
                let shortcut = match shortcut {
                    Some(shortcut) => self.walk(shortcut, &join(path, "downsample"), stage, start)?,
                    None => input,
                };
                let (a, b) = (self.shapes[result], self.shapes[shortcut]);
                if a != b {
                    return Err(cannot_add(path, a, b));
                }
                Ok(self.push(path, stage, Kind::Add { relu }, vec![result, shortcut], a))
            }
            Form::Concat(branches) => {
                let walk = |Child { name, layer, .. }: &'a Child| self.walk(layer, &join(path, name), stage, input);
                let values = branches.iter().map(walk).collect::<Result<Vec<_>>>()?;
                let shape = self.concatenated(path, &values)?;
                Ok(self.push(path, stage, Kind::Concat, values, shape))
            }
            Form::Weighted(_) | Form::Plain => {
                let output = leaf_output(layer, path, self.shapes[input])?;
                Ok(self.push(path, stage, Kind::Layer(layer), vec![input], output))
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

    /// Adds a node; the value that it writes.
    fn push(&mut self, path: &str, stage: usize, kind: Kind<'a>, inputs: Vec<usize>, shape: Shape) -> usize {
        let output = self.shapes.len();
        self.shapes.push(shape);
        self.nodes.push(TraceNode { path: path.to_owned(), stage, kind, inputs, output });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;

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

    fn residual(body: Layer, shortcut: Option<Layer>, stochastic_depth: f64) -> Layer {
        let (body, shortcut) = (Box::new(body), shortcut.map(Box::new));
        Layer::Residual { preactivation: None, body, shortcut, relu: true, stochastic_depth }
    }

    fn sum(body: Layer, shortcut: Option<Layer>) -> Layer {
        let block = residual(body, shortcut, 0.0);
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
    fn a_name_stands_for_the_last_of_its_nodes() {
        let stage = || Layer::sequential(vec![Child::new("0", basic(4, true, 2)), Child::new("1", basic(4, false, 1))]);
        let network = Layer::sequential(vec![Child::new("layer1", stage()), Child::new("layer10", stage())]);
        let trace = trace(&network, Shape::map(3, 8, 8)).unwrap();
        let paths = ["layer1.0.conv2", "layer1.0.downsample", "layer1.0", "layer1", "layer10.0", "layer10"];
        let nodes = ["layer1.0.conv2", "layer1.0.downsample.0", "layer1.0", "layer1.1", "layer10.0", "layer10.1"];
        for (path, node) in paths.into_iter().zip(nodes) {
            let written = trace.nodes.iter().rfind(|written| written.path == node).unwrap().output;
            assert_eq!(trace.value_of(path), Some(written), "{path}");
        }
        assert_eq!(trace.value_of("layer10"), Some(trace.output));
        assert!(trace.names().all(|name| trace.value_of(name).is_some()));
        assert!(paths.iter().all(|path| trace.names().any(|name| name == *path)));
        for unknown in ["", "layer", "layer1.", "layer2", "layer1.0.conv"] {
            assert_eq!(trace.value_of(unknown), None, "{unknown}");
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
}
