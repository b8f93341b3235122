//! The padding of channels as an [`Op`].

use super::ops::{gradient, Op};
use super::{activation, blank_activation, read_activation, Random};
use resnet_ops::pad_channels::{self, PadChannels};
use resnet_ops::{Executor, GradientTarget, Result};

/// Padding of channels.
#[derive(Debug)]
pub struct ChannelPadding {
    pub n: usize,
    pub op: PadChannels,
}

impl ChannelPadding {
    fn input_shape(&self) -> [usize; 4] {
        [self.n, self.op.channels, self.op.input[0], self.op.input[1]]
    }

    fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.op.output();
        [self.n, self.op.out_channels, height, width]
    }
}

impl Op for ChannelPadding {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.input_shape().iter().product())]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let x = activation(executor, self.input_shape(), &inputs[0])?;
        let mut y = blank_activation(executor, self.output_shape());
        pad_channels::forward(executor, &self.op, self.n, &x, &mut y)?;
        read_activation(executor, self.output_shape(), &y)
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let dy = activation(executor, self.output_shape(), dy)?;
        let mut dx = gradient(executor, self.input_shape(), &inputs[0], accumulate)?;
        pad_channels::backward(executor, &self.op, self.n, &dy, GradientTarget { buffer: &mut dx, accumulate })?;
        Ok(vec![read_activation(executor, self.input_shape(), &dx)?])
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 0
    }
}
