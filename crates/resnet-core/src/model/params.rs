//! The parameters of a network: their names, shapes and ranges of flat storage, in canonical order.

use super::graph::{Kind, Trace};
use super::layer::{Form, Init, Layer, Weighted};
use super::shape::Shape;
use crate::error::{Code, Error, Result};
use resnet_ops::conv2d::InputRange;
use std::collections::HashSet;
use std::ops::Range;

/// What a parameter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or a linear layer.
    Weight,
    /// Bias of a convolution or a linear layer.
    Bias,
    /// γ of a batch norm.
    NormWeight,
    /// β of a batch norm.
    NormBias,
    /// Running mean of a batch norm.
    RunningMean,
    /// Running variance of a batch norm.
    RunningVar,
}

/// A named part of flat storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// State-dict name.
    pub name: String,
    /// Its sizes; (out, in / groups, height, width) for a convolution.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
    /// Inputs that each output of its layer sums over; 0 for a batch norm.
    pub fan_in: usize,
    /// Outputs that each input of its layer goes to, as PyTorch counts them; 0 for a batch norm.
    pub fan_out: usize,
    /// How it is drawn.
    pub init: Init,
    /// Its elements in the flat storage.
    pub range: Range<usize>,
    /// Of a quantised convolution's weight, what the input lies between.
    pub input: Option<InputRange>,
}

impl Parameter {
    /// Whether it is a convolution's weight.
    pub fn is_of_convolution(&self) -> bool {
        self.role == Role::Weight && self.shape.len() == 4
    }

    /// Its values in the flat storages of parameters and of running statistics.
    pub fn values<'a, T>(&self, parameters: &'a [T], running: &'a [T]) -> &'a [T] {
        match self.role {
            Role::RunningMean | Role::RunningVar => &running[self.range.clone()],
            Role::Weight | Role::Bias | Role::NormWeight | Role::NormBias => &parameters[self.range.clone()],
        }
    }
}

/// The ranges of flat storage that one node has, its parameters next to each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamRanges {
    /// Its parameters.
    pub params: Range<usize>,
    /// Its running statistics.
    pub running: Range<usize>,
}

/// All parameters of a network whose input channels are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// Parameters, in canonical order.
    pub parameters: Vec<Parameter>,
    /// Running statistics, in canonical order.
    pub running: Vec<Parameter>,
    /// Each node's part, in the order of [`Trace::nodes`].
    pub nodes: Vec<ParamRanges>,
}

impl Params {
    /// Lists the parameters of a traced network.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if two have the same name, or if no memory can hold them.
    pub fn of(trace: &Trace) -> Result<Self> {
        let mut params = Self::default();
        for node in &trace.nodes {
            let (parameters, running) = (params.parameters_len(), params.running_len());
            if let Kind::Layer(layer) = node.kind {
                params.list(layer, &node.path, trace.shapes[node.inputs[0]])?;
            }
            let (parameters, running) = (parameters..params.parameters_len(), running..params.running_len());
            let ranges = ParamRanges { params: parameters, running };
            params.nodes.push(ranges);
        }
        let mut names = HashSet::new();
        if let Some(twice) = params.in_order().into_iter().find(|parameter| !names.insert(&parameter.name)) {
            let given = format!("{} twice", twice.name);
            return Err(Error::expected(Code::InvalidArgument, "network", "names that differ", given));
        }
        Ok(params)
    }

    /// All parameters in canonical order: node by node, a node's running statistics after its parameters.
    pub fn in_order(&self) -> Vec<&Parameter> {
        let (mut parameters, mut running) = (self.parameters.iter().peekable(), self.running.iter().peekable());
        let mut list = Vec::with_capacity(self.parameters.len() + self.running.len());
        for ranges in &self.nodes {
            list.extend(std::iter::from_fn(|| parameters.next_if(|next| next.range.end <= ranges.params.end)));
            list.extend(std::iter::from_fn(|| running.next_if(|next| next.range.end <= ranges.running.end)));
        }
        list
    }

    /// Elements of all parameters together.
    pub fn parameters_len(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range.end)
    }

    /// Elements of all running statistics together.
    pub fn running_len(&self) -> usize {
        self.running.last().map_or(0, |last| last.range.end)
    }

    fn list(&mut self, layer: &Layer, path: &str, input: Shape) -> Result<()> {
        let channels = input.channels();
        let Form::Weighted(weighted) = layer.form() else { return Ok(()) };
        match weighted {
            Weighted::Conv2d { out_channels, kernel, groups, bias, init } => {
                let shape = vec![out_channels, channels / groups, kernel[0], kernel[1]];
                self.push_weighted(path, shape, bias, init)
            }
            Weighted::Linear { out_features, bias, init } => {
                self.push_weighted(path, vec![out_features, channels], bias, init)
            }
            Weighted::BatchNorm2d { zero_init } => {
                let weight = if zero_init { Init::Zeros } else { Init::Ones };
                let shape = || vec![channels];
                push(&mut self.parameters, path, "weight", shape(), Role::NormWeight, (0, 0), weight)?;
                push(&mut self.parameters, path, "bias", shape(), Role::NormBias, (0, 0), Init::Zeros)?;
                push(&mut self.running, path, "running_mean", shape(), Role::RunningMean, (0, 0), Init::Zeros)?;
                push(&mut self.running, path, "running_var", shape(), Role::RunningVar, (0, 0), Init::Ones)
            }
        }
    }

    /// Weight (out, in, …) and bias.
    fn push_weighted(&mut self, path: &str, shape: Vec<usize>, bias: bool, init: Init) -> Result<()> {
        let outputs = shape[0];
        // Saturated fans belong to weights that `push` refuses.
        let pixels = shape[2..].iter().fold(1, |pixels: usize, &size| pixels.saturating_mul(size));
        let fans = (shape[1].saturating_mul(pixels), outputs.saturating_mul(pixels));
        push(&mut self.parameters, path, "weight", shape, Role::Weight, fans, init)?;
        if bias {
            // A layer that is to start as zero has no bias either.
            let init = if init == Init::Zeros { Init::Zeros } else { Init::TorchDefault };
            push(&mut self.parameters, path, "bias", vec![outputs], Role::Bias, fans, init)?;
        }
        Ok(())
    }
}

fn push(
    list: &mut Vec<Parameter>,
    path: &str,
    name: &str,
    shape: Vec<usize>,
    role: Role,
    fans: (usize, usize),
    init: Init,
) -> Result<()> {
    let start = list.last().map_or(0, |last| last.range.end);
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    let name = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let Some(end) = len.and_then(|len| start.checked_add(len)).filter(|&end| end <= isize::MAX as usize) else {
        let given = format!("{shape:?}");
        return Err(Error::expected(Code::InvalidArgument, &name, "sizes whose values can be counted", given));
    };
    list.push(Parameter { name, shape, role, fan_in: fans.0, fan_out: fans.1, init, range: start..end, input: None });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::trace;
    use crate::model::layer::Child;

    fn conv(out_channels: usize, kernel: [usize; 2], groups: usize) -> Layer {
        Layer::Conv2d {
            out_channels,
            kernel,
            stride: [1, 1],
            padding: [0, 0],
            groups,
            bias: true,
            init: Init::default(),
        }
    }

    fn list(children: Vec<Child>) -> Result<Params> {
        let root = Layer::Sequential { children };
        Params::of(&trace(&root, Shape::Map { channels: 6, size: None })?)
    }

    #[test]
    fn fans_and_places_follow_the_layers() {
        let norm = Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init: false };
        let params = list(vec![Child::new("a", conv(4, [3, 5], 2)), Child::new("b", norm)]).unwrap();
        let weight = &params.parameters[0];
        assert_eq!((weight.shape.as_slice(), weight.fan_in, weight.fan_out), ([4, 3, 3, 5].as_slice(), 45, 60));
        assert_eq!(params.parameters[1].fan_in, 45);
        assert_eq!(params.nodes[0], ParamRanges { params: 0..184, running: 0..0 });
        assert_eq!(params.nodes[1], ParamRanges { params: 184..192, running: 0..8 });
        let names: Vec<&str> = params.in_order().iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["a.weight", "a.bias", "b.weight", "b.bias", "b.running_mean", "b.running_var"]);
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let twice = list(vec![Child::new("a", conv(6, [1, 1], 1)), Child::new("a", conv(6, [1, 1], 1))]);
        assert_eq!(twice.unwrap_err().message, "network: expected names that differ, got a.weight twice");
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let huge = 1 << 40;
        assert_eq!(list(vec![Child::new("a", conv(huge, [huge, 1], 1))]).unwrap_err().code, Code::InvalidArgument);
        assert!(list(vec![Child::new("a", conv(usize::MAX, [1, 1], 1))]).is_err());
    }
}
