//! Batch norm as an [`Op`].

use super::ops::{Op, MARGIN};
use super::{activation, blank_activation, garbage, read_activation, Parameters, Random};
use resnet_ops::batch_norm::{self, BatchNorm};
use resnet_ops::{Buffer, DType, Executor, Result};

/// Batch norm in training; inputs: parameters, x and, if there is one, the shortcut.
#[derive(Debug)]
pub struct Normalisation {
    pub n: usize,
    pub op: BatchNorm,
    pub shortcut: bool,
}

impl Normalisation {
    pub fn shape(&self) -> [usize; 4] {
        [self.n, self.op.channels, self.op.size[0], self.op.size[1]]
    }

    /// Output and saved statistics.
    pub fn train(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<(Buffer, Buffer)> {
        let x = activation(executor, self.shape(), &inputs[1])?;
        let shortcut = inputs.get(2).map(|values| activation(executor, self.shape(), values)).transpose()?;
        let params = Parameters::new(executor, &inputs[0]);
        let mut saved = garbage(executor, executor.exact_dtype(), self.op.saved_len());
        let mut moments = garbage(executor, DType::F64, self.op.sums_len(self.n));
        let mut y = blank_activation(executor, self.shape());
        let (shortcut, params) = (shortcut.as_ref(), params.view());
        batch_norm::moments(executor, &self.op, self.n, &x, &mut moments)?;
        batch_norm::forward_train(executor, &self.op, self.n, &x, shortcut, params, &moments, &mut saved, &mut y)?;
        Ok((y, saved))
    }

    /// The output with given running statistics.
    pub fn eval(&self, executor: &Executor, inputs: &[Vec<f64>], running: &[f64]) -> Result<Vec<f64>> {
        let x = activation(executor, self.shape(), &inputs[1])?;
        let shortcut = inputs.get(2).map(|values| activation(executor, self.shape(), values)).transpose()?;
        let (params, running) = (Parameters::new(executor, &inputs[0]), Parameters::new(executor, running));
        let mut y = blank_activation(executor, self.shape());
        let (params, running) = (params.view(), running.view());
        batch_norm::forward_eval(executor, &self.op, self.n, &x, shortcut.as_ref(), params, running, &mut y)?;
        read_activation(executor, self.shape(), &y)
    }
}

impl Op for Normalisation {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        let (channels, pixels) = (self.op.channels, self.op.size[0] * self.op.size[1]);
        let linear = Self { n: self.n, op: BatchNorm { relu: false, ..self.op.clone() }, shortcut: self.shortcut };
        loop {
            let gamma = (0..channels).map(|_| random.pick(&[1.0, -1.0]) * (1.0 + 0.5 * random.value()));
            let mut params: Vec<f64> = gamma.collect::<Vec<_>>();
            params.extend(random.values(channels));
            let params = params.into_iter().map(|value| f64::from(value as f32)).collect();
            let offsets: Vec<f64> = (0..channels).map(|_| random.pick(&[-2.0, 0.0, 2.0])).collect();
            let x = (0..self.n * channels * pixels).map(|i| random.value() + offsets[i / pixels % channels]);
            let mut inputs = vec![params, x.map(|value| f64::from(value as f32)).collect()];
            if self.shortcut {
                inputs.push(random.values(self.n * channels * pixels));
            }
            let sums = linear.forward(&Executor::ReferenceF64, &inputs).unwrap();
            if !self.op.relu || sums.iter().all(|sum| sum.abs() > MARGIN) {
                return inputs;
            }
        }
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        read_activation(executor, self.shape(), &self.train(executor, inputs)?.0)
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let (y, saved) = self.train(executor, inputs)?;
        let x = activation(executor, self.shape(), &inputs[1])?;
        let params = Parameters::new(executor, &inputs[0]);
        let mut scratch = garbage(executor, DType::F64, self.op.sums_len(self.n));
        let mut dy = activation(executor, self.shape(), dy)?;
        let mut dx = blank_activation(executor, self.shape());
        let mut grads = Parameters::blank(executor, 2 * self.op.channels);
        let (op, view) = (&self.op, grads.view_mut());
        let y_and_dx = self.shortcut.then_some((&y, &mut dx));
        batch_norm::backward(executor, op, self.n, &x, params.view(), &saved, &mut scratch, &mut dy, y_and_dx, view)?;
        let first = read_activation(executor, self.shape(), &dy)?;
        if self.shortcut {
            return Ok(vec![grads.read(), read_activation(executor, self.shape(), &dx)?, first]);
        }
        Ok(vec![grads.read(), first])
    }
}
