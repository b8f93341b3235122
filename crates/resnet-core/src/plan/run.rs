//! Walks the lists of a plan.

use super::instruction::{Action, Instruction};
use super::lower::Op;
use super::repeat::List;
use super::slots::{Slot, Slots};
use super::Plan;
use crate::data::Input;
use crate::weights::Weights;
use resnet_ops::{
    add, avg_pool2d, batch_norm, concat,
    conv2d::{self, FusedNorm},
    cross_entropy, dropout, global_avg_pool, layout, linear, max_pool2d,
    norm_pool::{self, NormPool},
    relu, Buffer, Executor, Gradient, Result, View,
};

/// Most storage that one instruction writes.
const MOST_WRITES: usize = 3;

/// A plan with all that it works on.
pub struct Run<'a> {
    /// The lists.
    pub plan: &'a Plan,
    /// The backend that the plan was lowered for.
    pub executor: &'a Executor,
    /// Storage, with room for the plan.
    pub slots: &'a mut Slots,
    /// Parameters, running statistics and gradients.
    pub weights: &'a mut Weights,
    /// What this step's dropout is drawn from.
    pub noise: u64,
}

impl Run<'_> {
    /// Runs the forward list, and before it what the weights have changed, on `n` images.
    pub fn forward(&mut self, images: Input, n: usize) -> Result<()> {
        if !self.plan.is_prepared(self.weights.version, n) {
            self.plan.prepared.set(None);
            self.run(List::Prepare, n)?;
            self.plan.prepared.set(Some((self.weights.version, n)));
        }
        images.write(self.executor, self.slots.get_mut(self.plan.lists.images))?;
        self.run(List::Forward, n)
    }

    /// Loss and hits of the logits that the forward list left. In a training plan it writes the logits' gradient too.
    pub fn loss(&mut self, labels: &[u32]) -> Result<cross_entropy::Outcome> {
        let (lists, classes) = (&self.plan.lists, self.plan.output().channels());
        let mut gradient = lists.logits_gradient.map(|slot| std::mem::take(self.slots.get_mut(slot)));
        let outcome =
            cross_entropy::evaluate(self.executor, classes, self.slots.get(lists.logits), labels, gradient.as_mut());
        if let (Some(slot), Some(gradient)) = (lists.logits_gradient, gradient) {
            *self.slots.get_mut(slot) = gradient;
        }
        outcome
    }

    /// Runs the backward list: the gradients of all parameters, from that of the logits.
    pub fn backward(&mut self, n: usize) -> Result<()> {
        self.run(List::Backward, n)
    }

    /// Runs the update list: running statistics take in the batch's.
    pub fn update(&mut self, n: usize) -> Result<()> {
        self.run(List::Update, n)
    }

    /// The output that the forward list left, row-major.
    pub fn output(&self, n: usize) -> Result<Vec<f64>> {
        let shape = self.plan.output();
        let [h, w] = shape.size();
        let shape = [n, shape.channels(), h, w];
        let mut target = self.executor.zeros(self.executor.exact_dtype(), shape.iter().product())?;
        layout::to_nchw(self.executor, shape, self.slots.get(self.plan.lists.logits), &mut target)?;
        target.read(0..target.len())
    }

    fn run(&mut self, list: List, n: usize) -> Result<()> {
        let plan = self.plan;
        if plan.is_random() {
            return self.walk(list, n);
        }
        let (executor, mut recordings) = (self.executor, std::mem::take(&mut self.slots.recordings));
        let result = recordings.run((plan.mode, list), executor, n, || self.walk(list, n));
        self.slots.recordings = recordings;
        result
    }

    fn walk(&mut self, list: List, n: usize) -> Result<()> {
        let lists = &self.plan.lists;
        let instructions = match list {
            List::Prepare => &lists.prepare,
            List::Forward => &lists.forward,
            List::Backward => &lists.backward,
            List::Update => &lists.update,
        };
        for instruction in instructions {
            let mut written: [Buffer; MOST_WRITES] = Default::default();
            for (place, &slot) in written.iter_mut().zip(&instruction.writes) {
                *place = std::mem::take(self.slots.get_mut(slot));
            }
            let (plan, executor, noise) = (self.plan, self.executor, self.noise);
            let step = Step { plan, instruction, executor, slots: self.slots, n, noise };
            let result = step.run(self.weights, &mut written);
            for (place, &slot) in written.into_iter().zip(&instruction.writes) {
                *self.slots.get_mut(slot) = place;
            }
            result?;
        }
        Ok(())
    }
}

/// One instruction of a walk; what it writes has been taken out of the slots.
struct Step<'a> {
    plan: &'a Plan,
    instruction: &'a Instruction<Slot>,
    executor: &'a Executor,
    slots: &'a Slots,
    n: usize,
    noise: u64,
}

impl Step<'_> {
    fn run(&self, weights: &mut Weights, [first, second, third]: &mut [Buffer; MOST_WRITES]) -> Result<()> {
        let Self { plan, instruction, executor, n, .. } = *self;
        let node = &plan.graph.nodes[instruction.node];
        let read = |index: usize| self.slots.get(instruction.reads[index]);
        let shortcut = |index: usize| instruction.reads.get(index).map(|&slot| self.slots.get(slot));
        let params = || -> View { weights.learnt.view(node.places.params.clone()) };
        let places = node.places.params.clone();
        match (&node.op, instruction.action) {
            (_, Action::AddGradient { accumulate }) => {
                add::add_gradient(executor, self.len(node.output), read(0), Gradient { buffer: first, accumulate })?;
            }
            (Op::Import, _) => {
                let shape = plan.graph.shapes[node.output];
                let [h, w] = shape.size();
                layout::from_nchw(executor, [n, shape.channels(), h, w], read(0), first)?;
            }
            (Op::Conv2d(convolution), Action::Fold) => {
                let (norm, places) = convolution.folded.as_ref().expect("a list folds what was joined");
                let statistics = weights.running.view(places.running.clone());
                let norm_params = weights.learnt.view(places.params.clone());
                let folded = first.view_mut(0..convolution.kernels.shape().params_len());
                batch_norm::fold(executor, norm, params(), norm_params, statistics, folded)?;
            }
            (Op::Conv2d(convolution), Action::Pack(pass)) => {
                let kernels = &convolution.kernels;
                let folded = convolution.folded.as_ref().map(|_| read(0).view(0..kernels.shape().params_len()));
                conv2d::pack(executor, kernels, n, pass, folded.unwrap_or_else(params), first)?;
            }
            (Op::Conv2d(convolution), Action::ConvForward) => {
                let moments = convolution.normed.then_some(third);
                let (x, packed, scratch, y) = (read(0), read(1), second, first);
                let (params, shortcut, relu) = (params(), shortcut(2), convolution.relu);
                let call = conv2d::Forward { n, x, params, packed, scratch, y, shortcut, relu, moments };
                conv2d::forward(executor, &convolution.kernels, call)?;
            }
            (Op::Conv2d(convolution), Action::ConvInputGradient { accumulate, norm }) => {
                let (kernels, dy, packed) = (&convolution.kernels, read(0), read(1));
                let norm = norm.map(|index| {
                    let node = &plan.graph.nodes[index];
                    let Op::BatchNorm(op) = &node.op else {
                        unreachable!("what a gradient is summed for is a batch norm")
                    };
                    let params = weights.learnt.view(node.places.params.clone());
                    let y = instruction.reads.get(4).map(|&slot| self.slots.get(slot));
                    FusedNorm { op, x: read(2), params, saved: read(3), y, sums: third }
                });
                let (params, scratch, dx) = (params(), second, Gradient { buffer: first, accumulate });
                let call = conv2d::InputGradient { n, dy, params, packed, scratch, dx, norm };
                conv2d::input_gradient(executor, kernels, call)?;
            }
            (Op::Conv2d(convolution), Action::ConvWeightGradient) => {
                let (grads, skip_bias) = (weights.gradients.view_mut(places), convolution.normed);
                let (x, dy, scratch) = (read(0), read(1), first);
                let call = conv2d::WeightGradient { n, x, dy, scratch, grads, skip_bias };
                conv2d::weight_gradient(executor, &convolution.kernels, call)?;
            }
            (Op::BatchNorm(op) | Op::NormPool(NormPool { norm: op, .. }), Action::Moments) => {
                batch_norm::moments(executor, op, n, read(0), first)?;
            }
            (Op::BatchNorm(op), Action::NormTrain) => {
                let (x, moments, saved, y) = (read(0), read(1), second, first);
                let (params, shortcut) = (params(), shortcut(2));
                let call = batch_norm::ForwardTrain { n, x, shortcut, params, moments, saved, y };
                batch_norm::forward_train(executor, op, call)?;
            }
            (Op::BatchNorm(op), Action::NormEval) => {
                let running = weights.running.view(node.places.running.clone());
                let (x, shortcut, params, y) = (read(0), shortcut(1), params(), first);
                batch_norm::forward_eval(executor, op, batch_norm::ForwardEval { n, x, shortcut, params, running, y })?;
            }
            (Op::BatchNorm(op) | Op::NormPool(NormPool { norm: op, .. }), Action::NormUpdate) => {
                let running = weights.running.view_mut(node.places.running.clone());
                let left_out = node.left_out.clone().map(|range| weights.learnt.view(range));
                batch_norm::update_running(executor, op, n, read(0), left_out, running)?;
            }
            (Op::BatchNorm(op), action @ (Action::NormFinishBackward | Action::NormAddFinishBackward)) => {
                let dx = (action == Action::NormAddFinishBackward).then_some(third);
                let params = weights.learnt.view(places.clone());
                let grads = weights.gradients.view_mut(places);
                let (x, y, saved, sums, dy) = (read(0), None, read(1), second, first);
                let statistics = batch_norm::Statistics::Batch;
                let call = batch_norm::Backward { n, x, y, params, saved, sums, dy, dx, grads, statistics };
                batch_norm::finish_backward(executor, op, call)?;
            }
            (Op::BatchNorm(op), action) => {
                let (y, dx) = (action == Action::NormAddBackward).then(|| (read(2), third)).unzip();
                let params = weights.learnt.view(places.clone());
                let grads = weights.gradients.view_mut(places);
                let (x, saved, sums, dy) = (read(0), read(1), second, first);
                let statistics = batch_norm::Statistics::Batch;
                let call = batch_norm::Backward { n, x, y, params, saved, sums, dy, dx, grads, statistics };
                batch_norm::backward(executor, op, call)?;
            }
            (Op::NormPool(op), Action::NormPool) => {
                let (x, moments, saved, y, argmax) = (read(0), read(1), second, first, third);
                let call = norm_pool::ForwardTrain { n, x, params: params(), moments, saved, y, argmax };
                norm_pool::forward_train(executor, op, call)?;
            }
            (Op::NormPool(op), _) => {
                let params = weights.learnt.view(places.clone());
                let grads = weights.gradients.view_mut(places);
                let [x, saved, argmax, dy] = [0, 1, 2, 3].map(read);
                let (sums, dx) = (second, first);
                let call = norm_pool::Backward { n, x, params, saved, argmax, sums, dy, dx, grads };
                norm_pool::backward(executor, op, call)?;
            }
            (Op::Relu, Action::Relu) => relu::forward(executor, self.len(node.output), read(0), first)?,
            (Op::Add { relu }, Action::Add) => {
                add::forward(executor, self.len(node.output), read(0), read(1), first, *relu)?;
            }
            (Op::Concat(op), Action::ConcatBackward { branch, accumulate }) => {
                concat::backward(executor, op, n, branch, read(0), Gradient { buffer: first, accumulate })?;
            }
            (Op::Concat(op), _) => {
                let inputs: Vec<&Buffer> = instruction.reads.iter().map(|&slot| self.slots.get(slot)).collect();
                concat::forward(executor, op, n, &inputs, first)?;
            }
            (Op::Dropout(op), Action::Dropout) => dropout::forward(executor, op, n, self.key(), read(0), first)?,
            (Op::Dropout(op), _) => dropout::backward(executor, op, n, self.key(), first)?,
            (Op::Conv2d(_) | Op::Relu | Op::Add { .. }, _) => {
                relu::backward(executor, self.len(node.output), read(0), first)?
            }
            (Op::MaxPool2d(op), Action::MaxPoolBackward { accumulate }) => {
                max_pool2d::backward(executor, op, n, read(0), read(1), Gradient { buffer: first, accumulate })?;
            }
            (Op::MaxPool2d(op), _) => max_pool2d::forward(executor, op, n, read(0), first, second)?,
            (Op::AvgPool2d(op), Action::AvgPoolBackward { accumulate }) => {
                avg_pool2d::backward(executor, op, n, read(0), Gradient { buffer: first, accumulate })?;
            }
            (Op::AvgPool2d(op), _) => avg_pool2d::forward(executor, op, n, read(0), first)?,
            (Op::GlobalAvgPool(op), Action::AvgPoolBackward { accumulate }) => {
                global_avg_pool::backward(executor, op, n, read(0), Gradient { buffer: first, accumulate })?;
            }
            (Op::GlobalAvgPool(op), _) => global_avg_pool::forward(executor, op, n, read(0), first)?,
            (Op::Linear(op), Action::Linear) => linear::forward(executor, op, n, read(0), params(), first)?,
            (Op::Linear(op), Action::LinearInputGradient { accumulate }) => {
                linear::input_gradient(executor, op, n, read(0), params(), Gradient { buffer: first, accumulate })?;
            }
            (Op::Linear(op), _) => {
                linear::weight_gradient(executor, op, n, read(0), read(1), weights.gradients.view_mut(places))?;
            }
        }
        Ok(())
    }

    /// What a dropout layer draws its mask from in this step.
    fn key(&self) -> u64 {
        // Output values number the layers, alike in every backend.
        self.noise.wrapping_add(self.plan.graph.nodes[self.instruction.node].output as u64)
    }

    /// Elements of a value in the batch at hand.
    fn len(&self, value: usize) -> usize {
        let shape = self.plan.graph.shapes[value];
        let [h, w] = shape.size();
        self.executor.activation_len(self.n, shape.channels(), h, w)
    }
}
