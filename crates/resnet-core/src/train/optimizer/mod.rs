//! Optimisers: settings, what each keeps between steps, and groups of parameters with settings of their own.
//!
//! An optimiser is a variant of [`Optimizer`] and a file here, which says what it keeps and calls its op; the arithmetic is an op of
//! resnet-ops, on flat storage.

mod adam;
mod group;
mod lars;
mod lion;
mod muon;
mod rmsprop;
mod sgd;

pub use group::{Group, Kind, ParameterSettings};
pub use lars::Lars;
pub use muon::{AdjustLr, Muon};
pub use resnet_ops::adam::Adam;
pub use resnet_ops::lion::Lion;
pub use resnet_ops::rmsprop::RmsProp;
pub use resnet_ops::sgd::Sgd;

use super::clip::{norm, Clip};
use super::ema::Ema;
use crate::error::{Code, Error, Result};
use crate::model::params::Params;
use crate::plan::{add_place, Mode};
use crate::weights::{copied, Weights};
use group::Part;
use resnet_ops::{update, Buffer, Executor, ViewMut};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// An optimiser with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(#[serde(with = "sgd::Fields")] Sgd),
    /// Adam, weight decay in the gradient.
    Adam(#[serde(serialize_with = "adam::described", deserialize_with = "adam::coupled")] Adam),
    /// Adam, weight decay apart from it.
    AdamW(#[serde(serialize_with = "adam::described", deserialize_with = "adam::decoupled")] Adam),
    /// RMSprop.
    RmsProp(#[serde(with = "rmsprop::Fields")] RmsProp),
    /// Lion.
    Lion(#[serde(with = "lion::Fields")] Lion),
    /// LARS.
    Lars(Lars),
    /// Muon.
    Muon(Muon),
}

/// What an optimiser keeps between steps: buffers as long as the parameters, each with its name. They come with the first step.
#[derive(Default)]
pub struct OptimizerState {
    buffers: Vec<(&'static str, Buffer)>,
    /// Updates made with them.
    pub steps: u64,
}

/// An optimiser at work: its settings, those of groups, and what it keeps.
pub struct Updater {
    /// Learning rate of the next update.
    pub lr: f64,
    optimizer: Optimizer,
    settings: ParameterSettings,
    clip: Option<Clip>,
    /// Whether the norm of the gradients is wanted of each update.
    pub measures_norm: bool,
    /// Norm of the last update's gradients, before clipping.
    pub norm: Option<f64>,
    /// What it keeps.
    pub state: OptimizerState,
    /// The parameters, cut where settings change; nothing before the first step.
    parts: Option<Vec<Part>>,
    /// The plan mode of training steps; it says what is frozen.
    mode: Mode,
}

/// Parameters that are updated before their average is: what is read and written of them stays in the caches of two cores.
const BLOCK: usize = 128 * 1024;

impl Optimizer {
    /// The optimiser of a description such as
    /// `{"type":"sgd","lr":0.1,"momentum":0,"nesterov":false,"weight_decay":0}`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("optimizer: {error}")))
    }

    /// Learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.lr,
            Self::Adam(adam) | Self::AdamW(adam) => adam.lr,
            Self::RmsProp(rmsprop) => rmsprop.lr,
            Self::Lion(lion) => lion.lr,
            Self::Lars(lars) => lars.lr,
            Self::Muon(muon) => muon.lr,
        }
    }

    /// Weight decay.
    fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.weight_decay,
            Self::Adam(adam) | Self::AdamW(adam) => adam.weight_decay,
            Self::RmsProp(rmsprop) => rmsprop.weight_decay,
            Self::Lion(lion) => lion.weight_decay,
            Self::Lars(lars) => lars.weight_decay,
            Self::Muon(muon) => muon.weight_decay,
        }
    }

    /// The names of the buffers that it keeps.
    fn kept(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd(sgd) => sgd::kept(sgd),
            Self::Adam(_) | Self::AdamW(_) => adam::KEPT,
            Self::RmsProp(rmsprop) => rmsprop::kept(rmsprop),
            Self::Lion(_) => lion::KEPT,
            Self::Lars(lars) => lars::kept(lars),
            Self::Muon(_) => muon::KEPT,
        }
    }

    /// Whether it looks at each weight as a whole.
    fn is_by_matrix(&self) -> bool {
        match self {
            Self::Lars(_) | Self::Muon(_) => true,
            Self::Sgd(_) | Self::Adam(_) | Self::AdamW(_) | Self::RmsProp(_) | Self::Lion(_) => false,
        }
    }

    /// The same with another learning rate and weight decay.
    pub fn with(&self, lr: f64, weight_decay: f64) -> Self {
        match self {
            Self::Sgd(sgd) => Self::Sgd(sgd::with(sgd, lr, weight_decay)),
            Self::Adam(adam) => Self::Adam(adam::with(adam, lr, weight_decay)),
            Self::AdamW(adam) => Self::AdamW(adam::with(adam, lr, weight_decay)),
            Self::RmsProp(rmsprop) => Self::RmsProp(rmsprop::with(rmsprop, lr, weight_decay)),
            Self::Lion(lion) => Self::Lion(lion::with(lion, lr, weight_decay)),
            Self::Lars(lars) => Self::Lars(lars::with(lars, lr, weight_decay)),
            Self::Muon(muon) => Self::Muon(muon::with(muon, lr, weight_decay)),
        }
    }

    /// One update; `rows` are those of the matrix that the parameters are, if the optimiser has asked for that.
    fn update(&self, executor: &Executor, rows: Option<usize>, update: update::Update) -> Result<()> {
        match self {
            Self::Sgd(sgd) => sgd::update(sgd, executor, update),
            Self::Adam(adam) | Self::AdamW(adam) => adam::update(adam, executor, update),
            Self::RmsProp(rmsprop) => rmsprop::update(rmsprop, executor, update),
            Self::Lion(lion) => lion::update(lion, executor, update),
            Self::Lars(lars) => lars::update(lars, executor, rows.is_some(), update),
            Self::Muon(muon) => muon::update(muon, executor, rows, update),
        }
    }
}

impl Updater {
    /// Nothing is kept yet.
    pub fn new(optimizer: Optimizer, settings: ParameterSettings, clip: Option<Clip>) -> Self {
        Self {
            lr: optimizer.lr(),
            optimizer,
            settings,
            clip,
            measures_norm: false,
            norm: None,
            state: OptimizerState::default(),
            parts: None,
            mode: Mode::TRAIN,
        }
    }

    /// Looks at the network's parameters; only the first time does it anything.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if groups do not fit the network.
    pub fn look_at(&mut self, params: &Params) -> Result<()> {
        if self.parts.is_none() {
            let parts = self.settings.parts(params, &self.optimizer)?;
            self.mode.frozen = self.settings.frozen(params, &parts);
            self.parts = Some(parts);
        }
        Ok(())
    }

    /// The plan mode of training steps.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Looks at the network's parameters and makes room for what the optimiser keeps; only the first time does it anything.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if groups do not fit the network; `ERR_OUT_OF_MEMORY`.
    pub fn reserve(&mut self, executor: &Executor, params: &Params) -> Result<()> {
        self.look_at(params)?;
        self.state.reserve(self.optimizer.kept(), executor, params.parameters_len())
    }

    /// How the update is to clip gradients. Measures their norm, if it is wanted.
    ///
    /// # Errors
    /// If the device fails.
    pub fn clip(&mut self, executor: &Executor, gradients: &Buffer) -> Result<update::Clip> {
        let trained = self.trained();
        let measure = || norm(executor, gradients, &trained);
        self.norm = self.measures_norm.then(measure).transpose()?;
        let clip = self.clip.map(|clip| clip.of(|| self.norm.map_or_else(measure, Ok))).transpose()?;
        Ok(clip.unwrap_or_default())
    }

    /// The parts of flat storage that updates change.
    fn trained(&self) -> Vec<Range<usize>> {
        let mut trained: Vec<Range<usize>> = Vec::new();
        for Part { range, .. } in self.parts.iter().flatten().filter(|part| !part.is_frozen()) {
            add_place(&mut trained, range);
        }
        trained
    }

    /// Moves all parameters but frozen ones by their gradients, and the average, if there is one, after them: block by block, while they are
    /// in a cache.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(
        &mut self,
        executor: &Executor,
        weights: &mut Weights,
        clip: update::Clip,
        mut ema: Option<&mut Ema>,
    ) -> Result<()> {
        let Self { lr, optimizer, state, parts, .. } = self;
        weights.version += 1;
        state.steps += 1;
        let step = state.steps;
        let averaged = ema.as_ref().map(|ema| ema.weight());
        for Part { range, lr_factor, weight_decay, rows } in parts.iter().flatten().filter(|part| !part.is_frozen()) {
            let optimizer = optimizer.with(*lr * lr_factor, *weight_decay);
            let is_cut = rows.is_none() && ema.is_some() && executor.gpu().is_none();
            for start in range.clone().step_by(if is_cut { BLOCK } else { range.len().max(1) }) {
                let range = start..if is_cut { range.end.min(start + BLOCK) } else { range.end };
                let update = update::Update {
                    params: weights.parameters.view_mut(range.clone()),
                    grads: weights.gradients.view(range.clone()),
                    kept: state.views(optimizer.kept(), &range),
                    clip,
                    step,
                    non_finite: &mut weights.non_finite,
                };
                optimizer.update(executor, *rows, update)?;
                if let (Some(ema), Some(weight)) = (&mut ema, averaged) {
                    ema.take(executor, weights, range, weight)?;
                }
            }
        }
        match (ema, averaged) {
            (Some(ema), Some(weight)) => ema.finish(executor, weights, weight),
            (None, _) | (_, None) => Ok(()),
        }
    }
}

impl OptimizerState {
    /// The same on another backend.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if a device fails.
    pub fn copied(&self, executor: &Executor) -> Result<Self> {
        let copy = |(name, buffer): &(&'static str, Buffer)| Ok((*name, copied(buffer, executor)?));
        Ok(Self { buffers: self.buffers.iter().map(copy).collect::<Result<_>>()?, steps: self.steps })
    }

    /// Its buffers by their names.
    pub fn buffers_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Buffer)> {
        self.buffers.iter_mut().map(|(name, buffer)| (*name, buffer))
    }

    /// Its memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|(_, buffer)| buffer.bytes()).sum()
    }

    /// Adds what is missing of these buffers, as zeros.
    fn reserve(&mut self, names: &[&'static str], executor: &Executor, len: usize) -> Result<()> {
        for &name in names {
            if !self.buffers.iter().any(|(there, _)| *there == name) {
                self.buffers.push((name, executor.zeros(executor.parameter_dtype(), len)?));
            }
        }
        Ok(())
    }

    /// The parts of the buffers with these names, in the names' order.
    fn views(&mut self, names: &[&'static str], range: &Range<usize>) -> Vec<ViewMut<'_>> {
        let order = |name: &str| names.iter().position(|wanted| *wanted == name);
        let mut found: Vec<_> =
            self.buffers.iter_mut().filter_map(|(name, buffer)| Some((order(name)?, buffer))).collect();
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, buffer)| buffer.view_mut(range.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
