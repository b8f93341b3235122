//! Softmax cross-entropy on a GPU.

use super::Problem;
use crate::buffer::bytes_of;
use crate::cuda::{arguments, padded, Address, Cuda};
use crate::outcome::Outcome;
use crate::{Buffer, DType, Result};
use std::mem::{size_of, size_of_val};

/// Threads of a block.
const LOSS_THREADS: usize = 64;

pub(super) fn evaluate(
    cuda: &Cuda,
    problem: &Problem,
    logits: &Buffer,
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    let &Problem { classes, targets, spread, gamma, share } = problem;
    let n = targets.len();
    // Of each sample two, then those that all samples have.
    let mut weights: Vec<f64> = targets.iter().flat_map(|target| target.weights).collect();
    weights.extend(spread);
    let labels: Vec<u32> = targets.iter().flat_map(|target| target.classes).collect();
    // The sums of losses and hits, the pair of each sample; of each its two weights, those of all classes, the two classes of each.
    let (sums_len, pairs_len) = (2 * size_of::<f64>(), 2 * n * size_of::<f64>());
    let weights_start = sums_len + pairs_len;
    let labels_start = weights_start + size_of_val(&weights[..]);
    let memory = cuda.scratch(labels_start + size_of_val(&labels[..]))?;
    memory.write(weights_start, bytes_of(&weights))?;
    memory.write(labels_start, bytes_of(&labels))?;
    let sums = memory.address();
    let pairs = sums.plus(2, DType::F64);
    let weights_there = pairs.plus(2 * n, DType::F64);
    let spread_there = if spread.is_empty() { Address::NULL } else { weights_there.plus(2 * n, DType::F64) };
    let labels_there = weights_there.plus(weights.len(), DType::F64);
    let logits = cuda.real(logits, n * padded(classes))?;
    let dlogits = dlogits.map_or(Ok(Address::NULL), |dlogits| cuda.real(dlogits, n * padded(classes)))?;
    let arguments =
        arguments![classes as i32, share, gamma, logits, labels_there, weights_there, spread_there, pairs, dlogits];
    // SAFETY: there are `n` rows of logits and gradients, two weights and two labels below the number of classes for each, and pairs;
    // `spread_there` is null or has a weight for each class.
    unsafe {
        cuda.launch_blocks("cross_entropy", n, LOSS_THREADS, arguments)?;
        cuda.launch_blocks("cross_entropy_sum", 1, LOSS_THREADS, arguments![n as i32, pairs, sums])?;
    }
    let mut read = [0; 2 * size_of::<f64>()];
    memory.read(0, &mut read)?;
    let [loss_sum, correct] =
        [0, 8].map(|start| f64::from_le_bytes(*read[start..].first_chunk().expect("eight bytes")));
    Ok(Outcome { loss_sum, correct: correct as usize, ..Outcome::default() })
}
