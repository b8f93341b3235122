//! What a loss tells of a batch.

/// What a batch's logits say about its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The samples' losses, added up.
    pub loss_sum: f64,
    /// What that sum is divided by to be the mean loss: how many samples there are, or the sum of their labels' weights.
    pub weight: f64,
    /// How many decisions are right.
    pub correct: usize,
    /// How many decisions there are: one for each sample, or where several classes may be right one for each of them.
    pub decisions: usize,
}
