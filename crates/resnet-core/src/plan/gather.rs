//! Makes one call of the calls that a GPU does for all layers in one launch.

use super::instruction::Operands;
use super::ops::{ConvCall, Instruction, NormCall, Updating};

/// Has the bias of a shortcut's convolution take its gradient from the batch norm to whose output the shortcut is added: it is the same sum.
/// What does so is brought to its place with the gradients of weights.
pub(super) fn share_bias_gradients(backward: &mut [Instruction]) {
    for index in 0..backward.len().saturating_sub(1) {
        let (before, after) = backward.split_at_mut(index);
        let [Instruction::Conv2d(convolution, ConvCall::PackedGradient { dy, .. }), Instruction::Conv2d(_, ConvCall::UnpackTogether { every }), ..] =
            after
        else {
            continue;
        };
        let names_dy = |instruction: &&Instruction| {
            let mut named = false;
            instruction.each(&mut |request| named |= request == dy.0);
            named
        };
        // Whatever else names the gradient since may have changed it.
        let Some(Instruction::BatchNorm(norm, NormCall::Backward { dy: of_sum, dx: Some(_), grads: None, .. })) =
            before.iter().rev().find(names_dy)
        else {
            continue;
        };
        if of_sum.0 != dy.0 || convolution.bias().is_none() || convolution.normed.is_some() {
            continue;
        }
        // The norm's weights come before its biases.
        let biases = norm.params.start + norm.op.channels;
        convolution.bias_gradient = Some(biases);
        every.iter_mut().for_each(|unpacking| unpacking.convolution.bias_gradient = Some(biases));
    }
}

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
