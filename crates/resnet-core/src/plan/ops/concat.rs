//! Branches side by side.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::concat::{self, Concat};
use resnet_ops::{Buffer, Result};

/// The channels of the inputs, in order.
#[derive(Clone)]
pub(in crate::plan) struct Concatenation {
    op: Concat,
}

calls! {
    ConcatCall {
        Forward { inputs: Vec<Read>, y: Write },
        Backward { branch: usize, dy: Read, dx: Accumulated },
    }
}

impl Concatenation {
    pub fn lower(site: &Site) -> Self {
        let channels = site.inputs.iter().map(|input| input.channels()).collect();
        Self { op: Concat { channels, size: site.size() } }
    }
}

impl PlanOp for Concatenation {
    type Call = ConcatCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let inputs = wires.inputs.iter().map(|&input| Read(tape.value(input))).collect();
        let y = Write(tape.new_value(wires.output));
        tape.forward(self, ConcatCall::Forward { inputs, y });
        tape.on_backward(wires, move |tape, dy| {
            for (branch, &input) in wires.inputs.iter().enumerate() {
                tape.accumulate(input, |tape, dx| {
                    tape.backward(self, ConcatCall::Backward { branch, dy: Read(dy), dx });
                });
            }
        });
    }

    fn run(&self, call: &ConcatCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        match call {
            ConcatCall::Forward { inputs, y } => {
                let inputs: Vec<_> = inputs.iter().map(|&input| buffers.read(input)).collect();
                let inputs: Vec<&Buffer> = inputs.iter().map(|input| &**input).collect();
                concat::forward(executor, &self.op, n, &inputs, &mut buffers.write(*y))
            }
            ConcatCall::Backward { branch, dy, dx } => {
                concat::backward(executor, &self.op, n, *branch, &buffers.read(*dy), buffers.target(*dx).gradient())
            }
        }
    }
}
