//! Optimisers: settings, what each keeps between steps, and groups of parameters with settings of their own.
//!
//! An optimiser is a variant of [`Optimizer`] and a file here, which says what it keeps and calls its op; the arithmetic is an op of
//! resnet-ops, on flat storage.

mod group;
mod sgd;

pub use group::{Group, Members};
pub use resnet_ops::sgd::Sgd;

use crate::error::{Code, Error, Result};
use crate::model::params::Params;
use crate::weights::{copied, Weights};
use resnet_ops::{Buffer, Executor, View, ViewMut};
use serde::Deserialize;
use std::ops::Range;

/// An optimiser with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(#[serde(with = "sgd::Fields")] Sgd),
}

/// What an optimiser keeps between steps: buffers as long as the parameters, each with its name. They come with the first step.
#[derive(Default)]
pub struct State(Vec<(&'static str, Buffer)>);

/// An optimiser at work: its settings, those of groups, and what it keeps.
pub struct Updater {
    /// Its settings.
    pub optimizer: Optimizer,
    groups: Vec<Group>,
    /// What it keeps.
    pub state: State,
}

/// Some parameters, next to each other in flat storage, with their part of everything that is as long.
struct Part<'a> {
    parameters: ViewMut<'a>,
    gradients: View<'a>,
    /// In the order of [`Optimizer::kept`].
    state: Vec<ViewMut<'a>>,
    /// See [`Weights::non_finite`].
    non_finite: &'a mut Buffer,
}

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
        }
    }

    /// The names of the buffers that it keeps.
    fn kept(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd(sgd) => sgd::kept(sgd),
        }
    }

    /// The same with its learning rate multiplied by a factor, and with another weight decay if one is given.
    pub fn with(&self, lr_factor: f64, weight_decay: Option<f64>) -> Self {
        match self {
            Self::Sgd(sgd) => Self::Sgd(sgd::with(sgd, lr_factor, weight_decay)),
        }
    }

    fn update(&self, executor: &Executor, part: Part) -> Result<()> {
        match self {
            Self::Sgd(sgd) => sgd::update(sgd, executor, part),
        }
    }
}

impl Updater {
    /// Nothing is kept yet.
    pub fn new(optimizer: Optimizer, groups: Vec<Group>) -> Self {
        Self { optimizer, groups, state: State::default() }
    }

    /// Makes room for what the optimiser keeps; only the first time does it anything.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn reserve(&mut self, executor: &Executor, params: &Params) -> Result<()> {
        self.state.reserve(self.optimizer.kept(), executor, params.parameters_len())
    }

    /// Moves all parameters but frozen ones by their gradients.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self, executor: &Executor, params: &Params, weights: &mut Weights) -> Result<()> {
        let Self { optimizer, groups, state } = self;
        weights.version += 1;
        for (range, group) in group::parts(params, groups) {
            let settings = match group {
                Some(group) if group.lr_factor == 0.0 => continue,
                Some(group) => optimizer.with(group.lr_factor, group.weight_decay),
                None => *optimizer,
            };
            let part = Part {
                parameters: weights.parameters.view_mut(range.clone()),
                gradients: weights.gradients.view(range.clone()),
                state: state.views(optimizer.kept(), &range),
                non_finite: &mut weights.non_finite,
            };
            settings.update(executor, part)?;
        }
        Ok(())
    }
}

impl State {
    /// The same on another backend.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if a device fails.
    pub fn copied(&self, executor: &Executor) -> Result<Self> {
        let copy = |(name, buffer): &(&'static str, Buffer)| Ok((*name, copied(buffer, executor)?));
        Ok(Self(self.0.iter().map(copy).collect::<Result<_>>()?))
    }

    /// Adds what is missing of these buffers, as zeros.
    fn reserve(&mut self, names: &[&'static str], executor: &Executor, len: usize) -> Result<()> {
        for &name in names {
            if !self.0.iter().any(|(there, _)| *there == name) {
                self.0.push((name, executor.zeros(executor.parameter_dtype(), len)?));
            }
        }
        Ok(())
    }

    /// The parts of the buffers with these names, in the names' order.
    fn views(&mut self, names: &[&'static str], range: &Range<usize>) -> Vec<ViewMut<'_>> {
        let order = |name: &str| names.iter().position(|wanted| *wanted == name);
        let mut found: Vec<_> = self.0.iter_mut().filter_map(|(name, buffer)| Some((order(name)?, buffer))).collect();
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, buffer)| buffer.view_mut(range.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_the_settings_to_the_last_bit() {
        // Sums and products of such numbers have 17 digits.
        for (lr, weight_decay) in
            [(0.1, 0.0), (0.1 + 0.2, 1e-4 * 3.0), (1.0 / 3.0 * 1e-300, 5e-324), (1e22 / 7.0, 0.7 * 0.1)]
        {
            let json =
                format!(r#"{{"type":"sgd","lr":{lr},"momentum":0,"nesterov":false,"weight_decay":{weight_decay}}}"#);
            let expected = Sgd { lr, momentum: 0.0, nesterov: false, weight_decay };
            assert_eq!(Optimizer::from_json(&json).unwrap(), Optimizer::Sgd(expected));
        }
    }

    #[test]
    fn what_is_no_optimiser_is_refused() {
        for json in [r#"{"type":"adam","lr":0.1}"#, r#"{"type":"sgd","lr":0.1}"#, r#"{"lr":0.1}"#, "sgd"] {
            let error = Optimizer::from_json(json).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.starts_with("optimizer: "), "{error}");
        }
    }
}
