//! Which tensors fit a network: as they are, or with another head or input than the weights were trained for.

use super::contents::Entry;
use crate::model::graph::join;
use crate::model::layer::{Form, Layer, Weighted};
use crate::model::params::{Parameter, Params, Role};
use std::collections::HashMap;

/// Whether a tensor has a parameter's shape, or that of a 1x1 convolution for a linear layer.
pub(super) fn fits(shape: &[usize], entry: &Entry) -> bool {
    let given = match entry.shape.as_slice() {
        [given @ .., 1, 1] if shape.len() == 2 => given,
        given => given,
    };
    shape == given
}

/// A name without its last part.
pub(super) fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(layer, _)| layer)
}

/// The last linear layer.
pub(super) fn head(params: &Params) -> Option<&str> {
    let is_linear = |parameter: &&Parameter| parameter.role == Role::Weight && parameter.shape.len() == 2;
    params.parameters.iter().rfind(is_linear).map(|weight| layer_of(&weight.name))
}

/// Whether a name is that of a parameter of the last linear layer.
pub fn is_of_head(params: &Params, name: &str) -> bool {
    head(params) == Some(layer_of(name))
}

/// Whether the tensors lack a part of a linear layer, or have it for another number of classes.
pub(super) fn is_new(params: &Params, head: &str, entries: &HashMap<&str, &Entry>) -> bool {
    let mut differs = false;
    for Parameter { name, shape, .. } in params.parameters.iter().filter(|parameter| layer_of(&parameter.name) == head)
    {
        let Some(entry) = entries.get(name.as_str()) else {
            differs = true;
            continue;
        };
        let classes = entry.shape.first().copied().unwrap_or(0);
        let same_but_classes = [&[classes][..], &shape[1..]].concat();
        if !fits(&same_but_classes, entry) {
            return false;
        }
        differs |= classes != shape[0];
    }
    differs
}

/// The weight of the first layer, if that is a convolution without groups.
pub(super) fn input(root: &Layer) -> Option<String> {
    let mut before = Channels::INPUT;
    let (path, weighted) = first_weighted(root, "", &mut before)?;
    matches!(weighted, Weighted::Conv2d { groups: 1, .. }).then(|| join(&path, "weight"))
}

/// How a convolution's weight becomes one for other input channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adaption {
    given: usize,
    wanted: usize,
    /// Pixels of the kernel.
    window: usize,
}

impl Adaption {
    /// What brings a tensor to the shape of a convolution's weight, if the input channels differ and nothing else does.
    pub fn of(shape: &[usize], entry: &Entry) -> Option<Self> {
        let (&[out, wanted, height, width], &[_, given, ..]) = (shape, entry.shape.as_slice()) else { return None };
        let window = height * width;
        let is_whole = Some(entry.data.len()) == (out * window).checked_mul(given);
        let is_other = given > 0 && given != wanted && entry.shape == [out, given, height, width];
        (is_whole && is_other).then_some(Self { given, wanted, window })
    }

    /// Writes the weight: one channel is the sum of those that are given; else they are repeated in turn and scaled.
    pub fn write(self, values: &[f32], target: &mut [f32]) {
        let Self { given, wanted, window } = self;
        let scale = given as f32 / wanted as f32;
        for (from, to) in values.chunks_exact(given * window).zip(target.chunks_exact_mut(wanted * window)) {
            if wanted == 1 {
                to.iter_mut().enumerate().for_each(|(i, to)| *to = from[i..].iter().step_by(window).sum());
            } else {
                to.iter_mut().zip(from.iter().cycle()).for_each(|(to, from)| *to = scale * from);
            }
        }
    }
}

/// The number of input channels that the weights of a network's first layer ask for; none if that layer has no weight
/// among the tensors, or one that cannot be its own.
pub fn in_channels(root: &Layer, entries: &[Entry]) -> Option<usize> {
    let mut before = Channels::INPUT;
    let (path, weighted) = first_weighted(root, "", &mut before)?;
    let name = join(&path, "weight");
    let shape = &entries.iter().find(|entry| entry.name == name)?.shape;
    let channels = match weighted {
        Weighted::Conv2d { groups, .. } => shape.get(1)?.checked_mul(groups)?,
        Weighted::Linear { .. } => *shape.get(1)?,
        Weighted::BatchNorm2d { .. } => *shape.first()?,
    };
    let of_input = channels.checked_sub(before.others)?;
    (before.copies > 0 && of_input % before.copies == 0).then(|| of_input / before.copies)
}

/// The channels of a value: so many times the input's, and others.
#[derive(Clone, Copy)]
struct Channels {
    copies: usize,
    others: usize,
}

impl Channels {
    const NONE: Self = Self { copies: 0, others: 0 };
    const INPUT: Self = Self { copies: 1, others: 0 };

    fn and(self, more: Self) -> Self {
        let sum = usize::saturating_add;
        Self { copies: sum(self.copies, more.copies), others: sum(self.others, more.others) }
    }
}

/// The first layer with a weight, and its path. Only concatenations and padding change the channels before it, which `channels` are
/// told in: they go in and, where there is no such layer, come out.
fn first_weighted(layer: &Layer, path: &str, channels: &mut Channels) -> Option<(String, Weighted)> {
    match layer.form() {
        Form::Sequential(children) => {
            children.iter().find_map(|child| first_weighted(&child.layer, &join(path, &child.name), channels))
        }
        Form::Residual { preactivation, body, shortcut, .. } => {
            let found = preactivation.and_then(|before| first_weighted(before, path, channels));
            let start = *channels;
            found.or_else(|| first_weighted(body, path, channels)).or_else(|| {
                *channels = start;
                first_weighted(shortcut?, &join(path, "downsample"), channels)
            })
        }
        Form::Concat(branches) => {
            let start = std::mem::replace(channels, Channels::NONE);
            branches.iter().find_map(|branch| {
                let mut inside = start;
                let found = first_weighted(&branch.layer, &join(path, &branch.name), &mut inside);
                *channels = if found.is_some() { inside } else { channels.and(inside) };
                found
            })
        }
        Form::Weighted(weighted) => Some((path.to_owned(), weighted)),
        Form::Plain => {
            if let Layer::PadChannels { out_channels, stride: _ } = layer {
                *channels = Channels { copies: 0, others: *out_channels };
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;
    use crate::model::layer::{Child, Init};
    use crate::model::resnet::resnet;
    use crate::model::zoo::preset;

    #[test]
    fn weights_tell_the_input_channels() {
        let network = resnet(&preset("resnet18").unwrap()).unwrap();
        let stem = |shape| Entry { name: "conv1.weight".into(), shape, data: vec![] };
        assert_eq!(in_channels(&network, &[stem(vec![64, 3, 7, 7])]), Some(3));
        assert_eq!(in_channels(&network, &[stem(vec![64])]), None);
        assert_eq!(in_channels(&network, &[]), None);
        assert_eq!(in_channels(&basic(6, true, 2), &[stem(vec![6, 5, 3, 3])]), Some(5));
    }

    #[test]
    fn concatenations_before_the_first_weight_count() {
        let relu = || Child::new("", Layer::Relu);
        let twice = || Layer::Concat { branches: vec![relu(), relu()] };
        let conv = Layer::Linear { out_features: 5, bias: false, init: Init::Zeros };
        let network =
            Layer::sequential(vec![Child::new("a", twice()), Child::new("b", twice()), Child::new("conv", conv)]);
        let weight = |inputs| [Entry { name: "conv.weight".into(), shape: vec![5, inputs], data: vec![] }];
        assert_eq!(in_channels(&network, &weight(12)), Some(3));
        assert_eq!(in_channels(&network, &weight(10)), None);
        let padded = || Child::new("", Layer::PadChannels { out_channels: 7, stride: [1, 1] });
        let and_padded = |network| {
            let both = Layer::Concat { branches: vec![relu(), padded(), relu()] };
            Layer::sequential(vec![Child::new("both", both), Child::new("", network)])
        };
        assert_eq!(in_channels(&and_padded(network.clone()), &weight(4 * (2 * 3 + 7))), Some(3));
        assert_eq!(in_channels(&and_padded(network.clone()), &weight(4 * 7 - 4)), None);
        // Whatever was padded, the weights have as many channels.
        let alone = Layer::sequential(vec![padded(), Child::new("", network.clone())]);
        assert_eq!(in_channels(&alone, &weight(28)), None);
        let beside = Layer::Concat { branches: vec![relu(), Child::new("", network)] };
        assert_eq!(in_channels(&beside, &weight(12)), Some(3));
    }
}
