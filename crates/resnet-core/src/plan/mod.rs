//! How a network runs: lowered to nodes of a backend, written as flat lists of calls over preallocated slots.
//!
//! [`lower`] turns the walk over the tree into nodes, each an op of [`ops`]; [`fuse`] joins what a backend does in one pass; the ops
//! write the forward, backward and update lists on a [`tape`]; [`gather`] makes one call of what a GPU does for all layers at once; [`slots`] gives every value a slot by its live range; [`run`] walks the lists, or
//! has a GPU run them as [`captured`]; [`shards`] walks them for the shards of a batch, all at once. [`mode`] says what a plan is for.

mod captured;
mod fuse;
mod gather;
mod instruction;
mod lower;
mod mode;
mod ops;
mod run;
mod shards;
mod slots;
mod tape;

pub use instruction::List;
pub use mode::{add_place, Frozen, Gradients, Mode, Statistics};
pub use ops::Merge;
pub use run::{Observer, Operating};
pub use shards::{Merging, Shard};
pub use slots::Slots;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::model::graph::trace;
use crate::model::params::Params;
use crate::model::shape::Shape;
use crate::model::Layer;
use lower::Graph;
use ops::{Instruction, Op, PooledNorm, Tape};
use resnet_ops::batch_norm::BatchNorm;
use resnet_ops::conv2d::Conv2d;
use resnet_ops::{allocate, Executor};
use std::sync::Arc;
use tape::Lists;

/// More than a node takes in all lists while they are written.
const BYTES_OF_A_NODE: usize = 16 << 10;

/// A network lowered for a backend, an input size, a largest batch and a [`Mode`].
pub struct Plan {
    lists: Lists<Instruction>,
    mode: Mode,
    input: Shape,
    output: Shape,
    capacity: usize,
    /// Whether each run draws other numbers, so that none can be done as the one before.
    is_random: bool,
    smallest_batch_norm: Option<usize>,
    convolutions: Vec<Arc<Conv2d>>,
}

impl Plan {
    /// Lowers and writes a network for batches of up to `capacity` images.
    ///
    /// # Errors
    /// `ERR_SHAPE` if the network does not fit the input; `ERR_INVALID_ARGUMENT` if the mode names a layer that is none;
    /// `ERR_OUT_OF_MEMORY`.
    pub fn new(
        executor: &Executor,
        root: &Layer,
        params: &Params,
        input: Shape,
        capacity: usize,
        mode: Mode,
    ) -> Result<Self> {
        let trace = trace(root, input)?;
        allocate::check_room(trace.nodes.len() * BYTES_OF_A_NODE)?;
        let mut graph = lower::lower(executor, &trace, params, &mode)?;
        if !executor.is_reference() {
            fuse::fuse(&mut graph, executor)?;
        }
        let lists = graph.write(executor, capacity, &mode, |[forward, backward, statistics]| {
            if resnet_ops::batch_norm::fuses_backward(executor) {
                fuse::fuse_backward(backward);
            }
            if resnet_ops::conv2d::packs_together(executor) {
                gather::share_bias_gradients(backward);
                gather::gather_weights(forward, backward);
            }
            if resnet_ops::batch_norm::updates_together(executor) {
                gather::gather_statistics(statistics);
            }
        });
        Ok(Self {
            lists,
            input,
            output: graph.shapes[graph.named.output],
            capacity,
            is_random: graph.nodes.iter().any(|node| matches!(node.op, Op::Dropout(_))),
            smallest_batch_norm: graph.batch_norms().map(|norm| norm.size[0] * norm.size[1]).min(),
            convolutions: graph.convolutions().cloned().collect(),
            mode,
        })
    }

    /// Whether it runs batches of `n` images of this shape.
    pub fn fits(&self, input: Shape, n: usize) -> bool {
        self.input == input && n <= self.capacity
    }

    /// Makes room for it.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`, `ERR_ABORTED`.
    pub fn reserve(&self, executor: &Executor, slots: &mut Slots, cancel: &Cancel) -> Result<()> {
        slots.reserve(executor, &self.lists.lengths, cancel)
    }

    /// Shape of the network's output.
    pub fn output(&self) -> Shape {
        self.output
    }

    /// Pixels of the smallest map whose batch statistics a norm takes; None if none does.
    pub fn smallest_batch_norm(&self) -> Option<usize> {
        self.smallest_batch_norm
    }
}

impl Graph {
    /// Writes the lists for batches of up to `capacity` images.
    fn write(
        &self,
        executor: &Executor,
        capacity: usize,
        mode: &Mode,
        fuse: impl FnOnce([&mut Vec<Instruction>; 3]),
    ) -> Lists<Instruction> {
        let mut tape = Tape::new(executor, &self.shapes, &self.requires_grad, capacity, mode, ops::add_gradient);
        for node in &self.nodes {
            node.op.write(&node.wires, &mut tape);
        }
        tape.finish(&self.named, fuse)
    }

    /// Norms that use the batch's statistics.
    fn batch_norms(&self) -> impl Iterator<Item = &BatchNorm> {
        self.nodes.iter().filter_map(|node| {
            let (Op::BatchNorm(norm) | Op::NormPool(PooledNorm { norm, .. })) = &node.op else { return None };
            (norm.statistics == Statistics::Batch).then_some(&norm.op)
        })
    }

    fn convolutions(&self) -> impl Iterator<Item = &Arc<Conv2d>> {
        self.nodes.iter().filter_map(|node| {
            let Op::Conv2d(convolution) = &node.op else { return None };
            Some(&convolution.kernels)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resnet::resnet;
    use crate::model::zoo::preset;

    /// Calls of the backward list, and those that are prepared beforehand, where all but these layers are frozen.
    fn calls(trained: &[&str], norms: Statistics) -> [usize; 2] {
        let network = resnet(&preset("resnet18").unwrap()).unwrap();
        let input = Shape::map(1, 32, 32);
        let params = Params::of(&trace(&network, input).unwrap()).unwrap();
        let mut mode = Mode::TRAIN;
        for parameter in &params.parameters {
            if !trained.iter().any(|layer| parameter.name.starts_with(layer)) {
                add_place(&mut mode.frozen.parameters, &parameter.range);
            }
        }
        if norms == Statistics::Running {
            mode.frozen.norms = mode.frozen.parameters.clone();
        }
        let plan = Plan::new(&Executor::cpu(1).unwrap(), &network, &params, input, 8, mode).unwrap();
        [plan.lists.backward.len(), plan.lists.pack.len()]
    }

    #[test]
    fn nothing_is_computed_below_what_is_trained() {
        for norms in [Statistics::Batch, Statistics::Running] {
            let [backward, prepared] = calls(&["fc"], norms);
            assert_eq!(backward, 1, "the gradient of the head's weights alone");
            // Each of the twenty convolutions is packed once; seventeen have a norm to take in, the three of shortcuts have none.
            assert_eq!(prepared, if norms == Statistics::Batch { 20 } else { 20 + 17 });
        }
        let of = |trained: &[&str]| calls(trained, Statistics::Batch)[0];
        assert!(of(&["layer4", "fc"]) < of(&["layer3", "layer4", "fc"]));
        // The gradient goes through what is frozen, packed beforehand: the weight gradients of four convolutions are left out.
        assert_eq!(of(&[""]) - of(&["conv1", "layer2", "layer3", "layer4", "fc"]), 4 + 4);
    }
}
