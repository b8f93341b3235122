//! What a plan is for, on two axes: which statistics batch norms use, and which gradients are computed.

pub use resnet_ops::batch_norm::Statistics;
use std::ops::Range;

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
    /// What training leaves as it is.
    pub frozen: Frozen,
}

/// What of a network is not trained, by places in the flat storage of parameters; each list in order, and no place next to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frozen {
    /// Parameters that have no gradients.
    pub parameters: Vec<Range<usize>>,
    /// Parameters of batch norms that use the running statistics, whatever the others use, and leave them as they are.
    pub norms: Vec<Range<usize>>,
}

/// Which gradients a plan computes, from that of the network's output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Gradients {
    /// None: nothing is kept for a backward pass.
    None,
    /// Those of all parameters that are not frozen.
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
        Self {
            statistics,
            gradients,
            retained: Vec::new(),
            frozen: Frozen { parameters: Vec::new(), norms: Vec::new() },
        }
    }

    /// Whether nothing but outputs is computed, with running statistics.
    pub fn is_inference(&self) -> bool {
        self.gradients == Gradients::None && self.statistics == Statistics::Running
    }

    /// Whether parameters have gradients.
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

    /// Whether some of the parameters of a node have gradients, and so change between one run and the next.
    pub fn trains_any(&self, params: &Range<usize>) -> bool {
        self.trains() && !params.is_empty() && !covers(&self.frozen.parameters, params)
    }

    /// The statistics that a batch norm with these parameters uses.
    pub fn statistics_of(&self, params: &Range<usize>) -> Statistics {
        match covers(&self.frozen.norms, params) {
            true => Statistics::Running,
            false => self.statistics,
        }
    }
}

/// Adds a place behind those that are there: places that follow on each other are one.
pub fn add_place(places: &mut Vec<Range<usize>>, place: &Range<usize>) {
    match places.last_mut() {
        Some(last) if last.end == place.start => last.end = place.end,
        Some(_) | None => places.push(place.clone()),
    }
}

impl Frozen {
    /// Whether a parameter with this place has no gradient.
    pub fn has(&self, place: &Range<usize>) -> bool {
        covers(&self.parameters, place)
    }
}

/// Whether one of the places, which are in order, has all of another in it.
fn covers(places: &[Range<usize>], place: &Range<usize>) -> bool {
    let before = places.partition_point(|candidate| candidate.start <= place.start);
    before.checked_sub(1).is_some_and(|index| place.end <= places[index].end)
}
