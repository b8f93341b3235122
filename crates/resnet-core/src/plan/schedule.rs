//! Writes a graph as flat lists of instructions, and gives every value a slot.

use super::instruction::{Action, Instruction, Lists};
use super::lower::{Convolution, Graph, Op};
use super::slots::{assign, Class, Need, Slot};
use super::Mode;
use resnet_ops::batch_norm::{self, BatchNorm};
use resnet_ops::norm_pool::NormPool;
use resnet_ops::Executor;
use resnet_ops::Pass;

/// Writes the lists of a graph for batches of up to `capacity` images.
pub(super) fn schedule(executor: &Executor, graph: &Graph, capacity: usize, mode: Mode) -> Lists {
    Writer::new(executor, graph, capacity).write(mode).place()
}

/// Writes the lists. Storage is named by its place in `needs`.
struct Writer<'a> {
    executor: &'a Executor,
    graph: &'a Graph,
    capacity: usize,
    needs: Vec<Need>,
    /// The storage of each value, once written, and of its gradient.
    values: Vec<Option<usize>>,
    gradients: Vec<Option<usize>>,
    /// Which values depend on parameters, so that their gradient is wanted.
    learns: Vec<bool>,
    /// The moments of each value that a convolution wrote.
    moments: Vec<Option<usize>>,
    /// What each node's forward keeps for its backward: batch statistics, places of maxima.
    saved: Vec<Option<usize>>,
    argmax: Vec<Option<usize>>,
    /// Instructions so far, the pause between forward and backward included.
    time: usize,
    prepare: Vec<Instruction<usize>>,
    forward: Vec<Instruction<usize>>,
    backward: Vec<Instruction<usize>>,
    update: Vec<Instruction<usize>>,
    logits_gradient: Option<usize>,
}

impl<'a> Writer<'a> {
    fn new(executor: &'a Executor, graph: &'a Graph, capacity: usize) -> Self {
        let values = graph.shapes.len();
        let mut learns = vec![false; values];
        for node in &graph.nodes {
            learns[node.output] = !node.places.params.is_empty() || node.inputs.iter().any(|&input| learns[input]);
        }
        Self {
            executor,
            graph,
            capacity,
            needs: Vec::new(),
            values: vec![None; values],
            gradients: vec![None; values],
            learns,
            moments: vec![None; values],
            saved: vec![None; graph.nodes.len()],
            argmax: vec![None; graph.nodes.len()],
            time: 0,
            prepare: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            update: Vec::new(),
            logits_gradient: None,
        }
    }

    fn write(mut self, mode: Mode) -> Self {
        let input = self.graph.shapes[0].with_batch(self.capacity).iter().product();
        self.values[0] = Some(self.need(Class::Exact, input));
        for index in 0..self.graph.nodes.len() {
            self.write_forward(index, mode);
        }
        // The pause in which logits are read and their gradient is written.
        let logits = self.value(self.graph.output);
        self.touch(logits);
        if mode == Mode::Eval {
            return self;
        }
        let gradient = self.need_like(self.graph.output);
        self.logits_gradient = Some(gradient);
        self.gradients[self.graph.output] = Some(gradient);
        self.time += 1;
        for index in (0..self.graph.nodes.len()).rev() {
            self.write_backward(index);
        }
        for index in 0..self.graph.nodes.len() {
            if let Some(saved) = self.saved[index] {
                let instruction = self.instruction(Action::NormUpdate, index, vec![saved], vec![]);
                self.update.push(instruction);
            }
        }
        self
    }

    /// Names the storage by slot.
    fn place(self) -> Lists {
        let (slots, lengths) = assign(&self.needs);
        let place = |list: Vec<Instruction<usize>>| -> Vec<Instruction<Slot>> {
            let slots_of = |needs: Vec<usize>| needs.into_iter().map(|need| slots[need]).collect();
            let placed = list.into_iter().map(|Instruction { action, node, reads, writes }| Instruction {
                action,
                node,
                reads: slots_of(reads),
                writes: slots_of(writes),
            });
            placed.collect()
        };
        Lists {
            images: slots[self.value(0)],
            logits: slots[self.value(self.graph.output)],
            logits_gradient: self.logits_gradient.map(|need| slots[need]),
            prepare: place(self.prepare),
            forward: place(self.forward),
            backward: place(self.backward),
            update: place(self.update),
            lengths,
        }
    }

    fn write_forward(&mut self, index: usize, mode: Mode) {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let mut reads: Vec<usize> = node.inputs.iter().map(|&input| self.value(input)).collect();
        if let Op::Conv2d(convolution) = &node.op {
            reads.insert(1, self.write_pack(index, convolution, mode));
        }
        if let (Op::BatchNorm(op) | Op::NormPool(NormPool { norm: op, .. }), Mode::Train) = (&node.op, mode) {
            reads.insert(1, self.write_moments(index, op));
        }
        let output = self.need_like(node.output);
        self.values[node.output] = Some(output);
        let mut writes = vec![output];
        let action = match &node.op {
            Op::Import => Action::Import,
            Op::Conv2d(convolution) => {
                let kernels = &convolution.kernels;
                writes.push(self.need(Class::Real, kernels.scratch_len(Pass::Forward, self.capacity)));
                if convolution.normed {
                    let len = batch_norm::sums_len(kernels.shape().out_channels, self.capacity);
                    let moments = self.need(Class::Sum, len);
                    self.moments[node.output] = Some(moments);
                    writes.push(moments);
                }
                Action::ConvForward
            }
            Op::BatchNorm(op) if mode == Mode::Train => {
                writes.push(self.statistics(index, op));
                Action::NormTrain
            }
            Op::BatchNorm(_) => Action::NormEval,
            Op::Relu => Action::Relu,
            Op::Add { .. } => Action::Add,
            Op::Concat(_) => Action::Concat,
            Op::Dropout(_) => Action::Dropout,
            Op::MaxPool2d(_) => {
                writes.push(self.places(index, output));
                Action::MaxPool
            }
            Op::NormPool(op) => {
                writes.push(self.statistics(index, &op.norm));
                writes.push(self.places(index, output));
                Action::NormPool
            }
            Op::AvgPool2d(_) | Op::GlobalAvgPool(_) => Action::AvgPool,
            Op::Linear(_) => Action::Linear,
        };
        self.push_forward(action, index, reads, writes);
    }

    /// Works out the moments of what a batch norm reads, unless a convolution has. Returns their storage.
    fn write_moments(&mut self, index: usize, op: &BatchNorm) -> usize {
        let input = self.graph.nodes[index].inputs[0];
        self.moments[input].take().unwrap_or_else(|| {
            let moments = self.need(Class::Sum, op.sums_len(self.capacity));
            self.push_forward(Action::Moments, index, vec![self.value(input)], vec![moments]);
            moments
        })
    }

    /// Storage of a batch norm's statistics.
    fn statistics(&mut self, index: usize, op: &BatchNorm) -> usize {
        let saved = self.need(Class::Exact, op.saved_len());
        self.saved[index] = Some(saved);
        saved
    }

    /// Storage of the places of a max-pooling's maxima.
    fn places(&mut self, index: usize, output: usize) -> usize {
        let places = self.need(Class::Place, self.needs[output].len);
        self.argmax[index] = Some(places);
        places
    }

    /// Packs a convolution's weights: before each use if they are learnt meanwhile, else beforehand. Returns their storage.
    fn write_pack(&mut self, index: usize, convolution: &Convolution, mode: Mode) -> usize {
        let (kernels, action) = (&convolution.kernels, Action::Pack(Pass::Forward));
        let packed_len = kernels.packed_len(Pass::Forward);
        if mode == Mode::Train {
            let packed = self.need(Class::Real, packed_len);
            self.push_forward(action, index, vec![], vec![packed]);
            return packed;
        }
        let mut params = vec![];
        if convolution.folded.is_some() {
            params.push(self.need(Class::Exact, kernels.shape().params_len()));
            let fold = self.instruction(Action::Fold, index, vec![], params.clone());
            self.prepare.push(fold);
        }
        let packed = self.need(Class::Packed, packed_len);
        // Nothing else may take its place.
        self.needs[packed].first = 0;
        let pack = self.instruction(action, index, params, vec![packed]);
        self.prepare.push(pack);
        packed
    }

    fn write_backward(&mut self, index: usize) {
        let graph = self.graph;
        let node = &graph.nodes[index];
        let Some(dy) = self.gradients[node.output].take() else { return };
        let input = node.inputs[0];
        match &node.op {
            Op::Import => {}
            Op::Conv2d(convolution) => {
                let kernels = &convolution.kernels;
                if convolution.relu {
                    let y = self.value(node.output);
                    self.push_backward(Action::ReluBackward, index, vec![y], vec![dy]);
                }
                let scratch = self.need(Class::Real, kernels.scratch_len(Pass::WeightGradient, self.capacity));
                let x = self.value(input);
                self.push_backward(Action::ConvWeightGradient, index, vec![x, dy], vec![scratch]);
                if self.learns[input] {
                    let packed = self.need(Class::Real, kernels.packed_len(Pass::InputGradient));
                    self.push_backward(Action::Pack(Pass::InputGradient), index, vec![], vec![packed]);
                    let scratch = self.need(Class::Real, kernels.scratch_len(Pass::InputGradient, self.capacity));
                    let action = |accumulate| Action::ConvInputGradient { accumulate, norm: None };
                    self.push_input_gradient(action, index, 0, vec![dy, packed], vec![scratch]);
                }
                if let Some(&shortcut) = node.inputs.get(1) {
                    self.hand_on(index, dy, shortcut);
                }
            }
            Op::BatchNorm(op) => {
                let sums = self.need(Class::Sum, op.sums_len(self.capacity));
                let read = vec![self.value(input), self.saved[index].expect("saved by the forward list")];
                if let Some(&shortcut) = node.inputs.get(1) {
                    let dx = self.need_like(input);
                    let with_output = [&read[..], &[self.value(node.output)]].concat();
                    if self.sum_behind(index, dy, &with_output, sums) {
                        self.push_backward(Action::NormAddFinishBackward, index, read, vec![dy, sums, dx]);
                    } else {
                        self.push_backward(Action::NormAddBackward, index, with_output, vec![dy, sums, dx]);
                    }
                    self.hand_on(index, dx, input);
                    self.hand_on(index, dy, shortcut);
                } else {
                    let summed = self.sum_behind(index, dy, &read, sums);
                    let action = if summed { Action::NormFinishBackward } else { Action::NormBackward };
                    self.push_backward(action, index, read, vec![dy, sums]);
                    self.hand_on(index, dy, input);
                }
            }
            Op::Relu | Op::Add { .. } => {
                if !matches!(node.op, Op::Add { relu: false }) {
                    let y = self.value(node.output);
                    self.push_backward(Action::ReluBackward, index, vec![y], vec![dy]);
                }
                for &input in &node.inputs {
                    self.hand_on(index, dy, input);
                }
            }
            Op::Concat(_) => {
                for branch in 0..node.inputs.len() {
                    let action = |accumulate| Action::ConcatBackward { branch, accumulate };
                    self.push_input_gradient(action, index, branch, vec![dy], vec![]);
                }
            }
            Op::Dropout(_) => {
                self.push_backward(Action::DropoutBackward, index, vec![], vec![dy]);
                self.hand_on(index, dy, input);
            }
            Op::MaxPool2d(_) => {
                let places = self.argmax[index].expect("kept by the forward list");
                let action = |accumulate| Action::MaxPoolBackward { accumulate };
                self.push_input_gradient(action, index, 0, vec![dy, places], vec![]);
            }
            Op::NormPool(op) => {
                let kept = "kept by the forward list";
                let (saved, places) = (self.saved[index].expect(kept), self.argmax[index].expect(kept));
                let (x, dx) = (self.value(input), self.need_like(input));
                let scratch = self.need(Class::Sum, op.norm.sums_len(self.capacity));
                self.push_backward(Action::NormPoolBackward, index, vec![x, saved, places, dy], vec![dx, scratch]);
                self.hand_on(index, dx, input);
            }
            Op::AvgPool2d(_) | Op::GlobalAvgPool(_) => {
                let action = |accumulate| Action::AvgPoolBackward { accumulate };
                self.push_input_gradient(action, index, 0, vec![dy], vec![]);
            }
            Op::Linear(_) => {
                let x = self.value(input);
                self.push_backward(Action::LinearWeightGradient, index, vec![x, dy], vec![]);
                let action = |accumulate| Action::LinearInputGradient { accumulate };
                self.push_input_gradient(action, index, 0, vec![dy], vec![]);
            }
        }
    }

    /// Writes the gradient of one of the node's inputs if it is wanted, over it the first time, adding to it later, and
    /// `scratch`.
    fn push_input_gradient(
        &mut self,
        action: impl Fn(bool) -> Action,
        index: usize,
        input: usize,
        reads: Vec<usize>,
        scratch: Vec<usize>,
    ) {
        let input = self.graph.nodes[index].inputs[input];
        if !self.learns[input] {
            return;
        }
        let before = self.gradients[input];
        let dx = before.unwrap_or_else(|| self.need_like(input));
        self.gradients[input] = Some(dx);
        let writes = [vec![dx], scratch].concat();
        self.push_backward(action(before.is_some()), index, reads, writes);
    }

    /// Has the convolution's input gradient that wrote `dy` last, if one did, begin the backward of the batch norm before it,
    /// while dy is at hand: whether it does.
    fn sum_behind(&mut self, index: usize, dy: usize, reads: &[usize], sums: usize) -> bool {
        let names_dy =
            |instruction: &Instruction<usize>| instruction.reads.contains(&dy) || instruction.writes.contains(&dy);
        let place = self.backward.iter().rposition(names_dy).filter(|_| batch_norm::fuses_backward(self.executor));
        let Some(place) = place else { return false };
        let instruction = &mut self.backward[place];
        let Action::ConvInputGradient { norm, .. } = &mut instruction.action else { return false };
        if instruction.writes[0] != dy {
            return false;
        }
        *norm = Some(index);
        instruction.reads.extend_from_slice(reads);
        instruction.writes.push(sums);
        let time = self.time - (self.backward.len() - place);
        self.needs[sums].first = time;
        for &read in reads {
            self.needs[read].last = self.needs[read].last.max(time);
        }
        true
    }

    /// Makes `gradient`, which was computed in place, that of `value` too. The first value takes the storage itself; another
    /// one that shares it, or one that has a gradient already, needs a pass of its own.
    fn hand_on(&mut self, index: usize, gradient: usize, value: usize) {
        if !self.learns[value] {
            return;
        }
        let taken = self.gradients.contains(&Some(gradient));
        match self.gradients[value] {
            None if !taken => self.gradients[value] = Some(gradient),
            None => {
                let copy = self.need_like(value);
                self.push_backward(Action::AddGradient { accumulate: false }, index, vec![gradient], vec![copy]);
                self.gradients[value] = Some(copy);
            }
            Some(sum) if sum == gradient => {
                let copy = self.need_like(value);
                self.push_backward(Action::AddGradient { accumulate: false }, index, vec![gradient], vec![copy]);
                self.push_backward(Action::AddGradient { accumulate: true }, index, vec![copy], vec![sum]);
            }
            Some(sum) => self.push_backward(Action::AddGradient { accumulate: true }, index, vec![gradient], vec![sum]),
        }
    }

    fn push_forward(&mut self, action: Action, node: usize, reads: Vec<usize>, writes: Vec<usize>) {
        let instruction = self.instruction(action, node, reads, writes);
        self.forward.push(instruction);
    }

    fn push_backward(&mut self, action: Action, node: usize, reads: Vec<usize>, writes: Vec<usize>) {
        let instruction = self.instruction(action, node, reads, writes);
        self.backward.push(instruction);
    }

    fn instruction(
        &mut self,
        action: Action,
        node: usize,
        reads: Vec<usize>,
        writes: Vec<usize>,
    ) -> Instruction<usize> {
        for &need in reads.iter().chain(&writes) {
            self.touch(need);
        }
        self.time += 1;
        Instruction { action, node, reads, writes }
    }

    /// The storage of a value that has been written.
    fn value(&self, value: usize) -> usize {
        self.values[value].expect("nodes stand in the order in which they run")
    }

    /// Storage for a value of this shape.
    fn need_like(&mut self, value: usize) -> usize {
        let shape = self.graph.shapes[value];
        let [h, w] = shape.size();
        self.need(Class::Real, self.executor.activation_len(self.capacity, shape.channels(), h, w))
    }

    fn need(&mut self, class: Class, len: usize) -> usize {
        self.needs.push(Need { class, len, first: self.time, last: self.time });
        self.needs.len() - 1
    }

    fn touch(&mut self, need: usize) {
        self.needs[need].last = self.time;
    }
}
