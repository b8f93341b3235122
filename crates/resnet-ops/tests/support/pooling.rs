//! The poolings as [`Op`]s.

use super::ops::{gradient, Op};
use super::{activation, blank_activation, buffer, read_activation, Random};
use resnet_ops::avg_pool2d::{self, AvgPool2d};
use resnet_ops::global_avg_pool::{self, GlobalAvgPool};
use resnet_ops::max_pool2d::{self, MaxPool2d};
use resnet_ops::{Buffer, DType, Executor, GradientTarget, Result};

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
        let mut argmax = buffer(executor, DType::U8, &vec![255.0; executor.activation_len(n, c, h, w) + 37]);
        let call = max_pool2d::Forward { n: self.n, x: &x, y: &mut y, argmax: Some(&mut argmax) };
        max_pool2d::forward(executor, &self.op, call)?;
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
        let with_places = read_activation(executor, self.output_shape(), &self.outputs(executor, &inputs[0])?.0)?;
        let (x, mut y) =
            (activation(executor, self.input_shape(), &inputs[0])?, blank_activation(executor, self.output_shape()));
        max_pool2d::forward(executor, &self.op, max_pool2d::Forward { n: self.n, x: &x, y: &mut y, argmax: None })?;
        let maxima = read_activation(executor, self.output_shape(), &y)?;
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&maxima), bits(&with_places));
        Ok(maxima)
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
        max_pool2d::backward(executor, &self.op, self.n, &dy, &argmax, GradientTarget { buffer: &mut dx, accumulate })?;
        Ok(vec![read_activation(executor, self.input_shape(), &dx)?])
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 0
    }
}

/// Average pooling.
#[derive(Debug)]
pub struct AveragePooling {
    pub n: usize,
    pub op: AvgPool2d,
}

impl AveragePooling {
    fn input_shape(&self) -> [usize; 4] {
        [self.n, self.op.channels, self.op.input[0], self.op.input[1]]
    }

    fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.op.output();
        [self.n, self.op.channels, height, width]
    }
}

impl Op for AveragePooling {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.input_shape().iter().product())]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let x = activation(executor, self.input_shape(), &inputs[0])?;
        let mut y = blank_activation(executor, self.output_shape());
        avg_pool2d::forward(executor, &self.op, self.n, &x, &mut y)?;
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
        avg_pool2d::backward(executor, &self.op, self.n, &dy, GradientTarget { buffer: &mut dx, accumulate })?;
        Ok(vec![read_activation(executor, self.input_shape(), &dx)?])
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 0
    }
}

/// Global average pooling.
#[derive(Debug)]
pub struct GlobalAveragePooling {
    pub n: usize,
    pub op: GlobalAvgPool,
}

impl Op for GlobalAveragePooling {
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
        global_avg_pool::backward(executor, &self.op, self.n, &dy, GradientTarget { buffer: &mut dx, accumulate })?;
        Ok(vec![read_activation(executor, [self.n, c, h, w], &dx)?])
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 0
    }
}
