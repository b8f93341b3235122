//! Max-pooling.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::slots::Class;
use crate::plan::tape::Wires;
use resnet_ops::max_pool2d::{self, MaxPool2d};
use resnet_ops::Result;

/// A max-pooling of a map size.
#[derive(Clone)]
pub(in crate::plan) struct MaxPool {
    pub op: MaxPool2d,
}

calls! {
    MaxPoolCall {
        Forward { x: Read, y: Write, argmax: Option<Write> },
        Backward { dy: Read, argmax: Read, dx: Accumulated },
    }
}

impl MaxPool {
    pub fn lower(site: &Site, [kernel, stride, padding]: [[usize; 2]; 3]) -> Result<Self> {
        let op = MaxPool2d { channels: site.channels(), input: site.size(), kernel, stride, padding };
        op.check()?;
        Ok(Self { op })
    }
}

impl PlanOp for MaxPool {
    type Call = MaxPoolCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), tape.new_value(wires.output));
        let argmax = tape.is_differentiated(wires).then(|| tape.request(Class::Index, tape.len_of(y)));
        tape.forward(self, MaxPoolCall::Forward { x, y: Write(y), argmax: argmax.map(Write) });
        let Some(argmax) = argmax else { return };
        tape.on_backward(wires, move |tape, dy| {
            tape.accumulate(input, |tape, dx| {
                tape.backward(self, MaxPoolCall::Backward { dy: Read(dy), argmax: Read(argmax), dx });
            });
        });
    }

    fn run(&self, call: &MaxPoolCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        match *call {
            MaxPoolCall::Forward { x, y, argmax } => {
                let (x, mut y, mut argmax) =
                    (buffers.read(x), buffers.write(y), argmax.map(|argmax| buffers.write(argmax)));
                let call = max_pool2d::Forward { n, x: &x, y: &mut y, argmax: argmax.as_deref_mut() };
                max_pool2d::forward(executor, &self.op, call)
            }
            MaxPoolCall::Backward { dy, argmax, dx } => {
                let (dy, argmax) = (buffers.read(dy), buffers.read(argmax));
                max_pool2d::backward(executor, &self.op, n, &dy, &argmax, buffers.target(dx).gradient())
            }
        }
    }
}
