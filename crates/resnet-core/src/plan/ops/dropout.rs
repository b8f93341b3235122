//! Dropout and stochastic depth where they drop; elsewhere the lowered network has none.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::dropout::{self, Dropout, Grain};
use resnet_ops::Result;

/// A dropout with the number by which its masks differ from those of other layers.
#[derive(Clone)]
pub(in crate::plan) struct DropoutLayer {
    op: Dropout,
    layer: u64,
}

calls! {
    DropoutCall {
        Forward { x: Read, y: Write },
        /// `dy` becomes the gradient of x.
        Backward { dy: Write },
    }
}

impl DropoutLayer {
    pub fn lower(site: &Site, p: f64, grain: Grain) -> Self {
        let op = Dropout { p, channels: site.channels(), size: site.size(), grain };
        Self { op, layer: site.output as u64 }
    }
}

impl PlanOp for DropoutLayer {
    type Call = DropoutCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), Write(tape.new_value(wires.output)));
        tape.forward(self, DropoutCall::Forward { x, y });
        tape.on_backward(wires, move |tape, dy| {
            tape.backward(self, DropoutCall::Backward { dy: Write(dy) });
            tape.propagate(dy, input);
        });
    }

    fn run(&self, call: &DropoutCall, context: &mut Context) -> Result<()> {
        let (executor, buffers) = (context.executor, context.buffers);
        let images = context.first..context.first + context.n;
        let key = context.dropout_seed.wrapping_add(self.layer);
        match *call {
            DropoutCall::Forward { x, y } => {
                dropout::forward(executor, &self.op, images, key, &buffers.read(x), &mut buffers.write(y))
            }
            DropoutCall::Backward { dy } => dropout::backward(executor, &self.op, images, key, &mut buffers.write(dy)),
        }
    }
}
