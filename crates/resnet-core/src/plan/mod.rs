//! How a network runs: lowered to nodes of a backend, scheduled as flat lists of instructions over preallocated slots.
//!
//! [`lower`] turns the walk over the tree into nodes, [`fuse`] joins what a backend does in one pass, [`schedule`] writes
//! the forward, backward and update lists and gives every value a slot by its lifetime, [`run`] walks the lists, or
//! has a GPU [`repeat`] them as one.

mod fuse;
mod instruction;
mod lower;
mod repeat;
mod run;
mod schedule;
mod slots;

#[cfg(test)]
pub use repeat::List;
pub use run::Run;
pub use slots::Slots;

use crate::error::Result;
use crate::model::params::Params;
use crate::model::shape::{trace, Shape};
use crate::model::Layer;
use instruction::Lists;
use lower::{Graph, Node, Op};
use resnet_ops::Executor;
use std::cell::Cell;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch norms use the batch's statistics; there are gradients.
    Train,
    /// Batch norms use the running statistics.
    Eval,
}

/// A network lowered for a backend, an input size and a largest batch.
pub struct Plan {
    graph: Graph,
    lists: Lists,
    mode: Mode,
    input: Shape,
    capacity: usize,
    /// The weights' version, and the batch, that the list of preparations was run for.
    prepared: Cell<Option<(u64, usize)>>,
}

impl Plan {
    /// Lowers and schedules a network for batches of up to `capacity` images.
    pub fn new(
        executor: &Executor,
        root: &Layer,
        params: &Params,
        input: Shape,
        capacity: usize,
        mode: Mode,
    ) -> Result<Self> {
        let trace = trace(root, input)?;
        let mut graph = lower::lower(executor, &trace, params, mode)?;
        if !executor.is_reference() {
            fuse::fuse(&mut graph, executor, mode)?;
        }
        let lists = schedule::schedule(executor, &graph, capacity, mode);
        Ok(Self { graph, lists, mode, input, capacity, prepared: Cell::new(None) })
    }

    /// Whether it runs batches of `n` images of this shape.
    pub fn fits(&self, input: Shape, n: usize) -> bool {
        self.input == input && n <= self.capacity
    }

    /// Makes room for it.
    pub fn reserve(&self, executor: &Executor, slots: &mut Slots) -> Result<()> {
        slots.reserve(executor, &self.lists.lengths)
    }

    /// Whether what is packed is that of these weights, in the order for a batch of `n` images.
    fn is_prepared(&self, version: u64, n: usize) -> bool {
        let alike = |m: usize| {
            self.graph.nodes.iter().all(|node| match &node.op {
                Op::Conv2d(convolution) => convolution.kernels.packs_alike(m, n),
                _ => true,
            })
        };
        self.prepared.get().is_some_and(|(prepared, m)| prepared == version && alike(m))
    }

    /// Whether each run draws other numbers, so that none can be done as the one before.
    fn is_random(&self) -> bool {
        self.graph.nodes.iter().any(|node| matches!(node.op, Op::Dropout(_)))
    }

    /// Shape of the network's output.
    pub fn output(&self) -> Shape {
        self.graph.shapes[self.graph.output]
    }

    /// Pixels of the smallest map that a batch norm sees; None without a batch norm.
    pub fn smallest_norm(&self) -> Option<usize> {
        let pixels = |node: &Node| match &node.op {
            Op::BatchNorm(op) => Some(op.size[0] * op.size[1]),
            Op::NormPool(op) => Some(op.norm.size[0] * op.norm.size[1]),
            _ => None,
        };
        self.graph.nodes.iter().filter_map(pixels).min()
    }
}
