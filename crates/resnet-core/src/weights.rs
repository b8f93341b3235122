//! The flat storage of parameters, running statistics and gradients, in a backend's type.

use crate::error::Result;
use crate::model::params::{Parameter, Params, Role};
use crate::tensor::{Named, Tensor};
use resnet_ops::{Buffer, DType};
use std::ops::Range;

/// What lives longer than a step.
pub struct Weights {
    /// Learnt parameters, in canonical order.
    pub learnt: Buffer,
    /// Running statistics, in canonical order.
    pub running: Buffer,
    /// Gradients of the learnt parameters; empty before the first training step.
    pub gradients: Buffer,
    /// Counts the changes of parameters and running statistics.
    pub version: u64,
}

impl Weights {
    /// Weights with these values in a backend's type.
    pub fn new(dtype: DType, learnt: &[f32], running: &[f32]) -> Result<Self> {
        let (learnt, running) = (buffer(dtype, learnt)?, buffer(dtype, running)?);
        Ok(Self { learnt, running, gradients: Buffer::empty(), version: 0 })
    }

    /// Takes other values.
    pub fn set(&mut self, learnt: &[f32], running: &[f32]) -> Result<()> {
        let dtype = self.learnt.dtype();
        (self.learnt, self.running) = (buffer(dtype, learnt)?, buffer(dtype, running)?);
        self.version += 1;
        Ok(())
    }

    /// Learnt parameters and running statistics in f32.
    pub fn values(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((read_f32(&self.learnt)?, read_f32(&self.running)?))
    }

    /// Parameters and running statistics by name.
    pub fn named(&self, params: &Params) -> Result<Named<f64>> {
        let storage = |parameter: &Parameter| match parameter.role {
            Role::RunningMean | Role::RunningVar => &self.running,
            _ => &self.learnt,
        };
        params.in_order().into_iter().map(|parameter| entry(storage(parameter), parameter)).collect()
    }

    /// Gradients by name; none before the first training step.
    pub fn named_gradients(&self, params: &Params) -> Result<Named<f64>> {
        if self.gradients.is_empty() {
            return Ok(Vec::new());
        }
        params.learnt.iter().map(|parameter| entry(&self.gradients, parameter)).collect()
    }
}

fn entry(storage: &Buffer, parameter: &Parameter) -> Result<(String, Tensor<f64>)> {
    let data = read_f64(storage, parameter.range.clone())?;
    Ok((parameter.name.clone(), Tensor { data, shape: parameter.shape.clone() }))
}

fn buffer(dtype: DType, values: &[f32]) -> Result<Buffer> {
    Ok(match dtype {
        DType::F64 => Buffer::from_slice(&values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>())?,
        _ => Buffer::from_slice(values)?,
    })
}

/// The values of a part of a buffer, as f64.
pub(crate) fn read_f64(buffer: &Buffer, range: Range<usize>) -> Result<Vec<f64>> {
    Ok(match buffer.dtype() {
        DType::F64 => buffer.slice::<f64>()?[range].to_vec(),
        _ => buffer.slice::<f32>()?[range].iter().map(|&value| f64::from(value)).collect(),
    })
}

fn read_f32(buffer: &Buffer) -> Result<Vec<f32>> {
    Ok(match buffer.dtype() {
        DType::F32 => buffer.slice::<f32>()?.to_vec(),
        _ => buffer.slice::<f64>()?.iter().map(|&value| value as f32).collect(),
    })
}
