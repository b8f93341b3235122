//! Whether named tensors fit a network, told before anything is changed.

use super::contents::{Entry, Other};
use super::fitting::{fits, head, input, is_new, layer_of, Adaption};
use super::rename::{suggestion, Renaming};
use crate::error::{Code, Error, Result};
use crate::model::layer::Layer;
use crate::model::params::{Params, Role};
use safetensors::Dtype;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// How many names of a kind a message lists.
const LISTED: usize = 5;

/// How weights are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Every name of either side must be on the other.
    pub strict: bool,
    /// The last linear layer keeps its drawn values if the file has another number of classes, or lacks it.
    pub new_head: bool,
    /// The first convolution takes weights for another number of input channels: summed for one channel, else repeated
    /// in turn and scaled by the ratio of the numbers, so that its outputs stay as large.
    pub adapt_input: bool,
    /// What the file's names are to begin with instead.
    pub rename: Renaming,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { strict: true, new_head: false, adapt_input: false, rename: Renaming::new() }
    }
}

/// What was not there, or not wanted, in loaded weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the network lacks.
    pub unexpected: Vec<String>,
    /// Names that keep their drawn values, as [`LoadOptions::new_head`] asked.
    pub kept: Vec<String>,
}

/// Tensors with the places in flat storage that they belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matched<'a> {
    parameters: Vec<Placed<'a>>,
    running: Vec<Placed<'a>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Placed<'a> {
    range: Range<usize>,
    data: &'a [f32],
    adaption: Option<Adaption>,
}

impl Matched<'_> {
    /// Writes the tensors to their places; what has no tensor stays.
    ///
    /// # Panics
    /// If the storages are shorter than those of the [`Params`] that were matched.
    pub fn copy_to(&self, parameters: &mut [f32], running: &mut [f32]) {
        for (places, storage) in [(&self.parameters, parameters), (&self.running, running)] {
            for Placed { range, data, adaption } in places {
                let target = &mut storage[range.clone()];
                match adaption {
                    Some(adaption) => adaption.write(data, target),
                    None => target.copy_from_slice(data),
                }
            }
        }
    }

    fn is_adapted(&self) -> bool {
        self.parameters.iter().any(|placed| placed.adaption.is_some())
    }
}

/// Finds each parameter's tensor, by the names that renaming has given, for the network `root`. A name on one side only is reported
/// or, if strict, refused; a linear layer also takes the weight of a 1x1 convolution.
///
/// # Errors
/// `ERR_STATE_DICT` if a tensor's shape is not the parameter's and no option takes it, if a name is there twice, or for
/// what strictness refuses.
pub fn matching<'a>(
    params: &Params,
    root: &Layer,
    entries: &'a [Entry],
    others: &[Other],
    options: &LoadOptions,
) -> Result<(Matched<'a>, LoadReport)> {
    let mut names = HashSet::with_capacity(entries.len());
    if let Some(twice) = entries.iter().find(|entry| !names.insert(&entry.name)) {
        let given = format!("{} twice", twice.name);
        return Err(Error::expected(Code::StateDict, "weights", "names that differ", given));
    }
    let found = Findings::of(params, root, entries, others, options);
    if found.accepted(options) {
        return Ok((found.matched, found.report));
    }
    let lenient = LoadOptions { new_head: true, adapt_input: true, ..options.clone() };
    let all = Findings::of(params, root, entries, others, &lenient);
    let mut message = format!("weights do not fit the network: {}", found.problems(options));
    if all.accepted(options) {
        if all.report.kept.len() > found.report.kept.len() {
            message += "; newHead: true keeps the network's own last layer";
        }
        if all.matched.is_adapted() && !found.matched.is_adapted() {
            message += "; adaptInput: true fits the first convolution to the network's input channels";
        }
    }
    if let Some((from, to)) = found.renaming(params, entries).filter(|_| options.strict && options.rename.is_empty()) {
        message += &format!("; rename: {{ {from:?}: {to:?} }} makes the file's names the network's");
    }
    Err(Error::new(Code::StateDict, message))
}

/// What a comparison of network and tensors shows.
#[derive(Default)]
struct Findings<'a> {
    matched: Matched<'a>,
    report: LoadReport,
    /// Names, and the shapes that were expected and given.
    misfits: Vec<String>,
}

impl<'a> Findings<'a> {
    fn of(params: &Params, root: &Layer, entries: &'a [Entry], others: &[Other], options: &LoadOptions) -> Self {
        let mut left: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let mut others_left: HashMap<&str, Dtype> =
            others.iter().map(|other| (other.name.as_str(), other.dtype)).collect();
        let mut found = Self::default();
        let head = head(params).filter(|head| options.new_head && is_new(params, head, &left));
        left.retain(|name, _| Some(layer_of(name)) != head);
        let input = if options.adapt_input { input(root) } else { None };
        for parameter in params.in_order() {
            let name = &parameter.name;
            let Some(entry) = left.remove(name.as_str()) else {
                if let Some(dtype) = others_left.remove(name.as_str()) {
                    found
                        .misfits
                        .push(format!("{name} (expected F32, F64, F16, BF16, or I8 with scales, got {dtype})"));
                    continue;
                }
                let list =
                    if Some(layer_of(name)) == head { &mut found.report.kept } else { &mut found.report.missing };
                list.push(name.clone());
                continue;
            };
            let (data, is_input) = (entry.data.as_slice(), input.as_deref() == Some(name));
            let adaption = if is_input { Adaption::of(&parameter.shape, entry) } else { None };
            let range = parameter.range.clone();
            if adaption.is_none() && !(fits(&parameter.shape, entry) && data.len() == range.len()) {
                found.misfits.push(format!("{name} (expected {:?}, got {:?})", parameter.shape, entry.shape));
                continue;
            }
            let running = matches!(parameter.role, Role::RunningMean | Role::RunningVar);
            let places = if running { &mut found.matched.running } else { &mut found.matched.parameters };
            places.push(Placed { range, data, adaption });
        }
        let unexpected = entries.iter().filter(|entry| left.contains_key(entry.name.as_str()));
        let others = others.iter().filter(|other| others_left.contains_key(other.name.as_str()));
        found.report.unexpected =
            unexpected.map(|entry| &entry.name).chain(others.map(|other| &other.name)).cloned().collect();
        found
    }

    fn accepted(&self, options: &LoadOptions) -> bool {
        let complete = self.report.missing.is_empty() && self.report.unexpected.is_empty();
        self.misfits.is_empty() && (!options.strict || complete)
    }

    /// The one change of the file's names, if there is one, with which nothing would be missing or unexpected.
    fn renaming(&self, params: &Params, entries: &[Entry]) -> Option<(String, String)> {
        let LoadReport { missing, unexpected, kept: _ } = &self.report;
        if !self.misfits.is_empty() {
            return None;
        }
        let missing: HashSet<&String> = missing.iter().collect();
        let missing: Vec<_> = params.in_order().into_iter().filter(|one| missing.contains(&one.name)).collect();
        let strangers: HashSet<&String> = unexpected.iter().collect();
        let (strangers, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| strangers.contains(&entry.name));
        let others: Vec<&str> = others.into_iter().map(|entry| entry.name.as_str()).collect();
        suggestion(&missing, &strangers, &others).filter(|_| strangers.len() == unexpected.len())
    }

    fn problems(&self, options: &LoadOptions) -> String {
        let mut kinds = vec![listed("wrong shapes or types", &self.misfits)];
        if options.strict {
            kinds.extend([listed("missing", &self.report.missing), listed("unexpected", &self.report.unexpected)]);
        }
        kinds.retain(|kind| !kind.is_empty());
        kinds.join("; ")
    }
}

/// `kind: first, second and 3 more`, or nothing.
fn listed(kind: &str, names: &[String]) -> String {
    match names.len().saturating_sub(LISTED) {
        _ if names.is_empty() => String::new(),
        0 => format!("{kind}: {}", names.join(", ")),
        more => format!("{kind}: {} and {more} more", names[..LISTED].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;
    use crate::model::graph::trace_channels;
    use crate::model::layer::{Child, Init};
    use crate::model::params::Parameter;

    fn block() -> Layer {
        basic(2, false, 1)
    }

    fn params() -> Params {
        params_of(&block(), 2)
    }

    fn params_of(root: &Layer, channels: usize) -> Params {
        Params::of(&trace_channels(root, channels).unwrap()).unwrap()
    }

    const STRICT: LoadOptions =
        LoadOptions { strict: true, new_head: false, adapt_input: false, rename: Renaming::new() };
    const NAMES_MAY_DIFFER: LoadOptions =
        LoadOptions { strict: false, new_head: false, adapt_input: false, rename: Renaming::new() };

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
        let (matched, report) = matching(&params, &block(), &entries, &[], &STRICT).unwrap();
        assert_eq!(report, LoadReport::default());
        let (mut parameters, mut running) = (vec![-1.0; params.parameters_len()], vec![-1.0; params.running_len()]);
        matched.copy_to(&mut parameters, &mut running);
        for (i, parameter) in params.in_order().into_iter().enumerate() {
            assert!(parameter.values(&parameters, &running).iter().all(|&x| x == i as f32), "{}", parameter.name);
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
        let error = matching(&params, &block(), &some, &[], &STRICT).unwrap_err();
        assert_eq!(error.code, Code::StateDict);
        assert_eq!(
            error.message,
            "weights do not fit the network: wrong shapes or types: conv1.weight (expected [2, 2, 3, 3], got [2, 2, 9]); \
             missing: conv1.bias; unexpected: extra0, extra1, extra2, extra3, extra4 and 2 more"
        );
    }

    #[test]
    fn not_strict_reports_names_but_refuses_shapes() {
        let params = params();
        let mut some = entries(&params);
        some.remove(1);
        some.push(Entry { name: "extra".into(), shape: vec![], data: vec![0.0] });
        let (matched, report) = matching(&params, &block(), &some, &[], &NAMES_MAY_DIFFER).unwrap();
        assert_eq!((report.missing.join(" "), report.unexpected.join(" ")), ("conv1.bias".into(), "extra".into()));
        let mut parameters = vec![-1.0; params.parameters_len()];
        matched.copy_to(&mut parameters, &mut vec![0.0; params.running_len()]);
        assert_eq!(parameters[params.parameters[1].range.clone()], [-1.0, -1.0]);
        some[0].shape = vec![36];
        let message = matching(&params, &block(), &some, &[], &NAMES_MAY_DIFFER).unwrap_err().message;
        assert!(
            message.ends_with("wrong shapes or types: conv1.weight (expected [2, 2, 3, 3], got [36])"),
            "{message}"
        );
    }

    #[test]
    fn other_types_are_unexpected_or_in_a_weight_s_place_refused() {
        let params = params();
        let mut some = entries(&params);
        let other = |name: &str| Other { name: name.into(), dtype: Dtype::I64 };
        let others = [other("n_averaged")];
        let (_, report) = matching(&params, &block(), &some, &others, &NAMES_MAY_DIFFER).unwrap();
        assert_eq!(report, LoadReport { unexpected: vec!["n_averaged".into()], ..LoadReport::default() });
        let error = matching(&params, &block(), &some, &others, &STRICT).unwrap_err();
        assert!(error.message.ends_with("unexpected: n_averaged"), "{error}");
        let name = some.remove(0).name;
        let error = matching(&params, &block(), &some, &[other(&name)], &NAMES_MAY_DIFFER).unwrap_err();
        assert!(
            error.message.ends_with("conv1.weight (expected F32, F64, F16, BF16, or I8 with scales, got I64)"),
            "{error}"
        );
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let params = params();
        let mut twice = entries(&params);
        twice.push(twice[0].clone());
        assert_eq!(matching(&params, &block(), &twice, &[], &NAMES_MAY_DIFFER).unwrap_err().code, Code::StateDict);
    }

    /// A stem, a grouped convolution and a head of three classes.
    fn network(stem_groups: usize) -> Layer {
        let conv = |groups| Layer::Conv2d {
            out_channels: 6,
            kernel: [2, 1],
            stride: [1, 1],
            padding: [0, 0],
            groups,
            bias: false,
            init: Init::default(),
        };
        let linear = |out_features| Layer::Linear { out_features, bias: true, init: Init::default() };
        let children = vec![
            Child::new("stem", conv(stem_groups)),
            Child::new("pool", Layer::GlobalAvgPool2d),
            Child::new("hidden", linear(4)),
            Child::new("fc", linear(3)),
        ];
        Layer::Sequential { children }
    }

    fn entry(name: &str, shape: &[usize], value: impl Fn(usize) -> f32) -> Entry {
        Entry { name: name.into(), shape: shape.into(), data: (0..shape.iter().product()).map(value).collect() }
    }

    /// Weights for [`network`] with other input channels and classes.
    fn weights(channels: usize, classes: usize) -> Vec<Entry> {
        vec![
            entry("stem.weight", &[6, channels, 2, 1], |i| i as f32),
            entry("hidden.weight", &[4, 6], |i| i as f32),
            entry("hidden.bias", &[4], |i| i as f32),
            entry("fc.weight", &[classes, 4], |i| i as f32),
            entry("fc.bias", &[classes], |i| i as f32),
        ]
    }

    /// What [`network`] takes from weights, where -1 stands for what keeps its value.
    fn parameters(channels: usize, weights: &[Entry], options: &LoadOptions) -> (Vec<f32>, Vec<String>) {
        let params = params_of(&network(1), channels);
        let (matched, report) = matching(&params, &network(1), weights, &[], options).unwrap();
        let mut parameters = vec![-1.0; params.parameters_len()];
        matched.copy_to(&mut parameters, &mut []);
        (parameters, report.kept)
    }

    fn refusal(root: &Layer, channels: usize, weights: &[Entry], options: &LoadOptions) -> String {
        matching(&params_of(root, channels), root, weights, &[], options).unwrap_err().message
    }

    #[test]
    fn a_linear_layer_takes_a_1x1_convolution() {
        let mut weights = weights(1, 3);
        weights[3].shape = vec![3, 4, 1, 1];
        let (parameters, _) = parameters(1, &weights, &STRICT);
        assert_eq!(parameters[40..52], Vec::from_iter((0..12).map(|i| i as f32)));
    }

    #[test]
    fn a_new_head_keeps_its_values() {
        let options = LoadOptions { new_head: true, ..STRICT };
        let whole = weights(1, 3);
        let lacking: [Vec<Entry>; 4] =
            [weights(1, 5), whole[..3].to_vec(), whole[..4].to_vec(), [&whole[..3], &whole[4..]].concat()];
        for weights in lacking {
            let (parameters, kept) = parameters(1, &weights, &options);
            assert_eq!(kept, ["fc.weight", "fc.bias"]);
            assert_eq!(parameters.iter().position(|&value| value == -1.0), Some(40));
            assert!(parameters[40..].iter().all(|&value| value == -1.0));
        }
        let (parameters, kept) = parameters(1, &whole, &options);
        assert!(kept.is_empty() && !parameters.contains(&-1.0));
    }

    #[test]
    fn a_head_of_another_kind_is_no_new_head() {
        let options = LoadOptions { new_head: true, ..STRICT };
        let mut wide = weights(1, 5);
        wide[3] = entry("fc.weight", &[5, 7], |_| 0.0);
        let message = refusal(&network(1), 1, &wide, &options);
        assert!(message.contains("fc.weight (expected [3, 4], got [5, 7])"), "{message}");
        let mut hidden = weights(1, 3);
        hidden[2] = entry("hidden.bias", &[5], |_| 0.0);
        assert!(refusal(&network(1), 1, &hidden, &options).contains("hidden.bias"));
    }

    #[test]
    fn the_first_convolution_takes_other_channels() {
        let options = LoadOptions { adapt_input: true, ..STRICT };
        // Filter 0 of three channels and two rows is 0 1 | 2 3 | 4 5.
        let (one, _) = parameters(1, &weights(3, 3), &options);
        assert_eq!(one[..4], [6.0, 9.0, 24.0, 27.0]);
        let (four, _) = parameters(4, &weights(3, 3), &options);
        assert_eq!(four[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 1.0].map(|value| value * 0.75));
        let (two, _) = parameters(2, &weights(3, 3), &options);
        assert_eq!(two[..6], [0.0, 1.0, 2.0, 3.0, 6.0, 7.0].map(|value| value * 1.5));
        let (three, _) = parameters(3, &weights(1, 3), &options);
        assert_eq!(three[..6], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0].map(|value| value * (1.0 / 3.0)));
    }

    #[test]
    fn only_a_first_convolution_s_channels_adapt() {
        let options = LoadOptions { adapt_input: true, ..STRICT };
        let grouped = refusal(&network(2), 2, &weights(3, 3), &options);
        assert!(grouped.ends_with("stem.weight (expected [6, 1, 2, 1], got [6, 3, 2, 1])"), "{grouped}");
        for shape in [&[6, 3, 1, 2][..], &[5, 3, 2, 1], &[6, 3, 2], &[6, 0, 2, 1]] {
            let mut weights = weights(3, 3);
            weights[0] = entry("stem.weight", shape, |_| 0.0);
            assert!(refusal(&network(1), 1, &weights, &options).contains("wrong shapes or types: stem.weight"));
        }
    }

    #[test]
    fn the_message_names_the_options_that_help() {
        let (head, input) = (
            "; newHead: true keeps the network's own last layer",
            "; adaptInput: true fits the first convolution to the network's input channels",
        );
        let message = refusal(&network(1), 1, &weights(1, 5), &STRICT);
        assert_eq!(
            message,
            format!(
                "weights do not fit the network: wrong shapes or types: fc.weight (expected [3, 4], got [5, 4]), \
                 fc.bias (expected [3], got [5]){head}"
            )
        );
        assert!(refusal(&network(1), 1, &weights(1, 3)[..3], &STRICT).ends_with(head));
        assert!(refusal(&network(1), 1, &weights(3, 3), &STRICT).ends_with(&format!("got [6, 3, 2, 1]){input}")));
        assert!(refusal(&network(1), 1, &weights(3, 5), &STRICT).ends_with(&format!("{head}{input}")));
        let with_head = LoadOptions { new_head: true, ..STRICT };
        assert!(refusal(&network(1), 1, &weights(3, 5), &with_head).ends_with(&format!("got [6, 3, 2, 1]){input}")));
        let mut more = weights(3, 5);
        more.push(entry("extra", &[1], |_| 0.0));
        assert!(refusal(&network(1), 1, &more, &STRICT).ends_with("unexpected: extra"));
        assert!(refusal(&network(1), 1, &more, &NAMES_MAY_DIFFER).ends_with(&format!("{head}{input}")));
    }

    #[test]
    fn the_message_names_the_renaming_that_helps() {
        let renamed = |rename: &dyn Fn(&str) -> String| {
            let mut weights = weights(1, 3);
            weights.iter_mut().for_each(|entry| entry.name = rename(&entry.name));
            refusal(&network(1), 1, &weights, &STRICT)
        };
        let hint = |pair| format!("; rename: {{ {pair} }} makes the file's names the network's");
        assert!(renamed(&|name| name.replace("fc", "linear")).ends_with(&hint(r#""linear": "fc""#)));
        assert!(renamed(&|name| format!("backbone.{name}")).ends_with(&hint(r#""backbone": """#)));
        assert!(renamed(&|name| name.replace("fc.bias", "fc.b")).ends_with(&hint(r#""fc.b": "fc.bias""#)));
        let two = renamed(&|name| name.replace("hidden", "a").replace("fc", "b"));
        assert!(two.contains("unexpected: a.weight, a.bias, b.weight, b.bias") && !two.contains("rename"), "{two}");
        let mut other_shape = weights(1, 3);
        other_shape.iter_mut().for_each(|entry| entry.name = entry.name.replace("fc", "linear"));
        other_shape[3].shape = vec![4, 3];
        assert!(!refusal(&network(1), 1, &other_shape, &STRICT).contains("rename"));
    }
}
