//! Zero channels around those of every s-th pixel.

use super::{Context, PlanOp, Site, Tape};
use crate::plan::instruction::{calls, Accumulated, Read, Write};
use crate::plan::tape::Wires;
use resnet_ops::pad_channels::{self, PadChannels};
use resnet_ops::Result;

/// A padding of channels for a map size.
#[derive(Clone)]
pub(in crate::plan) struct ChannelPadding {
    op: PadChannels,
}

calls! {
    ChannelPaddingCall {
        Forward { x: Read, y: Write },
        Backward { dy: Read, dx: Accumulated },
    }
}

impl ChannelPadding {
    pub fn lower(site: &Site, out_channels: usize, stride: [usize; 2]) -> Result<Self> {
        let (channels, input) = (site.channels(), site.size());
        let before = out_channels.saturating_sub(channels) / 2;
        let op = PadChannels { channels, out_channels, before, input, stride };
        op.check()?;
        Ok(Self { op })
    }
}

impl PlanOp for ChannelPadding {
    type Call = ChannelPaddingCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let input = wires.inputs[0];
        let (x, y) = (Read(tape.value(input)), Write(tape.new_value(wires.output)));
        tape.forward(self, ChannelPaddingCall::Forward { x, y });
        tape.on_backward(wires, move |tape, dy| {
            tape.accumulate(input, |tape, dx| tape.backward(self, ChannelPaddingCall::Backward { dy: Read(dy), dx }));
        });
    }

    fn run(&self, call: &ChannelPaddingCall, context: &mut Context) -> Result<()> {
        let (executor, buffers, n) = (context.executor, context.buffers, context.n);
        match *call {
            ChannelPaddingCall::Forward { x, y } => {
                pad_channels::forward(executor, &self.op, n, &buffers.read(x), &mut buffers.write(y))
            }
            ChannelPaddingCall::Backward { dy, dx } => {
                pad_channels::backward(executor, &self.op, n, &buffers.read(dy), buffers.target(dx).gradient())
            }
        }
    }
}
