//! Muon (Jordan et al., 2024: Muon, an optimizer for hidden layers in neural networks), for one matrix of parameters, as PyTorch defines
//! it, but that the iteration runs in the parameters' type.
//!
//! With G the clipped gradient: M = momentum·M + G; U = G + momentum·M with Nesterov, else M; O = five steps of Newton-Schulz from U;
//! P = P − lr·weight_decay·P − lr·s·O, where s is √max(1, rows / columns), or 0.2·√max(rows, columns) to match AdamW's steps.
//!
//! A step of Newton-Schulz takes X, which begins as U / ‖U‖ with no more rows than columns, to a·X + (b·A + c·A²)·X, where A = X·Xᵀ: its
//! singular values come near 1.

use crate::executor::by_backend;
use crate::update::Update;
use crate::{Executor, Result};
use candle_core::bail;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// a, b and c: steep at 0, so that small singular values grow fast.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
/// Steps of Newton-Schulz.
const STEPS: usize = 5;
/// The least norm that is divided by.
const EPS: f64 = 1e-7;

/// The settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Learning rate.
    pub lr: f64,
    /// Weight of the previous velocity.
    pub momentum: f64,
    /// Whether to look ahead along the new velocity.
    pub nesterov: bool,
    /// Weight of the parameters in the step.
    pub weight_decay: f64,
    /// Whether steps are about as long as AdamW's, whatever the matrix's sizes.
    pub match_adamw: bool,
}

/// Updates a matrix of so many rows, one after the other, and its velocity.
///
/// # Errors
/// If the parts differ in length or are no such matrix; if a buffer is of another type, too short or on another device; if there is no
/// memory for the matrices of the iteration; if the device fails.
pub fn step(executor: &Executor, op: &Muon, rows: usize, call: Update) -> Result<()> {
    call.check(1)?;
    if rows == 0 || !call.params.len().is_multiple_of(rows) {
        bail!("{} parameters are no matrix of {rows} rows", call.params.len());
    }
    let columns = call.params.len() / rows;
    by_backend!(executor, step(op, [rows, columns], call))
}

impl Muon {
    /// What O is multiplied by.
    fn size(&self, [rows, columns]: [usize; 2]) -> f64 {
        let (rows, columns) = (rows as f64, columns as f64);
        self.lr * if self.match_adamw { 0.2 * rows.max(columns).sqrt() } else { (rows / columns).max(1.0).sqrt() }
    }

    /// What P is multiplied by.
    fn shrink(&self) -> f64 {
        1.0 - self.lr * self.weight_decay
    }
}
