//! The mean of each whole map.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::global_avg_pool::{self, GlobalAvgPool};
use resnet_ops::Result;

/// A pooling of whole maps.
#[derive(Clone)]
pub(in crate::plan) struct GlobalPool {
    op: GlobalAvgPool,
}

calls! {
    GlobalPoolCall {
        Forward { x: Read, y: Write },
        Backward { dy: Read, dx: Accumulated },
    }
}

impl GlobalPool {
    pub fn lower(site: &Site) -> Self {
        Self { op: GlobalAvgPool { channels: site.channels(), input: site.size() } }
    }
}

impl PlanOp for GlobalPool {
    type Call = GlobalPoolCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), Write(tape.new_value(wires.output)));
        tape.forward(self, GlobalPoolCall::Forward { x, y });
        tape.on_backward(wires, move |tape, dy| {
            tape.accumulate(input, |tape, dx| tape.backward(self, GlobalPoolCall::Backward { dy: Read(dy), dx }));
        });
    }

    fn run(&self, call: &GlobalPoolCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        match *call {
            GlobalPoolCall::Forward { x, y } => {
                global_avg_pool::forward(executor, &self.op, n, &buffers.read(x), &mut buffers.write(y))
            }
            GlobalPoolCall::Backward { dy, dx } => {
                global_avg_pool::backward(executor, &self.op, n, &buffers.read(dy), buffers.target(dx).gradient())
            }
        }
    }
}
