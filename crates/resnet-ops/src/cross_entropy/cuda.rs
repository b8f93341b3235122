//! Softmax cross-entropy on a GPU.

use super::Outcome;
use crate::cuda::{arguments, padded, Address, Cuda};
use crate::{Buffer, DType, Result};

/// Threads of a block.
const JUDGES: usize = 64;

pub(super) fn evaluate(
    cuda: &Cuda,
    classes: usize,
    logits: &Buffer,
    labels: &[u32],
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    let n = labels.len();
    // A launch needs a block.
    if n == 0 {
        return Ok(Outcome::default());
    }
    let mut on_device = Buffer::on_device(cuda, DType::U32, n)?;
    on_device.write(labels)?;
    let mut outcome = Buffer::on_device(cuda, DType::F64, outcome_len(n))?;
    enqueue(cuda, classes, logits, &on_device, n, dlogits, &mut outcome)?;
    let total = outcome.read(0..2)?;
    Ok(Outcome { loss: total[0], correct: total[1] as usize })
}

/// Elements (f64) of the outcome of `n` samples: the sums of losses and hits, then the pair of each sample.
pub(crate) fn outcome_len(n: usize) -> usize {
    2 + 2 * n
}

/// [`evaluate`] with labels (U32, each below `classes`) and outcome on the device: it allocates nothing and waits for nothing.
pub(crate) fn enqueue(
    cuda: &Cuda,
    classes: usize,
    logits: &Buffer,
    labels: &Buffer,
    n: usize,
    dlogits: Option<&mut Buffer>,
    outcome: &mut Buffer,
) -> Result<()> {
    let logits = cuda.real(logits, n * padded(classes))?;
    let dlogits = dlogits.map_or(Ok(Address::NULL), |dlogits| cuda.real(dlogits, n * padded(classes)))?;
    let labels = cuda.address(labels, DType::U32, n)?;
    let total = cuda.address(outcome, DType::F64, outcome_len(n))?;
    let (share, pairs) = (1.0 / n as f64, total.plus(2, DType::F64));
    let arguments = arguments![classes as i32, share, logits, labels, pairs, dlogits];
    // SAFETY: there are `n` rows of logits and gradients, labels below the number of classes, and pairs.
    unsafe {
        cuda.launch_blocks("cross_entropy", n, JUDGES, arguments)?;
        cuda.launch_blocks("cross_entropy_sum", 1, JUDGES, arguments![n as i32, pairs, total])
    }
}
