//! What the lists of a plan are made of.

use super::slots::{Slot, CLASSES};
use resnet_ops::Pass;

/// What an instruction does. What it reads and writes is listed behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// x → y
    Import,
    /// → weights and bias
    Fold,
    /// \[weights and bias\] → packed
    Pack(Pass),
    /// x, packed, \[shortcut\] → y, scratch, \[moments\]
    ConvForward,
    /// dy, packed → dx, scratch; with the node of a batch norm: dy, packed, x, saved, \[y\] → dx, scratch, sums
    ConvInputGradient { accumulate: bool, norm: Option<usize> },
    /// x, dy → scratch
    ConvWeightGradient,
    /// x → moments
    Moments,
    /// x, moments, \[shortcut\] → y, saved
    NormTrain,
    /// x, \[shortcut\] → y
    NormEval,
    /// x, saved → dy becomes dx, scratch
    NormBackward,
    /// x, saved, y → dy becomes that of the sum, scratch, dx
    NormAddBackward,
    /// x, saved → dy becomes dx, sums
    NormFinishBackward,
    /// x, saved → dy, sums, dx
    NormAddFinishBackward,
    /// saved →
    NormUpdate,
    /// x → y
    Relu,
    /// y → dy becomes that of what the ReLU was given
    ReluBackward,
    /// a, b → y
    Add,
    /// branches → y
    Concat,
    /// dy → dx of a branch
    ConcatBackward { branch: usize, accumulate: bool },
    /// x → y
    Dropout,
    /// → dy becomes dx
    DropoutBackward,
    /// source → target
    AddGradient { accumulate: bool },
    /// x → y, argmax
    MaxPool,
    /// dy, argmax → dx
    MaxPoolBackward { accumulate: bool },
    /// x, moments → y, saved, argmax
    NormPool,
    /// x, saved, argmax, dy → dx, scratch
    NormPoolBackward,
    /// x → y, over windows or whole maps
    AvgPool,
    /// dy → dx
    AvgPoolBackward { accumulate: bool },
    /// x → y
    Linear,
    /// dy → dx
    LinearInputGradient { accumulate: bool },
    /// x, dy →
    LinearWeightGradient,
}

/// A kernel call: `B` names storage, by need while the lists are written and by slot afterwards.
pub(super) struct Instruction<B> {
    pub(super) action: Action,
    pub(super) node: usize,
    pub(super) reads: Vec<B>,
    pub(super) writes: Vec<B>,
}

/// The lists over slots, and what slots there are.
pub(super) struct Lists {
    /// What is worked out from the weights alone, and kept while they stay as they are.
    pub(super) prepare: Vec<Instruction<Slot>>,
    pub(super) forward: Vec<Instruction<Slot>>,
    pub(super) backward: Vec<Instruction<Slot>>,
    pub(super) update: Vec<Instruction<Slot>>,
    pub(super) images: Slot,
    pub(super) logits: Slot,
    pub(super) logits_gradient: Option<Slot>,
    /// Lengths of the slots of each class, longest first.
    pub(super) lengths: [Vec<usize>; CLASSES],
}
