//! ReLU, alone or as the end of another op.

use super::{Context, PlanOp, Site, Tape};
use crate::model::shape::Shape;
use crate::plan::instruction::{calls, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::{relu, Result};

/// max(x, 0) of values of a shape.
#[derive(Clone)]
pub(in crate::plan) struct Activation {
    pub shape: Shape,
}

calls! {
    ReluCall {
        Forward { x: Read, y: Write },
        /// `dy` becomes the gradient of what the ReLU was given.
        Backward { y: Read, dy: Write },
    }
}

impl Activation {
    pub fn lower(site: &Site) -> Self {
        Self { shape: site.inputs[0] }
    }
}

impl PlanOp for Activation {
    type Call = ReluCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (tape.value(input), tape.new_value(wires.output));
        tape.forward(self, ReluCall::Forward { x: Read(x), y: Write(y) });
        tape.on_backward(wires, move |tape, dy| {
            tape.backward(self, ReluCall::Backward { y: Read(y), dy: Write(dy) });
            tape.propagate(dy, input);
        });
    }

    fn run(&self, call: &ReluCall, context: &mut Context) -> Result<()> {
        let (buffers, len) = (context.buffers, context.len(self.shape));
        match *call {
            ReluCall::Forward { x, y } => relu::forward(context.executor, len, &buffers.read(x), &mut buffers.write(y)),
            ReluCall::Backward { y, dy } => {
                relu::backward(context.executor, len, &buffers.read(y), &mut buffers.write(dy))
            }
        }
    }
}
