//! Every op with a gradient as a function of (N, C, H, W) values, so that one test can be written for all.

use super::{activation, blank_activation, buffer, flat, garbage, read_activation, read_flat, Parameters, Random};
use resnet_ops::global_avg_pool::{self, GlobalAvgPool};
use resnet_ops::linear::{self, Linear};
use resnet_ops::max_pool2d::{self, MaxPool2d};
use resnet_ops::{add_relu, cross_entropy, relu, Buffer, DType, Executor, Result};
use std::fmt::Debug;

/// Input values closer than this to a kink of the function are not drawn.
pub const MARGIN: f64 = 1e-4;

/// A function of several inputs with its gradients.
pub trait Op: Debug {
    /// Random inputs away from kinks.
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>>;

    /// The output.
    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>>;

    /// The gradients of the inputs, of which the last may be missing. If `accumulate`, the one of [`Op::accumulates`] is
    /// added to a copy of that input.
    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], accumulate: bool)
        -> Result<Vec<Vec<f64>>>;

    /// The input whose gradient can be added to what is there.
    fn accumulates(&self) -> Option<usize> {
        None
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
        let (x, mut y) = (flat(executor, &inputs[0]), garbage(executor.dtype(), self.0));
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

/// Addition and ReLU of a number of elements; inputs: a, b.
#[derive(Debug)]
pub struct AddRelu(pub usize);

impl Op for AddRelu {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        let (sums, b) = (away_from_zero(random.values(self.0)), random.values(self.0));
        // Multiples of 2⁻²³ below 2 in size: the differences are exact in f32.
        vec![sums.iter().zip(&b).map(|(sum, b)| sum - b).collect(), b]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let (a, b) = (flat(executor, &inputs[0]), flat(executor, &inputs[1]));
        let mut y = garbage(executor.dtype(), self.0);
        add_relu::forward(executor, self.0, &a, &b, &mut y)?;
        Ok(read_flat(self.0, &y))
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
        relu::backward(executor, self.0, &y, &mut db)?;
        let mut da = if accumulate { flat(executor, &inputs[0]) } else { garbage(executor.dtype(), self.0) };
        add_relu::add_gradient(executor, self.0, &db, &mut da, accumulate)?;
        Ok(vec![read_flat(self.0, &da), read_flat(self.0, &db)])
    }

    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

fn away_from_zero(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| if value.abs() < MARGIN { 0.5 } else { value }).collect()
}

/// Max-pooling.
#[derive(Debug)]
pub struct MaxPooling {
    pub n: usize,
    pub op: MaxPool2d,
}

impl MaxPooling {
    fn input_shape(&self) -> [usize; 4] {
        [self.n, self.op.channels, self.op.input[0], self.op.input[1]]
    }

    fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.op.output();
        [self.n, self.op.channels, height, width]
    }

    fn outputs(&self, executor: &Executor, x: &[f64]) -> Result<(Buffer, Buffer)> {
        let x = activation(executor, self.input_shape(), x)?;
        let [n, c, h, w] = self.output_shape();
        let mut y = blank_activation(executor, self.output_shape());
        let mut argmax = buffer(DType::U8, &vec![255.0; executor.activation_len(n, c, h, w) + 37]);
        max_pool2d::forward(executor, &self.op, self.n, &x, &mut y, &mut argmax)?;
        Ok((y, argmax))
    }
}

impl Op for MaxPooling {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        let len: usize = self.input_shape().iter().product();
        let mut x: Vec<f64> = (0..len).map(|i| f64::from(i as f32 / len as f32 * 2.0 - 1.0)).collect();
        (1..len).for_each(|i| x.swap(i, random.below(i + 1)));
        vec![x]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        read_activation(executor, self.output_shape(), &self.outputs(executor, &inputs[0])?.0)
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let (_, argmax) = self.outputs(executor, &inputs[0])?;
        let dy = activation(executor, self.output_shape(), dy)?;
        let mut dx = gradient(executor, self.input_shape(), &inputs[0], accumulate)?;
        max_pool2d::backward(executor, &self.op, self.n, &dy, &argmax, &mut dx, accumulate)?;
        Ok(vec![read_activation(executor, self.input_shape(), &dx)?])
    }

    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

/// Global average pooling.
#[derive(Debug)]
pub struct AveragePooling {
    pub n: usize,
    pub op: GlobalAvgPool,
}

impl Op for AveragePooling {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.n * self.op.channels * self.op.input[0] * self.op.input[1])]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let (c, [h, w]) = (self.op.channels, self.op.input);
        let x = activation(executor, [self.n, c, h, w], &inputs[0])?;
        let mut y = blank_activation(executor, [self.n, c, 1, 1]);
        global_avg_pool::forward(executor, &self.op, self.n, &x, &mut y)?;
        read_activation(executor, [self.n, c, 1, 1], &y)
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let (c, [h, w]) = (self.op.channels, self.op.input);
        let dy = activation(executor, [self.n, c, 1, 1], dy)?;
        let mut dx = gradient(executor, [self.n, c, h, w], &inputs[0], accumulate)?;
        global_avg_pool::backward(executor, &self.op, self.n, &dy, &mut dx, accumulate)?;
        Ok(vec![read_activation(executor, [self.n, c, h, w], &dx)?])
    }

    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
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
        linear::input_gradient(executor, &self.op, self.n, &dy, params.view(), &mut dx, accumulate)?;
        Ok(vec![grads.read(), read_activation(executor, input_shape, &dx)?])
    }

    fn accumulates(&self) -> Option<usize> {
        Some(1)
    }
}

/// Mean cross-entropy.
#[derive(Debug)]
pub struct Loss {
    pub classes: usize,
    pub labels: Vec<u32>,
}

impl Op for Loss {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.labels.len() * self.classes).iter().map(|value| value * 4.0).collect()]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let logits = activation(executor, [self.labels.len(), self.classes, 1, 1], &inputs[0])?;
        let outcome = cross_entropy::evaluate(executor, self.classes, &logits, &self.labels, None)?;
        Ok(vec![outcome.loss / self.labels.len() as f64])
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let shape = [self.labels.len(), self.classes, 1, 1];
        let logits = activation(executor, shape, &inputs[0])?;
        let mut dlogits = blank_activation(executor, shape);
        cross_entropy::evaluate(executor, self.classes, &logits, &self.labels, Some(&mut dlogits))?;
        let dlogits = read_activation(executor, shape, &dlogits)?;
        Ok(vec![dlogits.iter().map(|value| value * dy[0]).collect()])
    }
}
