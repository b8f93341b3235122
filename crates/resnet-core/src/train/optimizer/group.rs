//! Groups of parameters with settings of their own, chosen by role or by name.

use crate::model::params::{Parameter, Params, Role};
use std::ops::Range;

/// Parameters that are updated with other settings than the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which.
    pub members: Members,
    /// What the optimiser's learning rate is multiplied by. With 0 the parameters are frozen: neither they nor what is kept for them
    /// change. (A norm's running statistics are no parameters.)
    pub lr_factor: f64,
    /// Weight decay in place of the optimiser's.
    pub weight_decay: Option<f64>,
}

/// Which parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Members {
    /// Those of a role, such as all biases.
    Role(Role),
    /// Those of a layer or stage, such as `fc` or `layer1`.
    Layer(String),
}

impl Members {
    fn has(&self, parameter: &Parameter) -> bool {
        match self {
            Self::Role(role) => parameter.role == *role,
            Self::Layer(layer) => {
                let rest = parameter.name.strip_prefix(layer.as_str());
                rest.is_some_and(|rest| rest.starts_with('.') || layer.is_empty())
            }
        }
    }
}

/// The parameters' storage cut where the group changes: each parameter belongs to the first group that has it, or to none.
pub(super) fn parts<'a>(params: &Params, groups: &'a [Group]) -> Vec<(Range<usize>, Option<&'a Group>)> {
    let mut parts: Vec<(Range<usize>, Option<usize>)> = Vec::new();
    for parameter in &params.parameters {
        let group = groups.iter().position(|group| group.members.has(parameter));
        match parts.last_mut() {
            Some((range, last)) if *last == group => range.end = parameter.range.end,
            Some(_) | None => parts.push((parameter.range.clone(), group)),
        }
    }
    parts.into_iter().map(|(range, group)| (range, group.map(|index| &groups[index]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::trace_channels;
    use crate::model::resnet::resnet;
    use crate::model::zoo::preset;

    #[test]
    fn each_parameter_belongs_to_the_first_group_that_has_it() {
        let network = resnet(&preset("resnet18").unwrap()).unwrap();
        let params = Params::of(&trace_channels(&network, 1).unwrap()).unwrap();
        let group = |members| Group { members, lr_factor: 0.0, weight_decay: None };
        assert_eq!(parts(&params, &[]), [(0..params.parameters_len(), None)]);
        let groups = [group(Members::Layer("layer1".into())), group(Members::Role(Role::Bias))];
        let parts = parts(&params, &groups);
        let of = |name: &str| {
            let parameter = params.parameters.iter().find(|parameter| parameter.name == name).unwrap();
            let part = parts.iter().find(|(range, _)| range.contains(&parameter.range.start)).unwrap();
            assert!(part.0.end >= parameter.range.end, "{name} is cut");
            part.1.map(|group| &group.members)
        };
        assert_eq!(of("conv1.weight"), None);
        assert_eq!(of("conv1.bias"), Some(&Members::Role(Role::Bias)));
        assert_eq!(of("layer1.0.conv1.bias"), Some(&Members::Layer("layer1".into())));
        assert_eq!(of("layer2.0.conv1.weight"), None);
        assert_eq!(of("fc.bias"), Some(&Members::Role(Role::Bias)));
        let whole: usize = parts.iter().map(|(range, _)| range.len()).sum();
        assert_eq!(whole, params.parameters_len());
    }
}
