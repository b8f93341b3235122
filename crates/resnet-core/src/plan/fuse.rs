//! Joins what a backend does in one pass: a batch norm or a convolution with the ReLU, or the addition, that follows it; a
//! max-pooling with the batch norm before it, or, when nothing is learnt, a batch norm with the convolution. Marks
//! convolutions that a batch norm follows: they leave it its moments, and it cancels their biases.

use super::lower::{Graph, Node, Op};
use super::Mode;
use crate::error::Result;
use resnet_ops::conv2d::{self, Conv2d, ConvShape};
use resnet_ops::norm_pool::NormPool;
use resnet_ops::Executor;
use std::ops::Range;

/// Rewrites the graph; the values of nodes that were joined are no longer written.
pub(super) fn fuse(graph: &mut Graph, executor: &Executor, mode: Mode) -> Result<()> {
    let readers = graph.readers();
    let mut writers: Vec<Option<usize>> = vec![None; graph.shapes.len()];
    for index in 0..graph.nodes.len() {
        // The writer of what this node continues, if nobody else reads it.
        let input = graph.nodes[index].inputs[0];
        let writer = writers[input].filter(|_| readers[input] == 1);
        match (&graph.nodes[index].op, writer) {
            (Op::BatchNorm(_), Some(writer)) => norm(graph, executor, mode, writer, index)?,
            (Op::Relu | Op::Add { .. }, Some(writer)) => follower(&mut graph.nodes, writer, index),
            (Op::MaxPool2d(_), Some(writer)) if mode == Mode::Train => pool(&mut graph.nodes, writer, index),
            _ => {}
        }
        let node = &graph.nodes[index];
        if !node.inputs.is_empty() {
            writers[node.output] = Some(index);
        }
    }
    graph.nodes.retain(|node| !node.inputs.is_empty());
    Ok(())
}

/// A batch norm behind a convolution: folded into it for good, or at least the bias has no gradient.
fn norm(graph: &mut Graph, executor: &Executor, mode: Mode, writer: usize, index: usize) -> Result<()> {
    let (before, behind) = graph.nodes.split_at_mut(index);
    let (node, norm) = (&mut before[writer], &mut behind[0]);
    let (Op::Conv2d(convolution), Op::BatchNorm(op)) = (&mut node.op, &norm.op) else { return Ok(()) };
    if mode == Mode::Train {
        convolution.normed = !convolution.relu;
        if convolution.normed && conv2d::elides_bias(executor) && convolution.kernels.shape().bias {
            let Range { start, end } = node.places.params;
            norm.left_out = Some(start + convolution.kernels.shape().weight_len()..end);
        }
        return Ok(());
    }
    if convolution.relu || node.inputs.len() > 1 {
        return Ok(());
    }
    convolution.kernels = Conv2d::new(executor, ConvShape { bias: true, ..convolution.kernels.shape().clone() })?;
    convolution.folded = Some((op.clone(), norm.places.clone()));
    node.output = norm.output;
    norm.inputs.clear();
    // The node that goes on in the norm's place must be found there.
    graph.nodes.swap(writer, index);
    Ok(())
}

/// A max-pooling behind a batch norm that nothing is added to.
fn pool(nodes: &mut [Node], writer: usize, index: usize) {
    let (before, behind) = nodes.split_at_mut(index);
    let (node, follower) = (&mut before[writer], &mut behind[0]);
    let (Op::BatchNorm(norm), Op::MaxPool2d(pool)) = (&node.op, &follower.op) else { return };
    if node.inputs.len() > 1 {
        return;
    }
    follower.op = Op::NormPool(NormPool { norm: norm.clone(), pool: pool.clone() });
    follower.inputs = std::mem::take(&mut node.inputs);
    follower.places = node.places.clone();
    follower.left_out = node.left_out.take();
}

/// Puts a convolution or a batch norm in the place of the ReLU or addition behind it, where a shortcut has been computed, and
/// empties its own.
fn follower(nodes: &mut [Node], writer: usize, index: usize) {
    let adds = nodes[index].inputs.len() > 1;
    let relu = matches!(nodes[index].op, Op::Relu | Op::Add { relu: true });
    let taken = nodes[writer].inputs.len() > 1;
    match &mut nodes[writer].op {
        Op::BatchNorm(op) if !op.relu && !taken && relu => op.relu = true,
        Op::Conv2d(convolution) if !(convolution.relu || taken && adds) => convolution.relu = relu,
        _ => return,
    }
    let mut inputs = std::mem::take(&mut nodes[writer].inputs);
    let follower_inputs = std::mem::take(&mut nodes[index].inputs);
    nodes.swap(writer, index);
    inputs.extend_from_slice(&follower_inputs[1..]);
    nodes[index].inputs = inputs;
    nodes[index].output = nodes[writer].output;
}
