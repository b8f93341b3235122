//! Joins what a backend does in one pass. In the graph: a batch norm or a convolution with the ReLU, or the addition, that follows it;
//! a max-pooling with the batch norm before it, or, in evaluation, a batch norm with the convolution. In the backward list: the
//! input gradient of a convolution with the begin of the backward of the batch norm before it.

use super::instruction::Operands;
use super::lower::{Graph, Node};
use super::mode::Statistics;
use super::ops::{Add, ConvCall, FusedNormBackward, Instruction, NormCall, Op, PooledNorm};
use crate::error::Result;
use resnet_ops::conv2d;
use resnet_ops::Executor;

/// Rewrites the graph; the values of nodes that were joined are no longer written.
pub(super) fn fuse(graph: &mut Graph, executor: &Executor) -> Result<()> {
    let readers = graph.readers();
    let mut writers: Vec<Option<usize>> = vec![None; graph.shapes.len()];
    for index in 0..graph.nodes.len() {
        // The writer of what this node continues, if nobody else reads it.
        let input = graph.nodes[index].wires.inputs[0];
        if let Some(writer) = writers[input].filter(|_| readers[input] == 1) {
            let op = &graph.nodes[index].op;
            if matches!(op, Op::BatchNorm(_)) {
                norm(graph, executor, writer, index)?;
            } else if matches!(op, Op::Relu(_) | Op::Add(_)) {
                follower(&mut graph.nodes, writer, index);
            } else if matches!(op, Op::MaxPool2d(_)) {
                pool(&mut graph.nodes, writer, index);
            }
        }
        let node = &graph.nodes[index];
        if !node.wires.inputs.is_empty() {
            writers[node.wires.output] = Some(index);
        }
    }
    graph.nodes.retain(|node| !node.wires.inputs.is_empty());
    Ok(())
}

/// A batch norm behind a convolution. With the batch's statistics the convolution leaves it its moments, and its bias is cancelled; with
/// running ones, where no gradient has to go through it, the norm is folded into the convolution for good.
fn norm(graph: &mut Graph, executor: &Executor, writer: usize, index: usize) -> Result<()> {
    let (before, after) = graph.nodes.split_at_mut(index);
    let (node, follower) = (&mut before[writer], &mut after[0]);
    let (Op::Conv2d(convolution), Op::BatchNorm(norm)) = (&mut node.op, &mut follower.op) else { return Ok(()) };
    if norm.statistics == Statistics::Batch {
        convolution.normed = (!convolution.relu).then(|| norm.op.clone());
        if convolution.normed.is_some() && conv2d::elides_bias(executor) {
            norm.elided_bias = convolution.bias();
        }
        return Ok(());
    }
    if convolution.relu || node.wires.inputs.len() > 1 || graph.requires_grad[follower.wires.output] {
        return Ok(());
    }
    convolution.fold(executor, norm)?;
    node.wires.output = follower.wires.output;
    follower.wires.inputs.clear();
    // The node that goes on in the norm's place must be found there.
    graph.nodes.swap(writer, index);
    Ok(())
}

/// A max-pooling behind a batch norm with the batch's statistics that nothing is added to.
fn pool(nodes: &mut [Node], writer: usize, index: usize) {
    let (before, after) = nodes.split_at_mut(index);
    let (node, follower) = (&mut before[writer], &mut after[0]);
    let (Op::BatchNorm(norm), Op::MaxPool2d(pool)) = (&node.op, &follower.op) else { return };
    if node.wires.inputs.len() > 1 || norm.statistics != Statistics::Batch {
        return;
    }
    follower.op = Op::NormPool(PooledNorm { norm: norm.clone(), pool: pool.op.clone() });
    follower.wires.inputs = std::mem::take(&mut node.wires.inputs);
    follower.wires.is_trained = node.wires.is_trained;
}

/// Puts a convolution or a batch norm in the place of the ReLU or addition behind it, where a shortcut has been computed, and
/// empties its own.
fn follower(nodes: &mut [Node], writer: usize, index: usize) {
    let adds = nodes[index].wires.inputs.len() > 1;
    let relu = !matches!(&nodes[index].op, Op::Add(Add { relu: false, .. }));
    let taken = nodes[writer].wires.inputs.len() > 1;
    let op = &mut nodes[writer].op;
    if let Op::BatchNorm(norm) = op {
        if norm.op.relu || taken || !relu {
            return;
        }
        norm.op.relu = true;
    } else if let Op::Conv2d(convolution) = op {
        if convolution.relu || taken && adds {
            return;
        }
        convolution.relu = relu;
    } else {
        return;
    }
    let mut inputs = std::mem::take(&mut nodes[writer].wires.inputs);
    let follower_inputs = std::mem::take(&mut nodes[index].wires.inputs);
    nodes.swap(writer, index);
    inputs.extend_from_slice(&follower_inputs[1..]);
    nodes[index].wires.inputs = inputs;
    nodes[index].wires.output = nodes[writer].wires.output;
}

/// Has the input gradient that is the last to be added to what a batch norm made begin the norm's backward, while it is at hand.
pub(super) fn fuse_backward(backward: &mut [Instruction]) {
    for index in 0..backward.len() {
        let (before, after) = backward.split_at_mut(index);
        let Instruction::BatchNorm(norm, NormCall::Backward { x, y, saved, sums, dy, summed, .. }) = &mut after[0]
        else {
            continue;
        };
        let names_dy = |instruction: &Instruction| {
            let mut named = false;
            instruction.each(&mut |request| named |= request == dy.0);
            named
        };
        let Some(last) = before.iter_mut().rev().find(|instruction| names_dy(instruction)) else { continue };
        let Instruction::Conv2d(_, ConvCall::InputGradient { dx, norm: fused, .. }) = last else { continue };
        if dx.target == dy.0 && fused.is_none() {
            *fused = Some(FusedNormBackward { norm: norm.clone(), x: *x, y: y.take(), saved: *saved, sums: *sums });
            *summed = true;
        }
    }
}
