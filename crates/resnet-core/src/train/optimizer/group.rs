//! Settings of some parameters: chosen by their layer's name and by what they are, or by how deep they lie.

use super::Optimizer;
use crate::error::{Code, Error, Result};
use crate::model::params::{Parameter, Params, Role};
use crate::plan::{add_place, Frozen};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What is not the same for all parameters of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParameterSettings {
    /// Each parameter takes the settings of the first of these that it belongs to.
    pub groups: Vec<Group>,
    /// Whether weight decay is that of weights also for norms and biases; else those have none.
    pub decay_norms_and_biases: bool,
    /// What the learning rate is multiplied by from each unit to the one before, from the head backwards: a unit is a block of a stage,
    /// or else a child of the network together with norms that follow it.
    pub layer_decay: f64,
}

/// Parameters that are updated with other settings than the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// Those of these layers, blocks or stages, such as `fc`, `layer1` or `layer*.0`, where `*` stands for any letters; all if empty.
    pub layers: Vec<String>,
    /// Those that are one of these; all if empty.
    pub roles: Vec<Kind>,
    /// What the learning rate is multiplied by.
    pub lr_factor: f64,
    /// Weight decay in place of the optimiser's.
    pub weight_decay: Option<f64>,
    /// Whether neither they nor what is kept for them change, as with a factor of 0.
    pub frozen: bool,
    /// Whether batch norms among them use their running statistics in training too, and leave them as they are; as `frozen` if absent. A
    /// norm whose scale and shift are of different groups does so if both say so.
    pub frozen_norms: Option<bool>,
}

/// What a parameter is, as groups name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Weight of a convolution or a linear layer.
    Weight,
    /// Bias of a convolution or a linear layer.
    Bias,
    /// γ or β of a batch norm.
    Norm,
}

impl Default for ParameterSettings {
    fn default() -> Self {
        Self { groups: Vec::new(), decay_norms_and_biases: true, layer_decay: 1.0 }
    }
}

impl Default for Group {
    fn default() -> Self {
        let (layers, roles) = (Vec::new(), Vec::new());
        Self { layers, roles, lr_factor: 1.0, weight_decay: None, frozen: false, frozen_norms: None }
    }
}

/// Parameters next to each other in flat storage that are updated alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Their place in flat storage.
    pub range: Range<usize>,
    /// What the learning rate is multiplied by; 0 for frozen ones.
    pub lr_factor: f64,
    /// Their weight decay.
    pub weight_decay: f64,
    /// Rows of the matrix (out, in · height · width) that they are, if they are one parameter and an optimiser asks for that.
    pub rows: Option<usize>,
}

impl ParameterSettings {
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a factor or decay is negative or not finite.
    pub fn check(&self) -> Result<()> {
        for (index, Group { lr_factor, weight_decay, .. }) in self.groups.iter().enumerate() {
            for (setting, value) in [("lrFactor", Some(*lr_factor)), ("weightDecay", *weight_decay)] {
                if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                    let parameter = format!("groups[{index}].{setting}");
                    return Err(Error::expected(Code::InvalidArgument, &parameter, "a number of at least 0", value));
                }
            }
        }
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            let expected = "a number above 0, at most 1";
            return Err(Error::expected(Code::InvalidArgument, "layerDecay", expected, self.layer_decay));
        }
        Ok(())
    }

    /// The parameters' storage cut where settings change; for an optimiser that asks for it, at each parameter.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a group names layers that the network has not; if all parameters are frozen.
    pub fn parts(&self, params: &Params, optimizer: &Optimizer) -> Result<Vec<Part>> {
        for (index, group) in self.groups.iter().enumerate() {
            let has = |pattern: &&String| !params.parameters.iter().any(|parameter| names(pattern, &parameter.name));
            let is_norm = |parameter: &Parameter| Kind::of(parameter.role) == Kind::Norm;
            let has_norms = || params.parameters.iter().any(|parameter| is_norm(parameter) && group.has(parameter));
            if group.frozen_norms == Some(true) && !has_norms() {
                let parameter = format!("groups[{index}].frozenNorms");
                return Err(Error::expected(
                    Code::InvalidArgument,
                    &parameter,
                    "a group with batch norms",
                    "none in it",
                ));
            }
            if let Some(unknown) = group.layers.iter().find(has) {
                let parameter = format!("groups[{index}].layers");
                let expected = "names of layers with parameters, such as layer1 or fc";
                return Err(Error::expected(Code::InvalidArgument, &parameter, expected, unknown));
            }
        }
        let units = units(params);
        let last = units.last().copied().unwrap_or(0);
        let mut parts: Vec<Part> = Vec::new();
        for (parameter, unit) in params.parameters.iter().zip(units) {
            let part = self.part(parameter, self.layer_decay.powi((last - unit) as i32), optimizer);
            match parts.last_mut() {
                Some(before) if before.rows.is_none() && before.goes_on_in(&part) => before.range.end = part.range.end,
                Some(_) | None => parts.push(part),
            }
        }
        if !parts.is_empty() && parts.iter().all(Part::is_frozen) {
            let expected = "some parameters that are not frozen";
            return Err(Error::expected(Code::InvalidArgument, "groups", expected, "none"));
        }
        Ok(parts)
    }

    /// What is not trained.
    pub fn frozen(&self, params: &Params, parts: &[Part]) -> Frozen {
        let mut frozen = Frozen::default();
        for part in parts.iter().filter(|part| part.is_frozen()) {
            add_place(&mut frozen.parameters, &part.range);
        }
        for norm in params.nodes.iter().filter(|node| !node.running.is_empty()).map(|node| &node.params) {
            let first = params.parameters.partition_point(|parameter| parameter.range.start < norm.start);
            let of_norm = params.parameters[first..].iter().take_while(|parameter| parameter.range.end <= norm.end);
            let is_frozen = |parameter| self.group_of(parameter).is_some_and(Group::freezes_norms);
            if of_norm.into_iter().all(is_frozen) {
                add_place(&mut frozen.norms, norm);
            }
        }
        frozen
    }

    fn group_of(&self, parameter: &Parameter) -> Option<&Group> {
        self.groups.iter().find(|group| group.has(parameter))
    }

    fn part(&self, parameter: &Parameter, depth_factor: f64, optimizer: &Optimizer) -> Part {
        let group = self.group_of(parameter);
        let kind = Kind::of(parameter.role);
        let usual = if kind == Kind::Weight || self.decay_norms_and_biases { optimizer.weight_decay() } else { 0.0 };
        let own = group.map_or(1.0, |group| if group.frozen { 0.0 } else { group.lr_factor });
        Part {
            range: parameter.range.clone(),
            lr_factor: own * depth_factor,
            weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(usual),
            rows: (optimizer.is_by_matrix() && kind == Kind::Weight).then(|| parameter.shape[0]),
        }
    }
}

impl Part {
    /// Whether nothing of them changes.
    pub fn is_frozen(&self) -> bool {
        self.lr_factor == 0.0
    }

    fn goes_on_in(&self, next: &Self) -> bool {
        next.rows.is_none() && self.lr_factor == next.lr_factor && self.weight_decay == next.weight_decay
    }
}

impl Group {
    fn freezes_norms(&self) -> bool {
        self.frozen_norms.unwrap_or(self.frozen)
    }

    fn has(&self, parameter: &Parameter) -> bool {
        let is_named = self.layers.is_empty() || self.layers.iter().any(|pattern| names(pattern, &parameter.name));
        is_named && (self.roles.is_empty() || self.roles.contains(&Kind::of(parameter.role)))
    }
}

impl Kind {
    fn of(role: Role) -> Self {
        match role {
            Role::Weight => Self::Weight,
            Role::Bias => Self::Bias,
            Role::NormWeight | Role::NormBias | Role::RunningMean | Role::RunningVar => Self::Norm,
        }
    }
}

/// Whether a pattern is that of a parameter's name or of whatever it lies in.
fn names(pattern: &str, name: &str) -> bool {
    let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
    ends.into_iter().any(|end| matches(pattern.as_bytes(), &name.as_bytes()[..end]))
}

/// Whether a text is as a pattern says, in which `*` stands for any letters.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == text[place] => (at, place) = (at + 1, place + 1),
            // The last star takes one letter more.
            Some(_) | None => match &mut star {
                Some((star, taken)) => {
                    *taken += 1;
                    (at, place) = (*star + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// The number of the unit that each parameter lies in; see [`ParameterSettings::layer_decay`].
fn units(params: &Params) -> Vec<usize> {
    let mut units: Vec<usize> = Vec::with_capacity(params.parameters.len());
    let mut at: Option<&str> = None;
    let list = &params.parameters;
    for (index, parameter) in list.iter().enumerate() {
        let name = unit_of(&parameter.name);
        let before = units.last().copied();
        let is_new = at.is_some_and(|at| at != name);
        let is_all_norms = || {
            let unit = list[index..].iter().take_while(|parameter| unit_of(&parameter.name) == name);
            unit.into_iter().all(|parameter| Kind::of(parameter.role) == Kind::Norm)
        };
        let step = usize::from(is_new && !is_all_norms());
        at = Some(name);
        units.push(before.map_or(0, |before| before + step));
    }
    units
}

/// `layer1.0` of `layer1.0.conv1.weight`, `stages.0.blocks.1` of `stages.0.blocks.1.conv1.weight`, `conv1` of `conv1.0.weight`.
fn unit_of(name: &str) -> &str {
    let parts: Vec<&str> = name.split('.').collect();
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    let taken = match parts[..] {
        [stage, block, _, ..] if stage.strip_prefix("layer").is_some_and(is_number) && is_number(block) => 2,
        ["stages", stage, "blocks", block, _, ..] if is_number(stage) && is_number(block) => 4,
        _ => 1,
    };
    let len = parts[..taken].iter().map(|part| part.len() + 1).sum::<usize>() - 1;
    &name[..len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::trace_channels;
    use crate::model::resnet::resnet;
    use crate::model::zoo::preset;

    fn resnet18() -> Params {
        let network = resnet(&preset("resnet18").unwrap()).unwrap();
        Params::of(&trace_channels(&network, 1).unwrap()).unwrap()
    }

    fn optimizer(name: &str) -> Optimizer {
        let rest = r#""lr":0.1,"betas":[0.9,0.99],"eps":1e-8,"weight_decay":0.25"#;
        Optimizer::from_json(&format!(r#"{{"type":"{name}",{rest}}}"#)).unwrap()
    }

    /// The part that has a parameter, which lies in no other.
    fn part_of(parts: &[Part], params: &Params, name: &str) -> Part {
        let parameter = params.parameters.iter().find(|parameter| parameter.name == name).unwrap();
        let part = parts.iter().find(|part| part.range.contains(&parameter.range.start)).unwrap();
        assert!(part.range.end >= parameter.range.end, "{name} is cut");
        part.clone()
    }

    #[test]
    fn each_parameter_belongs_to_the_first_group_that_has_it() {
        let (params, adam) = (resnet18(), optimizer("adam"));
        let [one] = &ParameterSettings::default().parts(&params, &adam).unwrap()[..] else { panic!("parts") };
        assert_eq!(*one, Part { range: 0..params.parameters_len(), lr_factor: 1.0, weight_decay: 0.25, rows: None });
        let json = r#"{"groups":[{"layers":["layer1","layer*.1.bn?"],"frozen":true},{"roles":["bias"],"weight_decay":0.5},
            {"layers":["layer2.0","fc"],"roles":["weight","norm"],"lr_factor":3}]}"#;
        let wrong: ParameterSettings = serde_json::from_str(json).unwrap();
        let error = wrong.parts(&params, &adam).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        let expected =
            "groups[0].layers: expected names of layers with parameters, such as layer1 or fc, got layer*.1.bn?";
        assert_eq!(error.message, expected);
        let settings: ParameterSettings = serde_json::from_str(&json.replace('?', "*")).unwrap();
        let parts = settings.parts(&params, &adam).unwrap();
        let of = |name: &str| {
            let Part { lr_factor, weight_decay, .. } = part_of(&parts, &params, name);
            (lr_factor, weight_decay)
        };
        assert_eq!(of("conv1.weight"), (1.0, 0.25));
        assert_eq!(of("conv1.bias"), (1.0, 0.5));
        assert_eq!(of("layer1.0.conv1.bias").0, 0.0);
        assert_eq!(of("layer3.1.bn2.weight").0, 0.0);
        assert_eq!(of("layer2.0.bn1.weight"), (3.0, 0.25));
        assert_eq!(of("layer2.1.conv1.weight"), (1.0, 0.25));
        assert_eq!(of("fc.bias"), (1.0, 0.5));
        assert_eq!(parts.iter().map(|part| part.range.len()).sum::<usize>(), params.parameters_len());
    }

    #[test]
    fn norms_and_biases_may_be_spared_but_a_group_has_its_own_decay() {
        let (params, adamw) = (resnet18(), optimizer("adamw"));
        let json = r#"{"decay_norms_and_biases":false,"groups":[{"layers":["fc"],"weight_decay":0.5}]}"#;
        let settings: ParameterSettings = serde_json::from_str(json).unwrap();
        let parts = settings.parts(&params, &adamw).unwrap();
        let decay = |name: &str| part_of(&parts, &params, name).weight_decay;
        assert_eq!([decay("conv1.weight"), decay("conv1.bias"), decay("bn1.weight")], [0.25, 0.0, 0.0]);
        assert_eq!([decay("fc.weight"), decay("fc.bias")], [0.5, 0.5]);
    }

    #[test]
    fn rates_decay_from_the_head_backwards_block_by_block() {
        let (params, adam) = (resnet18(), optimizer("adam"));
        let settings = ParameterSettings { layer_decay: 0.5, ..Default::default() };
        let parts = settings.parts(&params, &adam).unwrap();
        let halvings = |name: &str| -part_of(&parts, &params, name).lr_factor.log2();
        assert_eq!([halvings("fc.weight"), halvings("fc.bias"), halvings("layer4.1.conv2.weight")], [0.0, 0.0, 1.0]);
        assert_eq!([halvings("layer4.0.bn1.bias"), halvings("layer1.1.conv1.weight")], [2.0, 7.0]);
        assert_eq!(
            [halvings("layer1.0.conv1.weight"), halvings("bn1.weight"), halvings("conv1.weight")],
            [8.0, 9.0, 9.0]
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = |json: &str| {
            let settings: ParameterSettings = serde_json::from_str(json).unwrap();
            settings.check().and_then(|()| settings.parts(&resnet18(), &optimizer("adam"))).unwrap_err().message
        };
        assert_eq!(
            wrong(r#"{"groups":[{"lr_factor":-1}]}"#),
            "groups[0].lrFactor: expected a number of at least 0, got -1"
        );
        assert!(wrong(r#"{"groups":[{"weight_decay":-1}]}"#).starts_with("groups[0].weightDecay: "));
        assert_eq!(wrong(r#"{"layer_decay":0}"#), "layerDecay: expected a number above 0, at most 1, got 0");
        assert_eq!(
            wrong(r#"{"groups":[{"frozen":true}]}"#),
            "groups: expected some parameters that are not frozen, got none"
        );
        assert!(wrong(r#"{"groups":[{"layers":["layer"]}]}"#).ends_with("got layer"));
    }
}
