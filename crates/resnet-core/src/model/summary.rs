//! What a network shows of itself: shapes, parameters, multiply-adds and activations, by stage or by layer.

use super::graph::{trace, Kind, Trace, TraceNode};
use super::layer::{Child, Form, Layer, Weighted};
use super::params::Params;
use super::shape::Shape;
use crate::error::{Code, Error, Result};
use std::ops::Range;

/// How far a summary goes into the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A row for each child of the root.
    Stages,
    /// A row for each layer that is not made of others, and for the sum at the end of each residual block.
    Layers,
}

/// A row of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Title or state-dict name; the kind where there is neither.
    pub name: String,
    /// What it is, such as `Conv2d` or `Sequential`.
    pub kind: &'static str,
    /// Sizes of its output, batch included.
    pub output_shape: Vec<usize>,
    /// Number of parameters.
    pub params: usize,
    /// Multiply-adds of its convolutions and linear layers for ONE image, zero padding included.
    pub macs: u64,
    /// Bytes of what its layers put out, as f32, batch included: what training would keep if no two values shared memory.
    pub activation_bytes: u64,
}

/// The rows of a network for an input of shape (N, C, H, W).
///
/// # Errors
/// `ERR_SHAPE` if the input is not of that form, does not fit the network, or makes values too large to be counted.
pub fn rows(root: &Layer, input: &[usize], depth: Depth) -> Result<Vec<Row>> {
    let &[batch, channels, height, width] = input else {
        return Err(Error::expected(Code::Shape, "input", "4 sizes (N, C, H, W)", format!("{input:?}")));
    };
    if input.contains(&0) {
        return Err(Error::expected(Code::Shape, "input", "sizes of at least 1", format!("{input:?}")));
    }
    let trace = trace(root, Shape::map(channels, height, width))?;
    let params = Params::of(&trace)?;
    let walk = Walk { batch, trace: &trace, params: &params };
    if trace.shapes.iter().any(|shape| product(&shape.with_batch(batch)).is_none()) {
        return Err(walk.too_large());
    }
    match (depth, root) {
        (Depth::Layers, _) => (0..trace.nodes.len()).map(|i| walk.layer(i)).collect(),
        (Depth::Stages, Layer::Sequential { children }) => walk.stages(children),
        (Depth::Stages, root) => Ok(vec![walk.row("", root.kind(), 0..trace.nodes.len())?]),
    }
}

struct Walk<'a> {
    batch: usize,
    trace: &'a Trace<'a>,
    params: &'a Params,
}

impl Walk<'_> {
    fn layer(&self, i: usize) -> Result<Row> {
        let node = &self.trace.nodes[i];
        let kind = match node.kind {
            Kind::Layer(layer) => layer.kind(),
            Kind::Add { relu: true } => "AddReLU",
            Kind::Add { relu: false } => "Add",
            Kind::StochasticDepth { .. } => "StochasticDepth",
            Kind::Concat => "Concat",
        };
        self.row(&node.path, kind, i..i + 1)
    }

    fn stages(&self, children: &[Child]) -> Result<Vec<Row>> {
        let mut start = 0;
        let row = |(stage, child): (usize, &Child)| {
            let len = self.trace.nodes[start..].iter().take_while(|node| node.stage == stage).count();
            let nodes = start..start + len;
            start += len;
            self.row(child.title.as_ref().unwrap_or(&child.name), child.layer.kind(), nodes)
        };
        children.iter().enumerate().map(row).collect()
    }

    /// The row of nodes that follow each other.
    fn row(&self, name: &str, kind: &'static str, nodes: Range<usize>) -> Result<Row> {
        // Without nodes, what comes out is what went in: what the node before wrote.
        let output = nodes.end.checked_sub(1).map_or(0, |last| self.trace.nodes[last].output);
        let (mut macs, mut activations) = (0u64, 0u64);
        for node in &self.trace.nodes[nodes.clone()] {
            let values = product(&self.trace.shapes[node.output].with_batch(self.batch)).unwrap_or(u64::MAX);
            let sums = self.macs(node).and_then(|more| macs.checked_add(more)).zip(activations.checked_add(values));
            (macs, activations) = sums.ok_or_else(|| self.too_large())?;
        }
        let activation_bytes = activations.checked_mul(4).ok_or_else(|| self.too_large())?;
        Ok(Row {
            name: if name.is_empty() { kind } else { name }.to_owned(),
            kind,
            output_shape: self.trace.shapes[output].with_batch(self.batch),
            params: self.params.nodes[nodes].iter().map(|ranges| ranges.params.len()).sum(),
            macs,
            activation_bytes,
        })
    }

    /// Multiply-adds of a node for one image; none if there are too many to be counted.
    fn macs(&self, node: &TraceNode) -> Option<u64> {
        let input = self.trace.shapes[node.inputs[0]].channels();
        let [height, width] = self.trace.shapes[node.output].size();
        let Kind::Layer(layer) = node.kind else { return Some(0) };
        let Form::Weighted(weighted) = layer.form() else { return Some(0) };
        match weighted {
            Weighted::Conv2d { out_channels, kernel: [kh, kw], groups, .. } => {
                product(&[height, width, out_channels, input / groups, kh, kw])
            }
            Weighted::Linear { out_features, .. } => product(&[input, out_features]),
            Weighted::BatchNorm2d { .. } => Some(0),
        }
    }

    fn too_large(&self) -> Error {
        let given = format!("{:?}", self.trace.shapes[0].with_batch(self.batch));
        Error::expected(Code::Shape, "input", "sizes whose values can be counted", given)
    }
}

/// The product, if it is a whole number that JavaScript can tell from its neighbours.
fn product(sizes: &[usize]) -> Option<u64> {
    const MAX: u64 = 1 << 53;
    sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64)).filter(|&product| product <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;
    use crate::model::layer::Init;
    use crate::model::resnet::resnet;
    use crate::model::zoo::preset;

    fn resnet18() -> Layer {
        resnet(&preset("resnet18").unwrap()).unwrap()
    }

    #[test]
    fn resnet18_has_six_stages() {
        let rows = rows(&resnet18(), &[1, 1, 96, 96], Depth::Stages).unwrap();
        let shown: Vec<(&str, &str, &[usize])> =
            rows.iter().map(|row| (row.name.as_str(), row.kind, row.output_shape.as_slice())).collect();
        assert_eq!(
            shown,
            [
                ("stem", "Sequential", [1, 64, 24, 24].as_slice()),
                ("layer1", "Sequential", &[1, 64, 24, 24]),
                ("layer2", "Sequential", &[1, 128, 12, 12]),
                ("layer3", "Sequential", &[1, 256, 6, 6]),
                ("layer4", "Sequential", &[1, 512, 3, 3]),
                ("head", "Sequential", &[1, 10]),
            ]
        );
        assert_eq!(rows.iter().map(|row| row.params).sum::<usize>(), 11_178_378);
        assert_eq!(rows[5].params, 5_130);
    }

    #[test]
    fn multiply_adds_are_those_of_one_image() {
        for batch in [1, 128] {
            for depth in [Depth::Stages, Depth::Layers] {
                let rows = rows(&resnet18(), &[batch, 1, 96, 96], depth).unwrap();
                assert_eq!(rows[0].macs, 48 * 48 * 64 * 49);
                assert_eq!(rows.iter().map(|row| row.macs).sum::<u64>(), 318_657_536);
            }
        }
    }

    #[test]
    fn activations_are_those_of_the_batch() {
        let block = basic(6, true, 2);
        for batch in [1, 4] {
            let stages = rows(&block, &[batch, 3, 6, 6], Depth::Stages).unwrap();
            let layers = rows(&block, &[batch, 3, 6, 6], Depth::Layers).unwrap();
            assert_eq!(stages[0].activation_bytes, 7 * 4 * 54 * batch as u64);
            assert!(layers.iter().all(|row| row.activation_bytes == 4 * 54 * batch as u64));
        }
    }

    #[test]
    fn layers_are_shown_in_the_order_in_which_they_run() {
        let block = basic(6, true, 2);
        let rows = rows(&block, &[4, 3, 6, 6], Depth::Layers).unwrap();
        let shown: Vec<String> =
            rows.iter().map(|row| format!("{} {} {} {}", row.name, row.kind, row.params, row.macs)).collect();
        assert_eq!(
            shown,
            [
                "conv1 Conv2d 168 1458",
                "bn1 BatchNorm2d 12 0",
                "relu1 ReLU 0 0",
                "conv2 Conv2d 330 2916",
                "bn2 BatchNorm2d 12 0",
                "downsample.0 Conv2d 24 162",
                "AddReLU AddReLU 0 0",
            ]
        );
        assert!(rows.iter().all(|row| row.output_shape == [4, 6, 3, 3]));
    }

    #[test]
    fn a_root_that_is_no_sequence_is_one_row() {
        let block = basic(6, true, 2);
        let rows = rows(&block, &[4, 3, 6, 6], Depth::Stages).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].name.as_str(), rows[0].kind, rows[0].params), ("Residual", "Residual", 546));
    }

    #[test]
    fn a_stage_without_layers_passes_its_input_on() {
        let empty = || Layer::Sequential { children: Vec::new() };
        let children =
            vec![Child::new("a", empty()), Child::new("b", Layer::GlobalAvgPool2d), Child::new("c", empty())];
        let rows = rows(&Layer::sequential(children), &[2, 3, 4, 5], Depth::Stages).unwrap();
        let shapes: Vec<&[usize]> = rows.iter().map(|row| row.output_shape.as_slice()).collect();
        assert_eq!(shapes, [[2, 3, 4, 5].as_slice(), &[2, 3], &[2, 3]]);
    }

    #[test]
    fn groups_divide_the_multiply_adds() {
        let conv = |groups| Layer::Conv2d {
            out_channels: 32,
            kernel: [3, 1],
            stride: [1, 2],
            padding: [1, 0],
            groups,
            bias: false,
            init: Init::default(),
        };
        let macs = |groups| rows(&conv(groups), &[1, 64, 10, 9], Depth::Stages).unwrap()[0].macs;
        assert_eq!(macs(1), 10 * 5 * 32 * 64 * 3);
        assert_eq!(macs(16), macs(1) / 16);
    }

    #[test]
    fn inputs_that_cannot_be_are_refused() {
        let inputs: [&[usize]; 6] =
            [&[1, 96, 96], &[1, 1, 0, 96], &[0, 1, 96, 96], &[1, 1, 1 << 40, 1 << 40], &[1 << 60, 1, 96, 96], &[]];
        for input in inputs {
            assert_eq!(rows(&resnet18(), input, Depth::Stages).unwrap_err().code, Code::Shape, "{input:?}");
        }
    }
}
