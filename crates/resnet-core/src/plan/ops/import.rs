//! Images on their way into a backend's layout.

use super::{Context, PlanOp, Tape};
use crate::model::shape::Shape;
use crate::plan::instruction::{calls, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::{layout, Result};

/// Images (N, C, H, W) of a shape become an activation.
#[derive(Clone)]
pub(in crate::plan) struct Import {
    pub shape: Shape,
}

calls! {
    ImportCall { Forward { x: Read, y: Write } }
}

impl PlanOp for Import {
    type Call = ImportCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let (x, y) = (Read(tape.value(wires.inputs[0])), Write(tape.new_value(wires.output)));
        tape.forward(self, ImportCall::Forward { x, y });
    }

    fn run(&self, call: &ImportCall, context: &mut Context) -> Result<()> {
        let ImportCall::Forward { x, y } = *call;
        let (buffers, [h, w]) = (context.buffers, self.shape.size());
        let shape = [context.n, self.shape.channels(), h, w];
        layout::from_nchw(context.executor, shape, &buffers.read(x), &mut buffers.write(y))
    }
}
