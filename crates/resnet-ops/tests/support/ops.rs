//! Every op with a gradient as a function of (N, C, H, W) values, so that one test can be written for all.

use super::{activation, blank_activation, flat, garbage, read_activation, read_flat, Parameters, Random};
use resnet_ops::concat::{self, Concat};
use resnet_ops::dropout::{self, Dropout};
use resnet_ops::linear::{self, Linear};
use resnet_ops::{add, relu, silu, Buffer, Executor, GradientTarget, Result};
use std::fmt::Debug;

/// Input values closer than this to a kink of the function are not drawn.
pub const MARGIN: f64 = 1e-4;

/// A function of several inputs with its gradients.
pub trait Op: Debug {
    /// Random inputs away from kinks.
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>>;

    /// The output.
    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>>;

    /// The gradients of the inputs, of which the last may be missing. If `accumulate`, those of [`Op::accumulates`] are
    /// added to copies of their inputs.
    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], accumulate: bool)
        -> Result<Vec<Vec<f64>>>;

    /// Whether this input's gradient can be added to what is there.
    fn accumulates(&self, _input: usize) -> bool {
        false
    }
}

/// Where a gradient goes: onto a copy of `values` or over garbage.
pub fn gradient(executor: &Executor, shape: [usize; 4], values: &[f64], accumulate: bool) -> Result<Buffer> {
    if accumulate {
        activation(executor, shape, values)
    } else {
        Ok(blank_activation(executor, shape))
    }
}

/// ReLU of a number of elements.
#[derive(Debug)]
pub struct Relu(pub usize);

impl Op for Relu {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![away_from_zero(random.values(self.0))]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let (x, mut y) = (flat(executor, &inputs[0]), garbage(executor, executor.dtype(), self.0));
        relu::forward(executor, self.0, &x, &mut y)?;
        Ok(read_flat(self.0, &y))
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let y = flat(executor, &self.forward(executor, inputs)?);
        let mut dy = flat(executor, dy);
        relu::backward(executor, self.0, &y, &mut dy)?;
        Ok(vec![read_flat(self.0, &dy)])
    }
}

/// SiLU of a number of elements.
#[derive(Debug)]
pub struct Silu(pub usize);

/// As many elements as for ReLU.
pub fn silus() -> Vec<Silu> {
    super::shapes::relus().into_iter().map(|relu| Silu(relu.0)).collect()
}

impl Op for Silu {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.0).into_iter().map(|value| 6.0 * value).collect()]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let (x, mut y) = (flat(executor, &inputs[0]), garbage(executor, executor.dtype(), self.0));
        silu::forward(executor, self.0, &x, &mut y)?;
        Ok(read_flat(self.0, &y))
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let mut dy = flat(executor, dy);
        silu::backward(executor, self.0, &flat(executor, &inputs[0]), &mut dy)?;
        Ok(vec![read_flat(self.0, &dy)])
    }
}

/// Addition of a number of elements, with or without ReLU; inputs: a, b.
#[derive(Debug)]
pub struct Addition {
    pub len: usize,
    pub relu: bool,
}

impl Op for Addition {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        let (sums, b) = (away_from_zero(random.values(self.len)), random.values(self.len));
        // Multiples of 2⁻²³ below 2 in size: the differences are exact in f32.
        vec![sums.iter().zip(&b).map(|(sum, b)| sum - b).collect(), b]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let (a, b) = (flat(executor, &inputs[0]), flat(executor, &inputs[1]));
        let mut y = garbage(executor, executor.dtype(), self.len);
        add::forward(executor, self.len, &a, &b, &mut y, self.relu)?;
        Ok(read_flat(self.len, &y))
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let y = flat(executor, &self.forward(executor, inputs)?);
        let mut db = flat(executor, dy);
        if self.relu {
            relu::backward(executor, self.len, &y, &mut db)?;
        }
        let mut da =
            if accumulate { flat(executor, &inputs[0]) } else { garbage(executor, executor.dtype(), self.len) };
        add::add_gradient(executor, self.len, &db, GradientTarget { buffer: &mut da, accumulate })?;
        Ok(vec![read_flat(self.len, &da), read_flat(self.len, &db)])
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 0
    }
}

fn away_from_zero(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| if value.abs() < MARGIN { 0.5 } else { value }).collect()
}

/// Fully connected layer; inputs: parameters, x.
#[derive(Debug)]
pub struct Connection {
    pub n: usize,
    pub op: Linear,
}

impl Op for Connection {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.op.params_len()), random.values(self.n * self.op.in_features)]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let params = Parameters::new(executor, &inputs[0]);
        let x = activation(executor, [self.n, self.op.in_features, 1, 1], &inputs[1])?;
        let mut y = blank_activation(executor, [self.n, self.op.out_features, 1, 1]);
        linear::forward(executor, &self.op, self.n, &x, params.view(), &mut y)?;
        read_activation(executor, [self.n, self.op.out_features, 1, 1], &y)
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let input_shape = [self.n, self.op.in_features, 1, 1];
        let params = Parameters::new(executor, &inputs[0]);
        let x = activation(executor, input_shape, &inputs[1])?;
        let dy = activation(executor, [self.n, self.op.out_features, 1, 1], dy)?;
        let mut grads = Parameters::blank(executor, self.op.params_len());
        linear::weight_gradient(executor, &self.op, self.n, &x, &dy, grads.view_mut())?;
        let mut dx = gradient(executor, input_shape, &inputs[1], accumulate)?;
        let target = GradientTarget { buffer: &mut dx, accumulate };
        linear::input_gradient(executor, &self.op, self.n, &dy, params.view(), target)?;
        Ok(vec![grads.read(), read_activation(executor, input_shape, &dx)?])
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 1
    }
}

/// Concatenation; inputs: each of its.
#[derive(Debug)]
pub struct Concatenation {
    pub n: usize,
    pub op: Concat,
}

impl Concatenation {
    fn shape(&self, channels: usize) -> [usize; 4] {
        [self.n, channels, self.op.size[0], self.op.size[1]]
    }
}

impl Op for Concatenation {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        self.op.channels.iter().map(|&channels| random.values(self.shape(channels).iter().product())).collect()
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let inputs = self.op.channels.iter().zip(inputs);
        let inputs = inputs.map(|(&channels, values)| activation(executor, self.shape(channels), values));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let shape = self.shape(self.op.output_channels());
        let mut y = blank_activation(executor, shape);
        concat::forward(executor, &self.op, self.n, &inputs.iter().collect::<Vec<_>>(), &mut y)?;
        read_activation(executor, shape, &y)
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let dy = activation(executor, self.shape(self.op.output_channels()), dy)?;
        let gradients = inputs.iter().enumerate().map(|(branch, values)| {
            let shape = self.shape(self.op.channels[branch]);
            let mut dx = gradient(executor, shape, values, accumulate)?;
            concat::backward(executor, &self.op, self.n, branch, &dy, GradientTarget { buffer: &mut dx, accumulate })?;
            read_activation(executor, shape, &dx)
        });
        gradients.collect()
    }

    fn accumulates(&self, _input: usize) -> bool {
        true
    }
}

/// Dropout.
#[derive(Debug)]
pub struct Dropping {
    pub n: usize,
    pub key: u64,
    pub op: Dropout,
}

impl Dropping {
    fn shape(&self) -> [usize; 4] {
        [self.n, self.op.channels, self.op.size[0], self.op.size[1]]
    }
}

impl Op for Dropping {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.shape().iter().product())]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let x = activation(executor, self.shape(), &inputs[0])?;
        let mut y = blank_activation(executor, self.shape());
        dropout::forward(executor, &self.op, 0..self.n, self.key, &x, &mut y)?;
        read_activation(executor, self.shape(), &y)
    }

    fn backward(&self, executor: &Executor, _: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let mut dy = activation(executor, self.shape(), dy)?;
        dropout::backward(executor, &self.op, 0..self.n, self.key, &mut dy)?;
        Ok(vec![read_activation(executor, self.shape(), &dy)?])
    }
}

/// The table of ops with gradients and their cases, for which `gradients.rs` and `kernels.rs` have a test each.
#[allow(unused_macros)]
macro_rules! every_op {
    ($tests:ident) => {
        $tests! {
            conv2d: $crate::support::shapes::convolutions;
            conv2d_of_plain_input: $crate::support::shapes::plain_convolutions;
            batch_norm: $crate::support::shapes::normalisations;
            batch_norm_with_running_statistics: $crate::support::shapes::frozen_normalisations;
            relu: $crate::support::shapes::relus;
            silu: $crate::support::ops::silus;
            add: $crate::support::shapes::additions;
            concat: $crate::support::shapes::concatenations;
            dropout: $crate::support::shapes::droppings;
            norm_pool: $crate::support::shapes::normalised_poolings;
            max_pool2d: $crate::support::shapes::max_poolings;
            avg_pool2d: $crate::support::shapes::average_poolings;
            global_avg_pool: $crate::support::shapes::global_average_poolings;
            pad_channels: $crate::support::shapes::channel_paddings;
            linear: $crate::support::shapes::connections;
            cross_entropy: $crate::support::losses::losses;
            binary_cross_entropy: $crate::support::losses::binary_losses;
        }
    };
}
#[allow(unused_imports)]
pub(crate) use every_op;
