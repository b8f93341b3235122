//! Batch norm and max-pooling in one as an [`Op`].

use super::normalisation::Normalisation;
use super::ops::{Op, MARGIN};
use super::pooling::MaxPooling;
use super::{activation, blank_activation, buffer, garbage, read_activation, Parameters, Random};
use resnet_ops::batch_norm::{self, BatchNorm, Moments};
use resnet_ops::norm_pool::{self, Backward, ForwardTrain, NormPool};
use resnet_ops::{Buffer, DType, Executor, Result};

/// Inputs: parameters and x.
#[derive(Debug)]
pub struct NormPooling {
    pub n: usize,
    pub op: NormPool,
}

impl NormPooling {
    fn norm(&self) -> Normalisation {
        Normalisation::new(self.n, self.op.norm.clone(), false)
    }

    fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.op.pool.output();
        [self.n, self.op.pool.channels, height, width]
    }

    /// Output, statistics and places of maxima.
    fn outputs(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<[Buffer; 3]> {
        let ([n, c, h, w], norm) = (self.output_shape(), &self.op.norm);
        let (x, params) =
            (activation(executor, self.norm().shape(), &inputs[1])?, Parameters::new(executor, &inputs[0]));
        let mut y = blank_activation(executor, self.output_shape());
        let mut argmax = buffer(executor, DType::U8, &vec![255.0; executor.activation_len(n, c, h, w) + 37]);
        let mut saved = garbage(executor, executor.parameter_dtype(), norm.saved_len());
        let mut moments = garbage(executor, DType::F64, norm.sums_len(n));
        batch_norm::moments(executor, n, &x, Moments { op: norm, sums: &mut moments, saved: &mut saved })?;
        let call = ForwardTrain {
            n,
            x: &x,
            params: params.view(),
            moments: &moments,
            saved: &mut saved,
            y: &mut y,
            argmax: &mut argmax,
        };
        norm_pool::forward_train(executor, &self.op, call)?;
        Ok([y, saved, argmax])
    }
}

impl Op for NormPooling {
    /// Values that differ, so that no maximum is one of two.
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        let linear = Normalisation { op: BatchNorm { relu: false, ..self.op.norm.clone() }, ..self.norm() };
        loop {
            let params = self.norm().inputs(random).swap_remove(0);
            let x = MaxPooling { n: self.n, op: self.op.pool.clone() }.inputs(random).swap_remove(0);
            let inputs = vec![params, x];
            let sums = linear.forward(&Executor::ReferenceF64, &inputs).unwrap();
            if !self.op.norm.relu || sums.iter().all(|sum| sum.abs() > MARGIN) {
                return inputs;
            }
        }
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        let [y, ..] = self.outputs(executor, inputs)?;
        read_activation(executor, self.output_shape(), &y)
    }

    fn backward(&self, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64], _: bool) -> Result<Vec<Vec<f64>>> {
        let [_, saved, argmax] = self.outputs(executor, inputs)?;
        let (n, shape) = (self.n, self.norm().shape());
        let (x, params) = (activation(executor, shape, &inputs[1])?, Parameters::new(executor, &inputs[0]));
        let dy = activation(executor, self.output_shape(), dy)?;
        let mut sums = garbage(executor, DType::F64, self.op.norm.sums_len(n));
        let mut dx = blank_activation(executor, shape);
        let mut grads = Parameters::blank(executor, 2 * self.op.norm.channels);
        let call = Backward {
            n,
            x: &x,
            params: params.view(),
            saved: &saved,
            argmax: &argmax,
            sums: &mut sums,
            dy: &dy,
            dx: &mut dx,
            grads: grads.view_mut(),
        };
        norm_pool::backward(executor, &self.op, call)?;
        Ok(vec![grads.read(), read_activation(executor, shape, &dx)?])
    }
}
