//! Batch norms, with the sum at the end of a block and the ReLU that follow them.

use super::{Buffers, Context, Joint, Merge, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Operands, Read, Request, Write};
use crate::plan::slots::Class;
use crate::plan::tape::Wires;
use crate::weights::Weights;
use resnet_ops::batch_norm::{self, joint, BatchNorm, Statistics, Total};
use resnet_ops::{Buffer, Result, View, ViewMut};
use std::cell::RefMut;
use std::ops::Range;

/// A batch norm and where its parameters and statistics are.
#[derive(Clone)]
pub(in crate::plan) struct Norm {
    pub op: BatchNorm,
    pub params: Range<usize>,
    pub running: Range<usize>,
    pub statistics: Statistics,
    /// Where the bias is that the convolution before it elides.
    pub elided_bias: Option<Range<usize>>,
}

calls! {
    NormCall {
        Moments { x: Read, moments: Moments },
        /// Saves the batch's statistics, if that is not done, and normalises with them.
        ForwardTrain { x: Read, moments: Read, shortcut: Option<Read>, saved: Write, y: Write },
        /// Normalises with the running statistics.
        ForwardEval { x: Read, shortcut: Option<Read>, y: Write },
        /// Saves the running statistics for the backward pass.
        SaveRunning { saved: Write },
        /// Moves the running statistics towards the batch's.
        UpdateRunning { saved: Read },
        /// The same for several norms.
        UpdateTogether { every: Vec<Updating> },
        /// On return `dy` holds the gradient of x; with a shortcut, where `y` is read too, that of the sum before the ReLU, and `dx` that
        /// of x. If `summed`, a convolution's input gradient has begun it. `grads` is where the parameters' gradients go if nobody wants
        /// them.
        Backward {
            x: Read,
            y: Option<Read>,
            saved: Read,
            sums: Write,
            dy: Write,
            dx: Option<Write>,
            grads: Option<Write>,
            summed: bool,
        },
    }
}

/// Where the moments of a value go, and the statistics that are made of them.
#[derive(Clone, Copy)]
pub(in crate::plan) struct Moments {
    pub sums: Write,
    pub saved: Write,
}

/// A norm whose running statistics are to take in the batch's.
#[derive(Clone)]
pub(in crate::plan) struct Updating {
    pub norm: Norm,
    pub saved: Read,
}

impl Operands for Moments {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        self.sums.each(visit);
        self.saved.each(visit);
    }
}

impl Operands for Updating {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        self.saved.each(visit);
    }
}

impl Moments {
    /// Storage for those that a norm wants.
    pub fn new(op: &BatchNorm, tape: &mut Tape) -> Self {
        let sums = tape.request(Class::Sum, op.sums_len(tape.capacity()));
        Self { sums: Write(sums), saved: Write(tape.request(Class::Parameter, op.saved_len())) }
    }

    pub fn borrow<'a>(&self, buffers: Buffers<'a>) -> [RefMut<'a, Buffer>; 2] {
        [self.sums, self.saved].map(|operand| buffers.write(operand))
    }
}

impl Norm {
    pub fn lower(site: &Site, eps: f64, momentum: f64) -> Self {
        Self {
            op: BatchNorm { channels: site.channels(), size: site.size(), eps, momentum, relu: false },
            params: site.ranges.params.clone(),
            running: site.ranges.running.clone(),
            statistics: site.mode.statistics_of(&site.ranges.params),
            elided_bias: None,
        }
    }

    /// Its parameters and running statistics.
    pub fn views<'a>(&self, weights: &'a Weights) -> (View<'a>, View<'a>) {
        (weights.parameters.view(self.params.clone()), weights.running.view(self.running.clone()))
    }

    /// Works out the moments of what it reads, unless a convolution has; has the running statistics updated from the batch's, if that is
    /// wanted.
    pub fn write_moments(&self, input: usize, tape: &mut Tape) -> Moments {
        let moments = match tape.take_moments(input) {
            Some([sums, saved]) => Moments { sums: Write(sums), saved: Write(saved) },
            None => {
                let (x, moments) = (Read(tape.value(input)), Moments::new(&self.op, tape));
                tape.forward(self, NormCall::Moments { x, moments });
                moments
            }
        };
        if tape.trains() {
            tape.statistics(self, NormCall::UpdateRunning { saved: Read(moments.saved.0) });
        }
        moments
    }

    /// What a call for the shards of a batch needs of all of them, where statistics are the whole batch's: forward moments, backward sums.
    pub fn joint_moments(&self) -> Joint {
        let pixels = self.op.size[0] * self.op.size[1];
        Joint { merge: Merge::Moments { pixels }, ..self.joint_sums() }
    }

    /// The same of sums.
    pub fn joint_sums(&self) -> Joint {
        Joint { len: self.op.part_len(), merge: Merge::Sum }
    }

    /// Storage for its parameters' gradients where nobody wants them: those of its input are made from them.
    pub fn unwanted_gradients(&self, wires: &Wires, tape: &mut Tape) -> Option<Write> {
        (!wires.is_trained).then(|| Write(tape.request(Class::Parameter, self.params.len())))
    }

    /// Where its parameters' gradients go.
    pub fn gradients<'a>(&self, unwanted: Option<&'a mut Buffer>, gradients: &'a mut Buffer) -> ViewMut<'a> {
        match unwanted {
            Some(unwanted) => unwanted.view_mut(0..self.params.len()),
            None => gradients.view_mut(self.params.clone()),
        }
    }

    /// Writes the forward calls that the statistics want; returns where they are saved for the backward ones.
    fn write_forward(&self, wires: &Wires, tape: &mut Tape) -> Option<Request> {
        let input = wires.inputs[0];
        let x = Read(tape.value(input));
        let shortcut = wires.inputs.get(1).map(|&shortcut| Read(tape.value(shortcut)));
        match self.statistics {
            Statistics::Batch => {
                let Moments { sums, saved } = self.write_moments(input, tape);
                let (moments, y) = (Read(sums.0), Write(tape.new_value(wires.output)));
                tape.forward(self, NormCall::ForwardTrain { x, moments, shortcut, saved, y });
                Some(saved.0)
            }
            Statistics::Running => {
                let saved = tape.is_differentiated(wires).then(|| {
                    let saved = tape.request(Class::Parameter, self.op.saved_len());
                    tape.forward(self, NormCall::SaveRunning { saved: Write(saved) });
                    saved
                });
                let y = Write(tape.new_value(wires.output));
                tape.forward(self, NormCall::ForwardEval { x, shortcut, y });
                saved
            }
        }
    }
}

impl PlanOp for Norm {
    type Call = NormCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let saved = self.write_forward(wires, tape);
        tape.on_backward(wires, move |tape, gradient| {
            let saved = Read(saved.expect("the forward calls saved the statistics"));
            let (input, shortcut) = (wires.inputs[0], wires.inputs.get(1).copied());
            let x = Read(tape.value(input));
            let sums = Write(tape.request(Class::Sum, self.op.sums_len(tape.capacity())));
            let y = shortcut.map(|_| Read(tape.value(wires.output)));
            let dx = shortcut.map(|_| tape.request_like(input));
            let grads = self.unwanted_gradients(wires, tape);
            let (dy, written) = (Write(gradient), dx.map(Write));
            tape.backward(self, NormCall::Backward { x, y, saved, sums, dy, dx: written, grads, summed: false });
            tape.propagate(dx.unwrap_or(gradient), input);
            if let Some(shortcut) = shortcut {
                tape.propagate(gradient, shortcut);
            }
        });
    }

    fn run(&self, call: &NormCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n, op) = (context.executor, context.buffers, context.n, &self.op);
        let weights = &mut *context.weights;
        match *call {
            NormCall::Moments { x, moments } => {
                let [mut sums, mut saved] = moments.borrow(buffers);
                let moments = batch_norm::Moments { op, sums: &mut sums, saved: &mut saved };
                batch_norm::moments(executor, n, &buffers.read(x), moments)
            }
            NormCall::ForwardTrain { .. } => {
                self.with_forward(call, context, |call| batch_norm::forward_train(executor, op, call))
            }
            NormCall::ForwardEval { x, shortcut, y } => {
                let shortcut = shortcut.map(|shortcut| buffers.read(shortcut));
                let (params, running) = self.views(weights);
                let (x, y) = (&buffers.read(x), &mut buffers.write(y));
                let call = batch_norm::ForwardEval { n, x, shortcut: shortcut.as_deref(), params, running, y };
                batch_norm::forward_eval(executor, op, call)
            }
            NormCall::SaveRunning { saved } => {
                batch_norm::save_running(executor, op, self.views(weights).1, &mut buffers.write(saved))
            }
            NormCall::UpdateRunning { saved } => {
                let Weights { parameters, running, non_finite, .. } = weights;
                let elided_bias = self.elided_bias.clone().map(|bias| parameters.view(bias));
                let running = running.view_mut(self.running.clone());
                let saved = &buffers.read(saved);
                let call = batch_norm::UpdateRunning { n, saved, elided_bias, running, non_finite };
                batch_norm::update_running(executor, op, call)
            }
            NormCall::UpdateTogether { ref every } => {
                let Weights { parameters, running, non_finite, .. } = weights;
                let saved: Vec<_> = every.iter().map(|updating| buffers.read(updating.saved)).collect();
                let updatings = every.iter().zip(&saved).map(|(Updating { norm, .. }, saved)| {
                    let elided_bias = norm.elided_bias.clone().map(|bias| parameters.view(bias));
                    batch_norm::Updating { op: &norm.op, saved, elided_bias, running: norm.running.clone() }
                });
                batch_norm::update_together(executor, n, &updatings.collect::<Vec<_>>(), running, non_finite)
            }
            NormCall::Backward { summed, .. } => self.with_backward(call, context, |call| match summed {
                true => batch_norm::finish_backward(executor, op, call),
                false => batch_norm::backward(executor, op, call),
            }),
        }
    }

    fn joint(&self, call: &NormCall, synced: bool) -> Option<Joint> {
        match call {
            NormCall::ForwardTrain { .. } => synced.then(|| self.joint_moments()),
            NormCall::Backward { .. } => (synced && self.statistics == Statistics::Batch).then(|| self.joint_sums()),
            // Each shard has its own: their mean counts.
            NormCall::UpdateRunning { .. } => (!synced).then(|| self.joint_sums()),
            NormCall::UpdateTogether { every } => {
                let len = every.iter().map(|updating| updating.norm.op.part_len()).sum();
                (!synced).then_some(Joint { len, merge: Merge::Sum })
            }
            NormCall::Moments { .. } | NormCall::ForwardEval { .. } | NormCall::SaveRunning { .. } => None,
        }
    }

    fn run_part(&self, call: &NormCall, context: &mut Context, part: &mut [f64]) -> Result<()> {
        let (executor, buffers, n, op) = (context.executor, context.buffers, context.n, &self.op);
        match *call {
            NormCall::ForwardTrain { x, moments, saved, .. } => {
                let (x, moments, saved) = (buffers.read(x), buffers.read(moments), buffers.read(Read(saved.0)));
                joint::moments_part(executor, op, n, &x, &moments, &saved, part)
            }
            NormCall::Backward { summed, .. } => {
                self.with_backward(call, context, |mut call| joint::sums_part(executor, op, &mut call, summed, part))
            }
            NormCall::UpdateRunning { saved } => joint::saved_part(executor, op, n, &buffers.read(saved), part),
            NormCall::UpdateTogether { ref every } => {
                let mut left = part;
                for Updating { norm: Self { op, .. }, saved } in every {
                    let (part, rest) = left.split_at_mut(op.part_len());
                    joint::saved_part(executor, op, n, &buffers.read(*saved), part)?;
                    left = rest;
                }
                Ok(())
            }
            NormCall::Moments { .. } | NormCall::ForwardEval { .. } | NormCall::SaveRunning { .. } => {
                self.run(call, context)
            }
        }
    }

    fn finish(&self, call: &NormCall, context: &mut Context, total: Total) -> Result<()> {
        let (executor, buffers, op) = (context.executor, context.buffers, &self.op);
        let has_images = context.n > 0;
        match *call {
            NormCall::ForwardTrain { saved, .. } => {
                joint::save(executor, op, total, &mut buffers.write(saved))?;
                match has_images {
                    true => self.with_forward(call, context, |call| joint::normalise(executor, op, call)),
                    false => Ok(()),
                }
            }
            NormCall::Backward { .. } if !has_images => Ok(()),
            NormCall::Backward { .. } => {
                self.with_backward(call, context, |call| joint::finish(executor, op, call, total))
            }
            NormCall::UpdateRunning { saved } => {
                joint::save_mean(executor, op, total, &mut buffers.write(Write(saved.0)))?;
                self.run(call, context)
            }
            NormCall::UpdateTogether { ref every } => {
                let mut left = total.values;
                for Updating { norm: Self { op, .. }, saved } in every {
                    let (values, rest) = left.split_at(op.part_len());
                    joint::save_mean(executor, op, Total { values, ..total }, &mut buffers.write(Write(saved.0)))?;
                    left = rest;
                }
                self.run(call, context)
            }
            NormCall::Moments { .. } | NormCall::ForwardEval { .. } | NormCall::SaveRunning { .. } => {
                self.run(call, context)
            }
        }
    }
}

impl Norm {
    /// Borrows the operands of a forward call with the batch's statistics.
    fn with_forward(
        &self,
        call: &NormCall,
        context: &mut Context,
        run: impl FnOnce(batch_norm::ForwardTrain) -> Result<()>,
    ) -> Result<()> {
        let (buffers, n) = (context.buffers, context.n);
        let NormCall::ForwardTrain { x, moments, shortcut, saved, y } = *call else { return Ok(()) };
        let shortcut = shortcut.map(|shortcut| buffers.read(shortcut));
        run(batch_norm::ForwardTrain {
            n,
            x: &buffers.read(x),
            shortcut: shortcut.as_deref(),
            params: context.weights.parameters.view(self.params.clone()),
            moments: &buffers.read(moments),
            saved: &mut buffers.write(saved),
            y: &mut buffers.write(y),
        })
    }

    /// Borrows the operands of a backward call.
    fn with_backward(
        &self,
        call: &NormCall,
        context: &mut Context,
        run: impl FnOnce(batch_norm::Backward) -> Result<()>,
    ) -> Result<()> {
        let (buffers, n) = (context.buffers, context.n);
        let NormCall::Backward { x, y, saved, sums, dy, dx, grads, summed: _ } = *call else { return Ok(()) };
        let Weights { parameters, gradients, .. } = &mut *context.weights;
        let y = y.map(|y| buffers.read(y));
        let mut dx = dx.map(|dx| buffers.write(dx));
        let mut unwanted = grads.map(|grads| buffers.write(grads));
        run(batch_norm::Backward {
            n,
            x: &buffers.read(x),
            y: y.as_deref(),
            params: parameters.view(self.params.clone()),
            saved: &buffers.read(saved),
            sums: &mut buffers.write(sums),
            dy: &mut buffers.write(dy),
            dx: dx.as_deref_mut(),
            grads: self.gradients(unwanted.as_deref_mut(), gradients),
            statistics: self.statistics,
        })
    }
}
