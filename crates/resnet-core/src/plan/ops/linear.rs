//! Fully connected layers.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::linear::{self, Linear};
use resnet_ops::Result;
use std::ops::Range;

/// A fully connected layer and where its parameters are.
#[derive(Clone)]
pub(in crate::plan) struct FullyConnected {
    op: Linear,
    params: Range<usize>,
}

calls! {
    LinearCall {
        Forward { x: Read, y: Write },
        WeightGradient { x: Read, dy: Read },
        InputGradient { dy: Read, dx: Accumulated },
    }
}

impl FullyConnected {
    pub fn lower(site: &Site, out_features: usize, bias: bool) -> Self {
        let op = Linear { in_features: site.channels(), out_features, bias };
        Self { op, params: site.ranges.params.clone() }
    }
}

impl PlanOp for FullyConnected {
    type Call = LinearCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), Write(tape.new_value(wires.output)));
        tape.forward(self, LinearCall::Forward { x, y });
        tape.on_backward(wires, move |tape, dy| {
            let dy = Read(dy);
            if wires.is_trained {
                tape.backward(self, LinearCall::WeightGradient { x, dy });
            }
            tape.accumulate(input, |tape, dx| tape.backward(self, LinearCall::InputGradient { dy, dx }));
        });
    }

    fn run(&self, call: &LinearCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        let params = context.weights.parameters.view(self.params.clone());
        match *call {
            LinearCall::Forward { x, y } => {
                linear::forward(executor, &self.op, n, &buffers.read(x), params, &mut buffers.write(y))
            }
            LinearCall::WeightGradient { x, dy } => {
                let grads = context.weights.gradients.view_mut(self.params.clone());
                linear::weight_gradient(executor, &self.op, n, &buffers.read(x), &buffers.read(dy), grads)
            }
            LinearCall::InputGradient { dy, dx } => {
                let (dy, mut dx) = (buffers.read(dy), buffers.target(dx));
                linear::input_gradient(executor, &self.op, n, &dy, params, dx.gradient())
            }
        }
    }
}
