//! Flat lists of instructions, written forward in the order of the nodes and backward in reverse, as on a tape. It keeps which storage is
//! whose, over which instructions it is live, and how gradients are accumulated. It knows no ops: they write on it, in instructions of a
//! type that it leaves open.

use super::instruction::{Accumulated, Operands, Read, Request};
use super::mode::{Gradients, Mode};
use super::slots::{assign, Allocation, Class, Slot, CLASSES};
use crate::model::shape::Shape;
use resnet_ops::{conv2d, Executor};
use std::ops::RangeInclusive;

/// The values that a node reads and writes, by number.
pub(super) struct Wires {
    pub inputs: Vec<usize>,
    pub output: usize,
    /// Whether some of its parameters have gradients.
    pub is_trained: bool,
}

/// The lists, written in instructions `I`, with the slots of the storage that they name.
pub(super) struct Lists<I> {
    pub pack: Vec<I>,
    pub forward: Vec<I>,
    pub backward: Vec<I>,
    pub statistics: Vec<I>,
    /// The slot of each request.
    pub assigned: Vec<Slot>,
    /// Lengths of the slots of each class, longest first.
    pub lengths: [Vec<usize>; CLASSES],
    pub ends: Ends,
}

/// Storage that is read or written between the lists, or after them.
pub(super) struct Ends {
    pub images: Request,
    pub logits: Request,
    pub logits_gradient: Option<Request>,
    /// The values that the mode retains, in its order, with their shapes.
    pub retained: Vec<(Request, Shape)>,
    /// The gradient of the value that the mode names, with its shape; none if the output does not depend on it.
    pub value_gradient: Option<(Request, Shape)>,
}

/// The values of a network that have a part of their own in a plan.
pub(super) struct NamedValues {
    pub output: usize,
    /// What the mode retains, in its order.
    pub retained: Vec<usize>,
    /// The value whose gradient the mode wants.
    pub differentiated: Option<usize>,
}

/// How a node's backward calls are written, once the gradient of its output is complete.
type WriteBackward<'a, I> = Box<dyn FnOnce(&mut Tape<'a, I>, Request) + 'a>;

/// Makes an instruction that adds a gradient of a shape to another, or writes it over it.
type AddGradient<I> = fn(Shape, Read, Accumulated) -> I;

/// The lists as far as they are written.
pub(super) struct Tape<'a, I> {
    executor: &'a Executor,
    shapes: &'a [Shape],
    capacity: usize,
    mode: &'a Mode,
    add_gradient: AddGradient<I>,
    requests: Vec<RequestedStorage>,
    /// The storage of each value, once written, and of its gradient.
    values: Vec<Option<Request>>,
    gradients: Vec<Option<Request>>,
    /// Which values need a gradient.
    requires_grad: &'a [bool],
    /// The moments of each value that a convolution wrote, and the statistics made of them.
    moments: Vec<Option<[Request; 2]>>,
    to_go_back: Vec<(usize, WriteBackward<'a, I>)>,
    pack: Vec<I>,
    forward: Vec<I>,
    backward: Vec<I>,
    statistics: Vec<I>,
}

/// What a request asks for.
struct RequestedStorage {
    class: Class,
    len: usize,
}

impl<'a, I: Operands> Tape<'a, I> {
    /// Nothing but the images, value 0, has storage.
    pub fn new(
        executor: &'a Executor,
        shapes: &'a [Shape],
        requires_grad: &'a [bool],
        capacity: usize,
        mode: &'a Mode,
        add_gradient: AddGradient<I>,
    ) -> Self {
        let mut tape = Self {
            executor,
            shapes,
            capacity,
            mode,
            add_gradient,
            requests: Vec::new(),
            values: vec![None; shapes.len()],
            gradients: vec![None; shapes.len()],
            requires_grad,
            moments: vec![None; shapes.len()],
            to_go_back: Vec::new(),
            pack: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            statistics: Vec::new(),
        };
        tape.values[0] = Some(tape.request(Class::Parameter, shapes[0].with_batch(capacity).iter().product()));
        tape
    }

    /// Writes the backward calls of all nodes that were written forward, and gives everything a slot. `fuse` may rewrite the lists
    /// before: forward, backward and statistics.
    pub fn finish(mut self, named: &NamedValues, fuse: impl FnOnce([&mut Vec<I>; 3])) -> Lists<I> {
        let (images, logits) = (self.value(0), self.value(named.output));
        let retained = named.retained.iter().map(|&value| (self.value(value), self.shape(value))).collect();
        let logits_gradient = (self.mode.gradients != Gradients::None).then(|| self.request_like(named.output));
        self.gradients[named.output] = logits_gradient;
        for (output, write) in std::mem::take(&mut self.to_go_back).into_iter().rev() {
            if let Some(gradient) = self.gradients[output].take() {
                write(&mut self, gradient);
            }
        }
        let of_value = |value: usize| Some((self.gradients[value]?, self.shape(value)));
        let value_gradient = named.differentiated.and_then(of_value);
        fuse([&mut self.forward, &mut self.backward, &mut self.statistics]);
        self.place(Ends { images, logits, logits_gradient, retained, value_gradient })
    }

    /// Images of the largest batch.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether parameters have gradients.
    pub fn trains(&self) -> bool {
        self.mode.trains()
    }

    /// Whether this backend packs the weights of all convolutions at once.
    pub fn packs_together(&self) -> bool {
        conv2d::packs_together(self.executor)
    }

    /// Whether the backward pass goes through a node: to parameters of its own, or to a value before it.
    pub fn is_differentiated(&self, wires: &Wires) -> bool {
        wires.is_trained || wires.inputs.iter().any(|&input| self.requires_grad[input])
    }

    /// The shape of a value.
    pub fn shape(&self, value: usize) -> Shape {
        self.shapes[value]
    }

    /// Storage of `len` elements.
    pub fn request(&mut self, class: Class, len: usize) -> Request {
        self.requests.push(RequestedStorage { class, len });
        Request(self.requests.len() - 1)
    }

    /// Elements of what was asked for.
    pub fn len_of(&self, request: Request) -> usize {
        self.requests[request.0].len
    }

    /// Storage for a value of this value's shape.
    pub fn request_like(&mut self, value: usize) -> Request {
        let shape = self.shape(value);
        let [h, w] = shape.size();
        self.request(Class::Compute, self.executor.activation_len(self.capacity, shape.channels(), h, w))
    }

    /// The storage of a value that has been written.
    pub fn value(&self, value: usize) -> Request {
        self.values[value].expect("nodes stand in the order in which they run")
    }

    /// Storage for a value that is about to be written.
    pub fn new_value(&mut self, value: usize) -> Request {
        let request = self.request_like(value);
        self.values[value] = Some(request);
        request
    }

    /// Says where the call that writes a value writes its moments, and the statistics made of them.
    pub fn set_moments(&mut self, value: usize, moments: [Request; 2]) {
        self.moments[value] = Some(moments);
    }

    /// Where the moments of a value are, and the statistics made of them, if they have been written.
    pub fn take_moments(&mut self, value: usize) -> Option<[Request; 2]> {
        self.moments[value].take()
    }

    /// Adds to what is worked out from the weights alone.
    pub fn pack<K, C>(&mut self, op: &K, call: C)
    where
        I: for<'b> From<(&'b K, C)>,
    {
        self.pack.push((op, call).into());
    }

    /// Adds to the forward list.
    pub fn forward<K, C>(&mut self, op: &K, call: C)
    where
        I: for<'b> From<(&'b K, C)>,
    {
        self.forward.push((op, call).into());
    }

    /// Adds to the backward list.
    pub fn backward<K, C>(&mut self, op: &K, call: C)
    where
        I: for<'b> From<(&'b K, C)>,
    {
        self.backward.push((op, call).into());
    }

    /// Adds to the list of running statistics.
    pub fn statistics<K, C>(&mut self, op: &K, call: C)
    where
        I: for<'b> From<(&'b K, C)>,
    {
        self.statistics.push((op, call).into());
    }

    /// Says how a node's backward calls are written; nothing becomes of it if the backward pass does not go through the node.
    pub fn on_backward(&mut self, wires: &Wires, write: impl FnOnce(&mut Self, Request) + 'a) {
        if self.is_differentiated(wires) {
            self.to_go_back.push((wires.output, Box::new(write)));
        }
    }

    /// Has a call written that computes the gradient of a value, if it is wanted: over it the first time, adding to it later.
    pub fn accumulate(&mut self, value: usize, write: impl FnOnce(&mut Self, Accumulated)) {
        if !self.requires_grad[value] {
            return;
        }
        let before = self.gradients[value];
        let target = before.unwrap_or_else(|| self.request_like(value));
        self.gradients[value] = Some(target);
        write(self, Accumulated { target, accumulate: before.is_some() });
    }

    /// Makes `gradient`, which was computed in place, that of `value` too. The first value takes the storage itself; another
    /// one that shares it, or one that has a gradient already, needs a pass of its own.
    pub fn propagate(&mut self, gradient: Request, value: usize) {
        if !self.requires_grad[value] {
            return;
        }
        let shared = self.gradients.contains(&Some(gradient));
        match self.gradients[value] {
            None if !shared => self.gradients[value] = Some(gradient),
            None => {
                let copy = self.request_like(value);
                self.add_gradient(value, gradient, copy, false);
                self.gradients[value] = Some(copy);
            }
            Some(sum) if sum == gradient => {
                let copy = self.request_like(value);
                self.add_gradient(value, gradient, copy, false);
                self.add_gradient(value, copy, sum, true);
            }
            Some(sum) => self.add_gradient(value, gradient, sum, true),
        }
    }

    fn add_gradient(&mut self, value: usize, source: Request, target: Request, accumulate: bool) {
        let target = Accumulated { target, accumulate };
        self.backward.push((self.add_gradient)(self.shape(value), Read(source), target));
    }

    /// Gives everything a slot.
    fn place(self, ends: Ends) -> Lists<I> {
        let live = self.live_ranges(&ends);
        let allocation = |(RequestedStorage { class, len }, live): (&RequestedStorage, _)| Allocation {
            class: *class,
            len: *len,
            live,
        };
        let (assigned, lengths) = assign(&self.requests.iter().zip(live).map(allocation).collect::<Vec<_>>());
        let Self { pack, forward, backward, statistics, .. } = self;
        Lists { pack, forward, backward, statistics, assigned, lengths, ends }
    }

    /// From which call to which each request is live, counting through the lists in the order in which they run; the moments
    /// between lists in which the host writes images, or reads logits and writes their gradient, count as calls.
    fn live_ranges(&self, ends: &Ends) -> Vec<RangeInclusive<usize>> {
        let mut live = vec![None; self.requests.len()];
        let mut time = 0;
        let mut name = |time: usize, request: Request| {
            let range: &mut Option<(usize, usize)> = &mut live[request.0];
            *range = Some((range.map_or(time, |(first, _)| first), time));
        };
        for instruction in &self.pack {
            instruction.each(&mut |request| name(time, request));
            time += 1;
        }
        name(time, ends.images);
        time += 1;
        for instruction in &self.forward {
            instruction.each(&mut |request| name(time, request));
            time += 1;
        }
        // Logits are read, and their gradient is written.
        name(time, ends.logits);
        ends.logits_gradient.iter().for_each(|&gradient| name(time, gradient));
        time += 1;
        for instruction in self.backward.iter().chain(&self.statistics) {
            instruction.each(&mut |request| name(time, request));
            time += 1;
        }
        ends.retained.iter().chain(&ends.value_gradient).for_each(|&(request, _)| name(time, request));
        let range = |(range, storage): (Option<(usize, usize)>, &RequestedStorage)| match storage.class {
            // What was packed beforehand stays for the next run.
            Class::Packed => 0..=time,
            Class::Compute | Class::Sum | Class::Index | Class::Parameter => {
                let (first, last) = range.unwrap_or((0, 0));
                first..=last
            }
        };
        live.into_iter().zip(&self.requests).map(range).collect()
    }
}
