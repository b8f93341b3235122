//! The flat storage of parameters, running statistics and gradients, in a backend's type.

use crate::error::{named, Code, Error, Result};
use crate::model::params::{Parameter, Params, Role};
use crate::plan::Frozen;
use crate::tensor::{Named, Tensor};
use resnet_ops::{Buffer, DType, Executor, Real};
use std::borrow::Cow;

/// What lives longer than a step.
pub struct Weights {
    /// Parameters, in canonical order.
    pub parameters: Buffer,
    /// Running statistics, in canonical order.
    pub running: Buffer,
    /// Gradients of the parameters; empty before the first training step.
    pub gradients: Buffer,
    /// Whether an update has made some of them NaN or infinite; see [`resnet_ops::finite`].
    pub non_finite: Buffer,
    /// Counts the changes of parameters and running statistics since they are in memory.
    pub version: u64,
    /// Updates by an optimiser that have been made on them: `num_batches_tracked` in files, and what dropout masks are drawn by.
    pub updates: u64,
    /// Batches since the last of them, whose gradients the next one will use: what dropout masks are also drawn by.
    pub batch: u64,
}

impl Weights {
    /// Weights with these values in a backend's type.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if the device fails.
    pub fn new(executor: &Executor, parameters: &[f32], running: &[f32]) -> Result<Self> {
        let dtype = executor.parameter_dtype();
        let (parameters, running) = (executor.upload(dtype, parameters)?, executor.upload(dtype, running)?);
        let non_finite = executor.zeros(dtype, 1)?;
        Ok(Self { parameters, running, gradients: Buffer::empty(), non_finite, version: 0, updates: 0, batch: 0 })
    }

    /// The same on another backend.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if a device fails.
    pub fn copied(&self, executor: &Executor) -> Result<Self> {
        let Self { parameters, running, gradients, non_finite, version, updates, batch } = self;
        let (parameters, running) = (copied(parameters, executor)?, copied(running, executor)?);
        let (gradients, non_finite) = (copied(gradients, executor)?, copied(non_finite, executor)?);
        let (version, updates, batch) = (*version, *updates, *batch);
        Ok(Self { parameters, running, gradients, non_finite, version, updates, batch })
    }

    /// The memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes() + self.running.bytes() + self.gradients.bytes()
    }

    /// Makes room for gradients.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn reserve_gradients(&mut self, executor: &Executor) -> Result<()> {
        if self.gradients.is_empty() {
            self.gradients = executor.zeros(executor.parameter_dtype(), self.parameters.len())?;
        }
        Ok(())
    }

    /// Takes other values, which are finite.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set(&mut self, parameters: &[f32], running: &[f32]) -> Result<()> {
        // First: what was made of the old values does not fit, even if only some of the new ones get there.
        self.version += 1;
        self.parameters.write(parameters)?;
        self.running.write(running)?;
        Ok(self.non_finite.write(&[0f32])?)
    }

    /// Refuses weights that an update has made NaN or infinite. On a GPU it waits for the update.
    ///
    /// # Errors
    /// `ERR_NON_FINITE_WEIGHTS` names the first, see [`check_finite`]; if the device fails.
    pub fn check_updated(&self, params: &Params) -> Result<()> {
        let mut noted = [0f32];
        self.non_finite.read_to(0..1, &mut noted)?;
        match noted {
            [0.0] => Ok(()),
            [_] => check_finite(params, &self.values()?),
        }
    }

    /// Parameters and running statistics in f32; without a copy where they are that on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn values(&self) -> Result<[Cow<'_, [f32]>; 2]> {
        Ok([values_of(&self.parameters)?, values_of(&self.running)?])
    }

    /// Parameters and running statistics by name.
    ///
    /// # Errors
    /// If the device fails.
    pub fn named<V: Real>(&self, params: &Params) -> Result<Named<V>> {
        let storage = |parameter: &Parameter| match parameter.role {
            Role::RunningMean | Role::RunningVar => &self.running,
            Role::Weight | Role::Bias | Role::NormWeight | Role::NormBias => &self.parameters,
        };
        params.in_order().into_iter().map(|parameter| entry(storage(parameter), parameter)).collect()
    }

    /// Gradients by name, but those of frozen parameters; none before the first training step.
    ///
    /// # Errors
    /// If the device fails.
    pub fn named_gradients<V: Real>(&self, params: &Params, frozen: &Frozen) -> Result<Named<V>> {
        if self.gradients.is_empty() {
            return Ok(Vec::new());
        }
        let trained = params.parameters.iter().filter(|parameter| !frozen.has(&parameter.range));
        trained.map(|parameter| entry(&self.gradients, parameter)).collect()
    }
}

/// Refuses parameters and running statistics, as [`Weights::values`] gives them, that are NaN or infinite.
///
/// # Errors
/// `ERR_NON_FINITE_WEIGHTS` names the first in canonical order.
pub fn check_finite(params: &Params, [parameters, running]: &[Cow<[f32]>; 2]) -> Result<()> {
    let is_finite = |parameter: &&Parameter| {
        let values = parameter.values(parameters, running);
        // As numbers the bits of infinity and NaN are the largest; a maximum is quicker than leaving at the first.
        let largest = values.iter().fold(0, |largest, value| value.abs().to_bits().max(largest));
        largest < f32::INFINITY.to_bits()
    };
    match params.in_order().into_iter().find(|parameter| !is_finite(parameter)) {
        None => Ok(()),
        Some(parameter) => {
            let values = parameter.values(parameters, running);
            let found = values.iter().find(|value| !value.is_finite()).map_or(f64::NAN, |&value| value.into());
            let got = named(found);
            Err(Error::expected(Code::NonFiniteWeights, &parameter.name, "finite numbers", got))
        }
    }
}

/// Storage in the type of parameters, on another backend.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`; if a device fails.
pub fn copied(buffer: &Buffer, executor: &Executor) -> Result<Buffer> {
    let dtype = executor.parameter_dtype();
    if buffer.dtype() == DType::F64 {
        return Ok(executor.upload(dtype, &buffer.read::<f64>(0..buffer.len())?)?);
    }
    Ok(executor.upload(dtype, &values_of(buffer)?)?)
}

fn entry<V: Real>(storage: &Buffer, parameter: &Parameter) -> Result<(String, Tensor<V>)> {
    let data = storage.read(parameter.range.clone())?;
    Ok((parameter.name.clone(), Tensor { data, shape: parameter.shape.clone() }))
}

/// The values in f32; without a copy where they are that on the host.
///
/// # Errors
/// If the device fails.
pub fn values_of(buffer: &Buffer) -> Result<Cow<'_, [f32]>> {
    match buffer.slice::<f32>() {
        Ok(values) => Ok(values.into()),
        // On a GPU, or in f64.
        Err(_) => Ok(buffer.read::<f32>(0..buffer.len())?.into()),
    }
}
