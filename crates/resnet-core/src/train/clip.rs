//! Clipping of gradients, as PyTorch's `clip_grad_norm_` and `clip_grad_value_` define it. The gradients stay as they are: the update
//! clips what it reads of them.

use crate::error::{Code, Error, Result};
use resnet_ops::sum_of_squares::sum_of_squares;
use resnet_ops::{update, Buffer, Executor};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What gradients are kept within.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clip {
    /// The norm of all that are not frozen together, to which they are scaled down if it is larger.
    Norm(f64),
    /// The distance of each from 0.
    Value(f64),
}

/// PyTorch's, beside the norm that is divided by.
const EPS: f64 = 1e-6;

impl Clip {
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the bound is not a number above 0.
    pub fn check(&self) -> Result<()> {
        let (parameter, bound) = match *self {
            Self::Norm(bound) => ("clipNorm", bound),
            Self::Value(bound) => ("clipValue", bound),
        };
        match bound.is_finite() && bound > 0.0 {
            true => Ok(()),
            false => Err(Error::expected(Code::InvalidArgument, parameter, "a number above 0", bound)),
        }
    }

    /// What the update is to make of gradients; `norm` gives theirs.
    ///
    /// # Errors
    /// If the norm is asked for and there is none.
    pub fn of(self, norm: impl FnOnce() -> Result<f64>) -> Result<update::Clip> {
        let unclipped = update::Clip::default();
        match self {
            Self::Value(limit) => Ok(update::Clip { limit, ..unclipped }),
            Self::Norm(most) => {
                // Written so that a norm that is no number makes gradients that are none.
                let scale = most / (norm()? + EPS);
                Ok(update::Clip { scale: if scale > 1.0 { 1.0 } else { scale }, ..unclipped })
            }
        }
    }
}

/// The norm of all gradients in these parts together.
///
/// # Errors
/// If the device fails.
pub fn norm(executor: &Executor, gradients: &Buffer, parts: &[Range<usize>]) -> Result<f64> {
    let squares = parts.iter().map(|range| Ok(sum_of_squares(executor, &gradients.view(range.clone()))?));
    Ok(squares.sum::<Result<f64>>()?.sqrt())
}
