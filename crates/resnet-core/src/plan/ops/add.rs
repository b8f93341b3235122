//! The sum at the end of a residual block, and sums of gradients.

use super::{Activation, Context, PlanOp, ReluCall, Site, Tape};
use crate::model::shape::Shape;
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::{add, Result};

/// a + b, or max(a + b, 0), of values of a shape.
#[derive(Clone)]
pub(in crate::plan) struct Add {
    pub shape: Shape,
    pub relu: bool,
}

calls! {
    AddCall {
        Forward { a: Read, b: Read, y: Write },
        /// Makes a gradient that of another value too.
        AddGradient { source: Read, target: Accumulated },
    }
}

impl Add {
    pub fn lower(site: &Site, relu: bool) -> Self {
        Self { shape: site.inputs[0], relu }
    }
}

impl PlanOp for Add {
    type Call = AddCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let [a, b] = [0, 1].map(|index| Read(tape.value(wires.inputs[index])));
        let y = tape.new_value(wires.output);
        tape.forward(self, AddCall::Forward { a, b, y: Write(y) });
        tape.on_backward(wires, move |tape, dy| {
            if self.relu {
                let relu = Activation { shape: self.shape };
                tape.backward(&relu, ReluCall::Backward { y: Read(y), dy: Write(dy) });
            }
            for &input in &wires.inputs {
                tape.propagate(dy, input);
            }
        });
    }

    fn run(&self, call: &AddCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, len) = (context.executor, context.buffers, context.len(self.shape));
        match *call {
            AddCall::Forward { a, b, y } => {
                add::forward(executor, len, &buffers.read(a), &buffers.read(b), &mut buffers.write(y), self.relu)
            }
            AddCall::AddGradient { source, target } => {
                add::add_gradient(executor, len, &buffers.read(source), buffers.target(target).gradient())
            }
        }
    }
}
