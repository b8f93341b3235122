//! Makes one call of the calls that a GPU does for all layers in one launch.

use super::ops::{ConvCall, Instruction, NormCall, Updating};

/// Packs the weights of all convolutions at the beginning of the forward list, and brings their gradients to their places at the end of the
/// backward list.
pub(super) fn gather_weights(forward: &mut Vec<Instruction>, backward: &mut Vec<Instruction>) {
    let mut packings = Vec::new();
    forward.retain_mut(|instruction| {
        let Instruction::Conv2d(_, ConvCall::PackTogether { every }) = instruction else { return true };
        packings.append(every);
        false
    });
    if let Some(first) = packings.first().map(|first| first.convolution.clone()) {
        forward.insert(0, (&first, ConvCall::PackTogether { every: packings }).into());
    }
    let mut unpackings = Vec::new();
    backward.retain_mut(|instruction| {
        let Instruction::Conv2d(_, ConvCall::UnpackTogether { every }) = instruction else { return true };
        unpackings.append(every);
        false
    });
    if let Some(first) = unpackings.first().map(|first| first.convolution.clone()) {
        backward.push((&first, ConvCall::UnpackTogether { every: unpackings }).into());
    }
}

/// Has all norms' running statistics take in the batch's in one call.
pub(super) fn gather_statistics(statistics: &mut Vec<Instruction>) {
    let mut every = Vec::new();
    statistics.retain(|instruction| {
        let Instruction::BatchNorm(norm, NormCall::UpdateRunning { saved }) = instruction else { return true };
        every.push(Updating { norm: norm.clone(), saved: *saved });
        false
    });
    if let Some(first) = every.first().map(|first| first.norm.clone()) {
        statistics.push((&first, NormCall::UpdateTogether { every }).into());
    }
}
