//! Average-pooling over windows.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::avg_pool2d::{self, AvgPool2d};
use resnet_ops::Result;

/// An average-pooling of a map size.
#[derive(Clone)]
pub(in crate::plan) struct AvgPool {
    op: AvgPool2d,
}

calls! {
    AvgPoolCall {
        Forward { x: Read, y: Write },
        Backward { dy: Read, dx: Accumulated },
    }
}

impl AvgPool {
    pub fn lower(
        site: &Site,
        [kernel, stride, padding]: [[usize; 2]; 3],
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> Result<Self> {
        let (channels, input) = (site.channels(), site.size());
        let op = AvgPool2d { channels, input, kernel, stride, padding, ceil_mode, count_include_pad };
        op.check()?;
        Ok(Self { op })
    }
}

impl PlanOp for AvgPool {
    type Call = AvgPoolCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), Write(tape.new_value(wires.output)));
        tape.forward(self, AvgPoolCall::Forward { x, y });
        tape.on_backward(wires, move |tape, dy| {
            tape.accumulate(input, |tape, dx| tape.backward(self, AvgPoolCall::Backward { dy: Read(dy), dx }));
        });
    }

    fn run(&self, call: &AvgPoolCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        match *call {
            AvgPoolCall::Forward { x, y } => {
                avg_pool2d::forward(executor, &self.op, n, &buffers.read(x), &mut buffers.write(y))
            }
            AvgPoolCall::Backward { dy, dx } => {
                avg_pool2d::backward(executor, &self.op, n, &buffers.read(dy), buffers.target(dx).gradient())
            }
        }
    }
}
