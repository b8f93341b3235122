//! SiLU.

use super::{Context, PlanOp, Site, Tape};
use crate::model::shape::Shape;
use crate::plan::instruction::{calls, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::{silu, Result};

/// x·σ(x) of values of a shape.
#[derive(Clone)]
pub(in crate::plan) struct Silu {
    shape: Shape,
}

calls! {
    SiluCall {
        Forward { x: Read, y: Write },
        /// `dy` becomes the gradient of x.
        Backward { x: Read, dy: Write },
    }
}

impl Silu {
    pub fn lower(site: &Site) -> Self {
        Self { shape: site.inputs[0] }
    }
}

impl PlanOp for Silu {
    type Call = SiluCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), Write(tape.new_value(wires.output)));
        tape.forward(self, SiluCall::Forward { x, y });
        tape.on_backward(wires, move |tape, dy| {
            tape.backward(self, SiluCall::Backward { x, dy: Write(dy) });
            tape.propagate(dy, input);
        });
    }

    fn run(&self, call: &SiluCall, context: &mut Context) -> Result<()> {
        let (buffers, len) = (context.buffers, context.len(self.shape));
        match *call {
            SiluCall::Forward { x, y } => silu::forward(context.executor, len, &buffers.read(x), &mut buffers.write(y)),
            SiluCall::Backward { x, dy } => {
                silu::backward(context.executor, len, &buffers.read(x), &mut buffers.write(dy))
            }
        }
    }
}
