//! A batch norm with the batch's statistics and the max-pooling behind it, without the map between them.

use super::{Context, Joint, Moments, Norm, PlanOp, Tape};
use crate::plan::instruction::{calls, Read, Write};
use crate::plan::slots::Class;
use crate::plan::tape::Wires;
use crate::weights::Weights;
use resnet_ops::batch_norm::{joint, Total};
use resnet_ops::max_pool2d::MaxPool2d;
use resnet_ops::norm_pool::{self, NormPool};
use resnet_ops::Result;

/// A batch norm, to which nothing is added, and the max-pooling behind it: made by fusing the two.
#[derive(Clone)]
pub(in crate::plan) struct PooledNorm {
    pub norm: Norm,
    pub pool: MaxPool2d,
}

calls! {
    NormPoolCall {
        Forward { x: Read, moments: Read, saved: Write, y: Write, argmax: Write },
        Backward { x: Read, saved: Read, argmax: Read, sums: Write, dy: Read, dx: Write, grads: Option<Write> },
    }
}

impl PlanOp for PooledNorm {
    type Call = NormPoolCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let x = Read(tape.value(input));
        let Moments { sums, saved } = self.norm.write_moments(input, tape);
        let y = tape.new_value(wires.output);
        let argmax = tape.request(Class::Index, tape.len_of(y));
        let moments = Read(sums.0);
        tape.forward(self, NormPoolCall::Forward { x, moments, saved, y: Write(y), argmax: Write(argmax) });
        tape.on_backward(wires, move |tape, dy| {
            let (saved, argmax, dy) = (Read(saved.0), Read(argmax), Read(dy));
            let dx = tape.request_like(input);
            let sums = Write(tape.request(Class::Sum, self.norm.op.sums_len(tape.capacity())));
            let grads = self.norm.unwanted_gradients(wires, tape);
            tape.backward(self, NormPoolCall::Backward { x, saved, argmax, sums, dy, dx: Write(dx), grads });
            tape.propagate(dx, input);
        });
    }

    fn run(&self, call: &NormPoolCall, context: &mut Context) -> Result<()> {
        let executor = context.executor;
        match call {
            NormPoolCall::Forward { .. } => {
                self.with_forward(call, context, |op, call| norm_pool::forward_train(executor, op, call))
            }
            NormPoolCall::Backward { .. } => {
                self.with_backward(call, context, |op, call| norm_pool::backward(executor, op, call))
            }
        }
    }

    fn joint(&self, call: &NormPoolCall, synced: bool) -> Option<Joint> {
        synced.then(|| match call {
            NormPoolCall::Forward { .. } => self.norm.joint_moments(),
            NormPoolCall::Backward { .. } => self.norm.joint_sums(),
        })
    }

    fn run_part(&self, call: &NormPoolCall, context: &mut Context, part: &mut [f64]) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        match *call {
            NormPoolCall::Forward { x, moments, saved, .. } => {
                let (x, moments, saved) = (buffers.read(x), buffers.read(moments), buffers.read(Read(saved.0)));
                joint::moments_part(executor, &self.norm.op, n, &x, &moments, &saved, part)
            }
            NormPoolCall::Backward { .. } => {
                self.with_backward(call, context, |op, mut call| norm_pool::sums_part(executor, op, &mut call, part))
            }
        }
    }

    fn finish(&self, call: &NormPoolCall, context: &mut Context, total: Total) -> Result<()> {
        let (executor, buffers, has_images) = (context.executor, context.buffers, context.n > 0);
        match *call {
            NormPoolCall::Forward { saved, .. } => {
                joint::save(executor, &self.norm.op, total, &mut buffers.write(saved))?;
                match has_images {
                    true => self.with_forward(call, context, |op, call| norm_pool::normalise(executor, op, call)),
                    false => Ok(()),
                }
            }
            NormPoolCall::Backward { .. } if !has_images => Ok(()),
            NormPoolCall::Backward { .. } => {
                self.with_backward(call, context, |op, call| norm_pool::finish(executor, op, call, total))
            }
        }
    }
}

impl PooledNorm {
    fn op(&self) -> NormPool {
        NormPool { norm: self.norm.op.clone(), pool: self.pool.clone() }
    }

    /// Borrows the operands of a forward call.
    fn with_forward(
        &self,
        call: &NormPoolCall,
        context: &mut Context,
        run: impl FnOnce(&NormPool, norm_pool::ForwardTrain) -> Result<()>,
    ) -> Result<()> {
        let (buffers, n) = (context.buffers, context.n);
        let NormPoolCall::Forward { x, moments, saved, y, argmax } = *call else { return Ok(()) };
        let call = norm_pool::ForwardTrain {
            n,
            x: &buffers.read(x),
            params: context.weights.parameters.view(self.norm.params.clone()),
            moments: &buffers.read(moments),
            saved: &mut buffers.write(saved),
            y: &mut buffers.write(y),
            argmax: &mut buffers.write(argmax),
        };
        run(&self.op(), call)
    }

    /// Borrows the operands of a backward call.
    fn with_backward(
        &self,
        call: &NormPoolCall,
        context: &mut Context,
        run: impl FnOnce(&NormPool, norm_pool::Backward) -> Result<()>,
    ) -> Result<()> {
        let (buffers, n) = (context.buffers, context.n);
        let NormPoolCall::Backward { x, saved, argmax, sums, dy, dx, grads } = *call else { return Ok(()) };
        let Weights { parameters, gradients, .. } = &mut *context.weights;
        let mut unwanted = grads.map(|grads| buffers.write(grads));
        let call = norm_pool::Backward {
            n,
            x: &buffers.read(x),
            params: parameters.view(self.norm.params.clone()),
            saved: &buffers.read(saved),
            argmax: &buffers.read(argmax),
            sums: &mut buffers.write(sums),
            dy: &buffers.read(dy),
            dx: &mut buffers.write(dx),
            grads: self.norm.gradients(unwanted.as_deref_mut(), gradients),
        };
        run(&self.op(), call)
    }
}
