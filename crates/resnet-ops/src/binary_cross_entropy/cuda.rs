//! Binary cross-entropy on a GPU.

use super::Problem;
use crate::buffer::bytes_of;
use crate::cuda::{arguments, padded, Address, Cuda};
use crate::outcome::Outcome;
use crate::{Buffer, DType, Result};
use std::mem::size_of;

/// Threads of a block.
const LOSS_THREADS: usize = 64;

pub(super) fn evaluate(
    cuda: &Cuda,
    problem: &Problem,
    logits: &Buffer,
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    let (n, classes) = (problem.samples(), problem.classes);
    let mut numbers = problem.wanted.to_vec();
    numbers.extend(problem.weights.as_flattened());
    // The sums of losses and right decisions, the pair of each sample; what codes ask for and the weights of classes; the codes.
    let numbers_start = (2 + 2 * n) * size_of::<f64>();
    let codes_start = numbers_start + numbers.len() * size_of::<f64>();
    let memory = cuda.scratch(codes_start + problem.codes.len())?;
    memory.write(numbers_start, bytes_of(&numbers))?;
    memory.write(codes_start, problem.codes)?;
    let sums = memory.address();
    let pairs = sums.plus(2, DType::F64);
    let numbers_there = pairs.plus(2 * n, DType::F64);
    let codes_there = numbers_there.plus(numbers.len(), DType::F64);
    let logits = cuda.real(logits, n * padded(classes))?;
    let dlogits = dlogits.map_or(Ok(Address::NULL), |dlogits| cuda.real(dlogits, n * padded(classes)))?;
    let (judge, share) = (i32::from(problem.judge), problem.share);
    let arguments = arguments![classes as i32, judge, share, logits, codes_there, numbers_there, pairs, dlogits];
    // SAFETY: there are `n` rows of logits, codes from 0 to 3 and gradients, four numbers and two for each class, and pairs.
    unsafe {
        cuda.launch_blocks("binary_cross_entropy", n, LOSS_THREADS, arguments)?;
        cuda.launch_blocks("binary_cross_entropy_sum", 1, LOSS_THREADS, arguments![n as i32, pairs, sums])?;
    }
    let mut read = [0; 2 * size_of::<f64>()];
    memory.read(0, &mut read)?;
    let [loss_sum, correct] =
        [0, 8].map(|start| f64::from_le_bytes(*read[start..].first_chunk().expect("eight bytes")));
    Ok(Outcome { loss_sum, correct: correct as usize, ..Outcome::default() })
}
