//! Batch norms that go into the convolutions before them.

use crate::error::Result;
use crate::model::graph::{Kind, Trace};
use crate::model::Layer;
use resnet_ops::allocate::with_room;
use std::collections::HashMap;

/// What a norm with running statistics does to a channel: x becomes x · factor + shift.
pub struct Affine {
    /// For each channel γ / √(σ² + ε).
    pub factors: Vec<f64>,
    /// For each channel β − μ · factor.
    pub shifts: Vec<f64>,
}

/// The norms that alone read what a convolution returns, by the convolution's number.
pub fn folded(trace: &Trace) -> HashMap<usize, usize> {
    // Where a value is written, behind layers that do nothing.
    let mut sources: Vec<usize> = (0..trace.shapes.len()).collect();
    let mut readers = vec![0; trace.shapes.len()];
    let mut convolutions = HashMap::new();
    for (index, node) in trace.nodes.iter().enumerate() {
        if is_identity(&node.kind) {
            sources[node.output] = sources[node.inputs[0]];
            continue;
        }
        node.inputs.iter().for_each(|&input| readers[sources[input]] += 1);
        if matches!(node.kind, Kind::Layer(Layer::Conv2d { .. })) {
            convolutions.insert(node.output, index);
        }
    }
    readers[sources[trace.output]] += 1;
    let is_norm = |kind: &Kind| matches!(kind, Kind::Layer(Layer::BatchNorm2d { .. }));
    let norms = trace.nodes.iter().enumerate().filter(|(_, node)| is_norm(&node.kind));
    let pairs = norms.filter_map(|(index, node)| {
        let source = sources[node.inputs[0]];
        (readers[source] == 1).then(|| convolutions.get(&source)).flatten().map(|&convolution| (convolution, index))
    });
    pairs.collect()
}

/// Whether a node returns its input as it is, when nothing is trained.
pub fn is_identity(kind: &Kind) -> bool {
    matches!(kind, Kind::Layer(Layer::Dropout { .. }) | Kind::StochasticDepth { .. })
}

impl Affine {
    /// Of a norm's γ, β, running mean and running variance.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn of_norm([gamma, beta, mean, variance]: [&[f32]; 4], eps: f64) -> Result<Self> {
        let (mut factors, mut shifts) = (with_room(gamma.len())?, with_room(gamma.len())?);
        for (((&gamma, &beta), &mean), &variance) in gamma.iter().zip(beta).zip(mean).zip(variance) {
            let factor = f64::from(gamma) / (f64::from(variance) + eps).sqrt();
            factors.push(factor);
            shifts.push(f64::from(beta) - f64::from(mean) * factor);
        }
        Ok(Self { factors, shifts })
    }

    /// What becomes of a bias; of none, if it is absent.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn bias(&self, bias: Option<&[f32]>) -> Result<Vec<f32>> {
        let mut folded = with_room(self.shifts.len())?;
        for (channel, (factor, shift)) in self.factors.iter().zip(&self.shifts).enumerate() {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[channel]));
            folded.push((bias * factor + shift) as f32);
        }
        Ok(folded)
    }
}
