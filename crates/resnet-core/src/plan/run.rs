//! Walks the lists of a plan, and tells where their ends are.

use super::captured::CapturedGraphs;
use super::instruction::{List, Read, Write};
use super::ops::{Buffers, Context, Instruction};
use super::slots::{PackedFor, Slots};
use super::Plan;
use crate::cancel::Cancel;
use crate::model::shape::Shape;
use crate::weights::Weights;
use resnet_ops::conv2d::{self, ConvShape};
use resnet_ops::{Buffer, Executor, Result};
use std::cell::{Ref, RefMut};
use std::ops::Range;

/// Looks at what a convolution reads: its shape, where its parameters are, and the values.
pub type Observer<'a> = dyn FnMut(&ConvShape, &Range<usize>, &[f32]) + 'a;

/// What a plan's lists run with, beside its slots.
pub struct Operating<'a> {
    /// The backend that the plan was lowered for.
    pub executor: &'a Executor,
    /// Parameters, running statistics and gradients.
    pub weights: &'a mut Weights,
    /// Images in the batch.
    pub n: usize,
    /// What this step's dropout masks are drawn from.
    pub dropout_seed: u64,
    /// What ends a list early.
    pub cancel: &'a Cancel,
}

impl Plan {
    /// Runs what is worked out from the weights alone, unless that has been done for these weights, and kernels that suit a batch of
    /// this size.
    ///
    /// # Errors
    /// If the device fails.
    pub fn pack(&self, slots: &mut Slots, with: &mut Operating) -> Result<()> {
        let (version, n) = (with.weights.version, with.n);
        let alike = |m: usize| self.convolutions.iter().all(|kernels| kernels.packs_alike(m, n));
        let done =
            |prepared: &PackedFor| prepared.mode == self.mode && prepared.version == version && alike(prepared.n);
        if self.lists.pack.is_empty() || slots.packed.as_ref().is_some_and(done) {
            return Ok(());
        }
        slots.packed = None;
        self.run(List::Pack, slots, with)?;
        if !with.cancel.is_raised() {
            slots.packed = Some(PackedFor { mode: self.mode.clone(), version, n });
        }
        Ok(())
    }

    /// Has what this plan has packed stand for another version of the weights.
    pub fn keep_packed(&self, slots: &mut Slots, version: u64) {
        if let Some(packed) = slots.packed.as_mut().filter(|packed| packed.mode == self.mode) {
            packed.version = version;
        }
    }

    /// Runs a list, on a GPU as one captured graph where it can. If the call is cancelled meanwhile, a part of the list may not have
    /// run; but the statistics take in all of a batch or nothing.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&self, list: List, slots: &mut Slots, with: &mut Operating) -> Result<()> {
        if self.is_random || self.instructions(list).is_empty() {
            return self.walk(self.instructions(list), list, slots, with);
        }
        let (executor, n) = (with.executor, with.n);
        let mut captured = std::mem::take(&mut slots.captured);
        let result =
            captured.run((&self.mode, list), executor, n, || self.walk(self.instructions(list), list, slots, with));
        // A graph that was captured meanwhile may be but a part of its list.
        slots.captured = if with.cancel.is_raised() { CapturedGraphs::default() } else { captured };
        result
    }

    /// Runs the forward list; before each convolution `observer` gets its shape, the place of its parameters and what it reads.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run_observed(&self, slots: &Slots, with: &mut Operating, observer: &mut Observer) -> Result<()> {
        let buffers = self.buffers(slots);
        for instruction in &self.lists.forward {
            if let Instruction::Conv2d(convolution, call) = instruction {
                let shape = convolution.kernels.shape();
                if let Some(read) = call.reads() {
                    let values = buffers.read(read);
                    let len = conv2d::input_len(with.executor, shape, with.n);
                    observer(shape, &convolution.params, &values.read::<f32>(0..len)?);
                }
            }
            self.walk(std::slice::from_ref(instruction), List::Forward, slots, with)?;
        }
        Ok(())
    }

    fn walk(&self, instructions: &[Instruction], list: List, slots: &Slots, with: &mut Operating) -> Result<()> {
        let Operating { executor, weights, n, dropout_seed, cancel } = with;
        let buffers = self.buffers(slots);
        let mut context = Context { executor, buffers, weights, n: *n, first: 0, dropout_seed: *dropout_seed };
        let goes_on = || list == List::Statistics || !cancel.is_raised();
        instructions.iter().take_while(|_| goes_on()).try_for_each(|instruction| instruction.run(&mut context))
    }

    pub(super) fn instructions(&self, list: List) -> &[Instruction] {
        let lists = &self.lists;
        match list {
            List::Pack => &lists.pack,
            List::Forward => &lists.forward,
            List::Backward => &lists.backward,
            List::Statistics => &lists.statistics,
        }
    }

    /// Where the images (N, C, H, W) go, in the type of parameters.
    pub fn images<'a>(&'a self, slots: &'a Slots) -> RefMut<'a, Buffer> {
        self.buffers(slots).write(Write(self.lists.ends.images))
    }

    /// The output, in the backend's layout.
    pub fn logits<'a>(&'a self, slots: &'a Slots) -> Ref<'a, Buffer> {
        self.buffers(slots).read(Read(self.lists.ends.logits))
    }

    /// Where the gradient of the output goes, if the plan has gradients.
    pub fn logits_gradient<'a>(&'a self, slots: &'a Slots) -> Option<RefMut<'a, Buffer>> {
        self.lists.ends.logits_gradient.map(|gradient| self.buffers(slots).write(Write(gradient)))
    }

    /// The values that the plan's mode retains, in its order, with their shapes.
    pub fn retained<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = (Ref<'a, Buffer>, Shape)> + 'a {
        self.lists.ends.retained.iter().map(|&(value, shape)| (self.buffers(slots).read(Read(value)), shape))
    }

    /// The gradient of the value that the plan's mode names; none if the output does not depend on it.
    pub fn value_gradient<'a>(&'a self, slots: &'a Slots) -> Option<(Ref<'a, Buffer>, Shape)> {
        let (gradient, shape) = self.lists.ends.value_gradient?;
        Some((self.buffers(slots).read(Read(gradient)), shape))
    }

    pub(super) fn buffers<'a>(&'a self, slots: &'a Slots) -> Buffers<'a> {
        Buffers { slots, assigned: &self.lists.assigned }
    }
}
