//! Batch norm as an [`Op`].

use super::ops::{Op, MARGIN};
use super::{activation, blank_activation, garbage, read_activation, Parameters, Random};
use resnet_ops::batch_norm::{self, Backward, BatchNorm, ForwardEval, ForwardTrain, Moments, Statistics};
use resnet_ops::{Buffer, DType, Executor, Result};

/// Batch norm; inputs: parameters, x and, if there is one, the shortcut.
#[derive(Debug)]
pub struct Normalisation {
    pub n: usize,
    pub op: BatchNorm,
    pub shortcut: bool,
    /// The batch's, or running ones that the test makes up.
    pub statistics: Statistics,
}

impl Normalisation {
    /// A norm in training.
    pub fn new(n: usize, op: BatchNorm, shortcut: bool) -> Self {
        Self { n, op, shortcut, statistics: Statistics::Batch }
    }

    pub fn shape(&self) -> [usize; 4] {
        [self.n, self.op.channels, self.op.size[0], self.op.size[1]]
    }

    /// Running means and variances, for a norm that has them.
    pub fn running(&self) -> Vec<f64> {
        let channels = 0..self.op.channels;
        let means = channels.clone().map(|channel| channel as f64 % 5.0 / 2.0 - 1.0);
        means.chain(channels.map(|channel| 0.25 + channel as f64 % 7.0 / 4.0)).collect()
    }

    fn shortcut(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Option<Buffer>> {
        inputs.get(2).map(|values| activation(executor, self.shape(), values)).transpose()
    }

    /// Output and saved statistics.
    pub fn outputs(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<(Buffer, Buffer)> {
        match self.statistics {
            Statistics::Batch => self.train(executor, inputs),
            Statistics::Running => {
                let running = Parameters::new(executor, &self.running());
                let mut saved = garbage(executor, executor.parameter_dtype(), self.op.saved_len());
                batch_norm::save_running(executor, &self.op, running.view(), &mut saved)?;
                Ok((self.eval_to(executor, inputs, &running)?, saved))
            }
        }
    }

    /// Output and saved statistics with the batch's.
    pub fn train(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<(Buffer, Buffer)> {
        let (x, shortcut) = (activation(executor, self.shape(), &inputs[1])?, self.shortcut(executor, inputs)?);
        let params = Parameters::new(executor, &inputs[0]);
        let mut saved = garbage(executor, executor.parameter_dtype(), self.op.saved_len());
        let mut moments = garbage(executor, DType::F64, self.op.sums_len(self.n));
        let mut y = blank_activation(executor, self.shape());
        let target = Moments { op: &self.op, sums: &mut moments, saved: &mut saved };
        batch_norm::moments(executor, self.n, &x, target)?;
        let call = ForwardTrain {
            n: self.n,
            x: &x,
            shortcut: shortcut.as_ref(),
            params: params.view(),
            moments: &moments,
            saved: &mut saved,
            y: &mut y,
        };
        batch_norm::forward_train(executor, &self.op, call)?;
        Ok((y, saved))
    }

    /// The output with given running statistics.
    pub fn eval(&self, executor: &Executor, inputs: &[Vec<f64>], running: &[f64]) -> Result<Vec<f64>> {
        let y = self.eval_to(executor, inputs, &Parameters::new(executor, running))?;
        read_activation(executor, self.shape(), &y)
    }

    fn eval_to(&self, executor: &Executor, inputs: &[Vec<f64>], running: &Parameters) -> Result<Buffer> {
        let (x, shortcut) = (activation(executor, self.shape(), &inputs[1])?, self.shortcut(executor, inputs)?);
        let params = Parameters::new(executor, &inputs[0]);
        let mut y = blank_activation(executor, self.shape());
        let (shortcut, params, running) = (shortcut.as_ref(), params.view(), running.view());
        let call = ForwardEval { n: self.n, x: &x, shortcut, params, running, y: &mut y };
        batch_norm::forward_eval(executor, &self.op, call)?;
        Ok(y)
    }
}

impl Op for Normalisation {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        let (channels, pixels) = (self.op.channels, self.op.size[0] * self.op.size[1]);
        let linear = Self { op: BatchNorm { relu: false, ..self.op.clone() }, ..*self };
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
        read_activation(executor, self.shape(), &self.outputs(executor, inputs)?.0)
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let (y, saved) = self.outputs(executor, inputs)?;
        let x = activation(executor, self.shape(), &inputs[1])?;
        let params = Parameters::new(executor, &inputs[0]);
        let mut sums = garbage(executor, DType::F64, self.op.sums_len(self.n));
        let mut dy = activation(executor, self.shape(), dy)?;
        let mut dx = blank_activation(executor, self.shape());
        let mut grads = Parameters::blank(executor, 2 * self.op.channels);
        let call = Backward {
            n: self.n,
            x: &x,
            y: self.shortcut.then_some(&y),
            params: params.view(),
            saved: &saved,
            sums: &mut sums,
            dy: &mut dy,
            dx: self.shortcut.then_some(&mut dx),
            grads: grads.view_mut(),
            statistics: self.statistics,
        };
        batch_norm::backward(executor, &self.op, call)?;
        let first = read_activation(executor, self.shape(), &dy)?;
        if self.shortcut {
            return Ok(vec![grads.read(), read_activation(executor, self.shape(), &dx)?, first]);
        }
        Ok(vec![grads.read(), first])
    }
}
