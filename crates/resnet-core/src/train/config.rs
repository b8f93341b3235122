//! Settings of [`super::fit`].

use super::Optimizer;

/// Settings of a training run.
#[derive(Clone, Debug)]
pub struct FitConfig {
    /// How many times the training set is gone through.
    pub epochs: usize,
    /// Samples of an update.
    pub batch_size: usize,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Seed of the sample order; the session's if absent.
    pub seed: Option<u64>,
    /// Whether each epoch takes the samples in an order of its own.
    pub shuffle: bool,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
}
