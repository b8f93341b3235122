//! Joins a batch norm with the ReLU, or the addition and ReLU, that follows it, and marks biases that a batch norm cancels.

use super::lower::{Graph, Node, Op};

/// Rewrites the graph; the values of nodes that were joined are no longer written.
pub(super) fn fuse(graph: &mut Graph) {
    cancel_biases(graph);
    let mut norms: Vec<Option<usize>> = vec![None; graph.shapes.len()];
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        match node.op {
            Op::BatchNorm(_) if node.inputs.len() == 1 && graph.readers(node.output) == 1 => {
                norms[node.output] = Some(index);
            }
            Op::Relu | Op::Add { relu: true } => {
                if let Some(norm) = norms[node.inputs[0]] {
                    join(&mut graph.nodes, norm, index);
                }
            }
            _ => {}
        }
    }
    graph.nodes.retain(|node| !node.inputs.is_empty());
}

/// Puts the batch norm in the place of its follower, where the shortcut has been computed, and empties its own.
fn join(nodes: &mut [Node], norm: usize, follower: usize) {
    let inputs = std::mem::take(&mut nodes[norm].inputs);
    let follower_inputs = std::mem::take(&mut nodes[follower].inputs);
    nodes.swap(norm, follower);
    let output = nodes[norm].output;
    let joined = &mut nodes[follower];
    joined.inputs = inputs;
    joined.inputs.extend_from_slice(&follower_inputs[1..]);
    joined.output = output;
    if let Op::BatchNorm(op) = &mut joined.op {
        op.relu = true;
    }
}

fn cancel_biases(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let Op::BatchNorm(_) = graph.nodes[index].op else { continue };
        let value = graph.nodes[index].inputs[0];
        if graph.readers(value) != 1 {
            continue;
        }
        let writer = graph.nodes.iter_mut().find(|node| node.output == value && matches!(node.op, Op::Conv2d(_)));
        if let Some(writer) = writer {
            writer.bias_cancels = true;
        }
    }
}
