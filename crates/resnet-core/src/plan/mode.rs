//! What a plan is for, on two axes: which statistics batch norms use, and which gradients are computed.

pub use resnet_ops::batch_norm::Statistics;

/// What a plan computes beside the network's output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// What batch norms normalise with: the batch's statistics, or the running ones, which are then constants in gradients too.
    pub statistics: Statistics,
    /// Which gradients there are.
    pub gradients: Gradients,
    /// Values that are kept until the end, by the name of the layer or stage that returns them (see `Trace::value_of`). What
    /// would be fused over them is not.
    pub retained: Vec<String>,
}

/// Which gradients a plan computes, from that of the network's output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Gradients {
    /// None: nothing is kept for a backward pass.
    None,
    /// Those of all parameters.
    Parameters,
    /// That of a value, by the name of the layer or stage that returns it; the gradient is kept until the end.
    Value(String),
}

impl Mode {
    /// A training step: the batch's statistics, gradients of the parameters.
    pub const TRAIN: Self = Self::new(Statistics::Batch, Gradients::Parameters);
    /// A forward pass with the batch's statistics, as in training, without gradients.
    pub const BATCH: Self = Self::new(Statistics::Batch, Gradients::None);
    /// Evaluation: running statistics, no gradients.
    pub const EVAL: Self = Self::new(Statistics::Running, Gradients::None);

    /// A mode that retains nothing.
    pub const fn new(statistics: Statistics, gradients: Gradients) -> Self {
        Self { statistics, gradients, retained: Vec::new() }
    }

    /// Whether parameters have gradients, and so change between one run and the next.
    pub fn trains(&self) -> bool {
        self.gradients == Gradients::Parameters
    }

    /// Whether it names values of the network.
    pub fn names_values(&self) -> bool {
        !self.retained.is_empty() || matches!(self.gradients, Gradients::Value(_))
    }

    /// Whether dropout is active: where parameters are trained, or norms use the batch's statistics.
    pub fn drops(&self) -> bool {
        self.trains() || self.statistics == Statistics::Batch
    }

    /// Whether a batch norm is folded into the convolution before it: with running statistics, and no gradient that would have to go
    /// through the norm by itself.
    pub fn folds(&self) -> bool {
        self.statistics == Statistics::Running && self.gradients == Gradients::None
    }
}
