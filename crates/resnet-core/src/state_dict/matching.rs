//! Whether named tensors fit a network, told before anything is changed.

use super::Entry;
use crate::error::{Code, Error, Result};
use crate::model::layer::Layer;
use crate::model::params::{Parameter, Params, Role};
use crate::model::shape::join;
use std::collections::HashMap;
use std::ops::Range;

/// How many names of a kind a message lists.
const LISTED: usize = 5;

/// What was not there, or not wanted, in loaded weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the network lacks.
    pub unexpected: Vec<String>,
}

/// Tensors with the places in flat storage that they belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matched<'a> {
    /// What training learns.
    pub learnt: Vec<(Range<usize>, &'a [f32])>,
    /// Running statistics.
    pub running: Vec<(Range<usize>, &'a [f32])>,
}

impl Matched<'_> {
    /// Writes the tensors to their places; what has no tensor stays.
    ///
    /// # Panics
    /// If the storages are shorter than those of the [`Params`] that were matched.
    pub fn copy_to(&self, learnt: &mut [f32], running: &mut [f32]) {
        for (places, storage) in [(&self.learnt, learnt), (&self.running, running)] {
            for (range, data) in places {
                storage[range.clone()].copy_from_slice(data);
            }
        }
    }
}

/// Finds each parameter's tensor. A name without `num_batches_tracked` on one side only is reported or, if `strict`,
/// refused.
///
/// # Errors
/// `ERR_STATE_DICT` if a tensor's shape is not the parameter's, if a name is there twice, or for what `strict` refuses.
pub fn matching<'a>(params: &Params, entries: &'a [Entry], strict: bool) -> Result<(Matched<'a>, LoadReport)> {
    let mut left = HashMap::with_capacity(entries.len());
    for entry in entries {
        if left.insert(entry.name.as_str(), entry).is_some() {
            let given = format!("{} twice", entry.name);
            return Err(Error::expected(Code::StateDict, "weights", "names that differ", given));
        }
    }
    let (mut matched, mut report, mut misfits) = (Matched::default(), LoadReport::default(), Vec::new());
    for parameter in params.in_order() {
        match left.remove(parameter.name.as_str()) {
            None => report.missing.push(parameter.name.clone()),
            Some(entry) if !fits(parameter, entry) => misfits.push((parameter, entry)),
            Some(entry) => {
                let running = matches!(parameter.role, Role::RunningMean | Role::RunningVar);
                let places = if running { &mut matched.running } else { &mut matched.learnt };
                places.push((parameter.range.clone(), entry.data.as_slice()));
            }
        }
    }
    let unexpected = entries.iter().filter(|entry| left.contains_key(entry.name.as_str()));
    report.unexpected = unexpected.map(|entry| entry.name.clone()).collect();
    if misfits.is_empty() && (!strict || report == LoadReport::default()) {
        return Ok((matched, report));
    }
    let shapes: Vec<String> = misfits
        .iter()
        .map(|(parameter, entry)| format!("{} (expected {:?}, got {:?})", entry.name, parameter.shape, entry.shape))
        .collect();
    let mut kinds = vec![listed("wrong shapes", &shapes)];
    if strict {
        kinds.extend([listed("missing", &report.missing), listed("unexpected", &report.unexpected)]);
    }
    kinds.retain(|kind| !kind.is_empty());
    Err(Error::new(Code::StateDict, format!("weights do not fit the network: {}", kinds.join("; "))))
}

fn fits(parameter: &Parameter, entry: &Entry) -> bool {
    parameter.shape == entry.shape && parameter.range.len() == entry.data.len()
}

/// `kind: first, second and 3 more`, or nothing.
fn listed(kind: &str, names: &[String]) -> String {
    match names.len().saturating_sub(LISTED) {
        _ if names.is_empty() => String::new(),
        0 => format!("{kind}: {}", names.join(", ")),
        more => format!("{kind}: {} and {more} more", names[..LISTED].join(", ")),
    }
}

/// The number of input channels that the weights of a network's first layer ask for; none if that layer has no weight
/// among the tensors, or one that cannot be its own.
pub fn in_channels(root: &Layer, entries: &[Entry]) -> Option<usize> {
    let (path, layer) = first_weighted(root, "")?;
    let name = join(&path, "weight");
    let shape = &entries.iter().find(|entry| entry.name == name)?.shape;
    match layer {
        Layer::Conv2d { groups, .. } => shape.get(1)?.checked_mul(*groups),
        Layer::Linear { .. } => shape.get(1).copied(),
        _ => shape.first().copied(),
    }
}

/// The first layer with a weight, and its path: no layer before it changes the number of channels.
fn first_weighted<'a>(layer: &'a Layer, path: &str) -> Option<(String, &'a Layer)> {
    match layer {
        Layer::Sequential { children } => {
            children.iter().find_map(|child| first_weighted(&child.layer, &join(path, &child.name)))
        }
        Layer::Residual { preactivation, body, shortcut, .. } => preactivation
            .as_ref()
            .and_then(|preactivation| first_weighted(preactivation, path))
            .or_else(|| first_weighted(body, path))
            .or_else(|| first_weighted(shortcut.as_ref()?, &join(path, "downsample"))),
        Layer::Concat { branches } => {
            branches.iter().find_map(|branch| first_weighted(&branch.layer, &join(path, &branch.name)))
        }
        Layer::Conv2d { .. } | Layer::Linear { .. } | Layer::BatchNorm2d { .. } => Some((path.to_owned(), layer)),
        Layer::Relu
        | Layer::MaxPool2d { .. }
        | Layer::AvgPool2d { .. }
        | Layer::GlobalAvgPool2d
        | Layer::Dropout { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;
    use crate::model::resnet::resnet;
    use crate::model::shape::{trace, Shape};
    use crate::model::zoo::preset;

    fn params() -> Params {
        Params::of(&trace(&basic(2, false, 1), Shape::map(2, 4, 4)).unwrap()).unwrap()
    }

    /// Every parameter, filled with its place in the order.
    fn entries(params: &Params) -> Vec<Entry> {
        let entry = |(i, parameter): (usize, &&Parameter)| Entry {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            data: vec![i as f32; parameter.range.len()],
        };
        params.in_order().iter().enumerate().map(entry).collect()
    }

    #[test]
    fn every_tensor_finds_its_place() {
        let params = params();
        let mut entries = entries(&params);
        entries.reverse();
        let (matched, report) = matching(&params, &entries, true).unwrap();
        assert_eq!(report, LoadReport::default());
        let (mut learnt, mut running) = (vec![-1.0; params.learnt_len()], vec![-1.0; params.running_len()]);
        matched.copy_to(&mut learnt, &mut running);
        for (i, parameter) in params.in_order().into_iter().enumerate() {
            assert!(parameter.values(&learnt, &running).iter().all(|&x| x == i as f32), "{}", parameter.name);
        }
    }

    #[test]
    fn strict_refuses_and_lists_what_differs() {
        let params = params();
        let mut some = entries(&params);
        some.remove(1);
        some[0].shape = vec![2, 2, 9];
        for i in 0..7 {
            some.push(Entry { name: format!("extra{i}"), shape: vec![], data: vec![0.0] });
        }
        let error = matching(&params, &some, true).unwrap_err();
        assert_eq!(error.code, Code::StateDict);
        assert_eq!(
            error.message,
            "weights do not fit the network: wrong shapes: conv1.weight (expected [2, 2, 3, 3], got [2, 2, 9]); \
             missing: conv1.bias; unexpected: extra0, extra1, extra2, extra3, extra4 and 2 more"
        );
    }

    #[test]
    fn not_strict_reports_names_but_refuses_shapes() {
        let params = params();
        let mut some = entries(&params);
        some.remove(1);
        some.push(Entry { name: "extra".into(), shape: vec![], data: vec![0.0] });
        let (matched, report) = matching(&params, &some, false).unwrap();
        assert_eq!((report.missing.join(" "), report.unexpected.join(" ")), ("conv1.bias".into(), "extra".into()));
        let mut learnt = vec![-1.0; params.learnt_len()];
        matched.copy_to(&mut learnt, &mut vec![0.0; params.running_len()]);
        assert_eq!(learnt[params.learnt[1].range.clone()], [-1.0, -1.0]);
        some[0].shape = vec![36];
        let message = matching(&params, &some, false).unwrap_err().message;
        assert!(message.ends_with("wrong shapes: conv1.weight (expected [2, 2, 3, 3], got [36])"), "{message}");
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let params = params();
        let mut twice = entries(&params);
        twice.push(twice[0].clone());
        assert_eq!(matching(&params, &twice, false).unwrap_err().code, Code::StateDict);
    }

    #[test]
    fn weights_tell_the_input_channels() {
        let network = resnet(&preset("resnet18").unwrap()).unwrap();
        let stem = |shape| Entry { name: "conv1.weight".into(), shape, data: vec![] };
        assert_eq!(in_channels(&network, &[stem(vec![64, 3, 7, 7])]), Some(3));
        assert_eq!(in_channels(&network, &[stem(vec![64])]), None);
        assert_eq!(in_channels(&network, &[]), None);
        assert_eq!(in_channels(&basic(6, true, 2), &[stem(vec![6, 5, 3, 3])]), Some(5));
    }
}
