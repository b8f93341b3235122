//! Residual networks: a stem, stages of blocks, a head.

use super::block::{batch_norm, check_size, conv, residual, BlockOptions};
use super::layer::{Child, Init, Layer};
use super::shape::check_probability;
use crate::error::{Code, Error, Result};
use serde::Deserialize;

pub use super::block::{Block, Flavor, Shortcut};

/// Most blocks of a network: a hundred times the deepest one that was ever published.
const MAX_BLOCKS: usize = 10_000;

/// A stage: blocks with the same number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How many residual blocks follow each other.
    pub num_residuals: usize,
    /// The channels c of its blocks.
    pub num_channels: usize,
}

/// What comes before the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A 7x7 convolution to 64 channels and a max-pooling, each with stride 2 (He et al., 2016).
    #[default]
    Imagenet,
    /// Three 3x3 convolutions in place of the 7x7 one (ResNet-C; He et al., 2019).
    Deep,
    /// A 3x3 convolution to the first stage's channels, for small images (He et al., 2016, 4.2).
    Small,
}

/// What a residual network is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResNetOptions {
    /// The stages in order.
    pub arch: Vec<Stage>,
    /// What they are made of.
    pub block: Block,
    /// Whether norm and ReLU come before the convolutions (He et al., 2016b).
    pub pre_activation: bool,
    /// What comes before them.
    pub stem: Stem,
    /// How shortcuts change shape.
    pub shortcut: Shortcut,
    /// Whose network it is.
    pub flavor: Flavor,
    /// Whether each block starts as its shortcut (Goyal et al., 2017).
    pub zero_init_residual: bool,
    /// See [`super::Layer::Residual`]: that of the last block; of the others it grows in proportion to how many blocks come before.
    pub stochastic_depth: f64,
    /// Number of classes.
    pub num_classes: usize,
}

/// A residual network for images (N, C, H, W): logits (N, `num_classes`). Each stage but the first halves height and width.
///
/// Names are torchvision's or, for pre-activation, those of timm's resnetv2.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if there is no stage, a number is 0 or beyond 2^20, there are more than 10 000 blocks, or for what
/// [`residual`] refuses.
pub fn resnet(options: &ResNetOptions) -> Result<Layer> {
    check_size("numClasses", options.num_classes)?;
    check_blocks(&options.arch)?;
    let mut channels = match options.stem {
        Stem::Imagenet | Stem::Deep => 64,
        Stem::Small => options.arch[0].num_channels,
    };
    check_size("numChannels", channels)?;
    check_probability("stochasticDepth", options.stochastic_depth)?;
    let blocks: usize = options.arch.iter().map(|stage| stage.num_residuals).sum();
    let mut before = 0;
    let mut children = vec![Child::group("stem", stem(options, channels))];
    for (i, &part) in options.arch.iter().enumerate() {
        let name = if options.pre_activation { format!("stages.{i}") } else { format!("layer{}", i + 1) };
        let strides = if i == 0 { 1 } else { 2 };
        let depth = |block: usize| options.stochastic_depth * (before + block + 1) as f64 / blocks as f64;
        children.push(Child::new(name, stage(options, part, strides, channels, depth)?));
        before += part.num_residuals;
        channels = part.num_channels * options.block.expansion();
    }
    children.push(match options.pre_activation {
        false => head(options.flavor, "fc", options.num_classes),
        true => {
            let mut head = head(options.flavor, "head.fc", options.num_classes);
            if let Layer::Sequential { children } = &mut head.layer {
                children.splice(0..0, [Child::new("norm", batch_norm(false)), Child::new("relu", Layer::Relu)]);
            }
            head
        }
    });
    Ok(Layer::sequential(children))
}

fn check_blocks(arch: &[Stage]) -> Result<()> {
    let blocks = arch.iter().fold(0usize, |sum, stage| sum.saturating_add(stage.num_residuals));
    let empty = arch.iter().any(|stage| stage.num_residuals == 0);
    if arch.is_empty() || empty || blocks > MAX_BLOCKS {
        let expected = format!("at least 1 stage, at least 1 block in each and at most {MAX_BLOCKS} blocks in all");
        let numbers: Vec<usize> = arch.iter().take(8).map(|stage| stage.num_residuals).collect();
        let got = format!("{} stages of {numbers:?}{} blocks", arch.len(), if arch.len() > 8 { "…" } else { "" });
        return Err(Error::expected(Code::InvalidArgument, "arch", expected, got));
    }
    Ok(())
}

/// Convolutions, each with norm and ReLU (but the last of a pre-activation network), and the pool.
fn stem(options: &ResNetOptions, channels: usize) -> Vec<Child> {
    let conv = |out_channels, kernel, stride| conv(options.flavor, out_channels, kernel, stride);
    let convolutions = match options.stem {
        Stem::Imagenet => vec![conv(channels, 7, 2)],
        Stem::Deep => vec![conv(channels / 2, 3, 2), conv(channels / 2, 3, 1), conv(channels, 3, 1)],
        Stem::Small => vec![conv(channels, 3, 1)],
    };
    let last = convolutions.len() - 1;
    let mut children = Vec::new();
    for (i, conv) in convolutions.into_iter().enumerate() {
        let names = match (options.pre_activation, options.stem) {
            (true, Stem::Deep) => [format!("stem.conv{}", i + 1), format!("stem.norm{}", i + 1)],
            (true, Stem::Imagenet | Stem::Small) => ["stem.conv".into(), String::new()],
            // The deep stem is a sequence in the place of torchvision's conv1; its last norm is bn1.
            (false, Stem::Deep) if i < last => [format!("conv1.{}", 3 * i), format!("conv1.{}", 3 * i + 1)],
            (false, Stem::Deep) => [format!("conv1.{}", 3 * i), "bn1".into()],
            (false, Stem::Imagenet | Stem::Small) => ["conv1".into(), "bn1".into()],
        };
        let [conv_name, norm_name] = names;
        children.push(Child::new(conv_name, conv));
        if i < last || !options.pre_activation {
            children
                .extend([Child::new(norm_name, batch_norm(false)), Child::new(format!("relu{}", i + 1), Layer::Relu)]);
        }
    }
    if options.stem != Stem::Small {
        let name = if options.pre_activation { "stem.pool" } else { "maxpool" };
        let pool = Layer::MaxPool2d { kernel: [3; 2], stride: [2; 2], padding: [1; 2] };
        children.push(Child::new(name, pool));
    }
    children
}

fn stage(
    options: &ResNetOptions,
    part: Stage,
    strides: usize,
    in_channels: usize,
    stochastic_depth: impl Fn(usize) -> f64,
) -> Result<Layer> {
    let block = |i: usize| {
        let strides = if i == 0 { strides } else { 1 };
        let changes = strides != 1 || in_channels != part.num_channels * options.block.expansion();
        let layer = residual(&BlockOptions {
            block: options.block,
            pre_activation: options.pre_activation,
            num_channels: part.num_channels,
            strides,
            shortcut: (i == 0 && changes).then_some(options.shortcut),
            flavor: options.flavor,
            zero_init_residual: options.zero_init_residual,
            stochastic_depth: stochastic_depth(i),
        })?;
        Ok(Child::new(if options.pre_activation { format!("blocks.{i}") } else { i.to_string() }, layer))
    };
    Ok(Layer::sequential((0..part.num_residuals).map(block).collect::<Result<_>>()?))
}

/// Global average pool and linear layer.
pub(super) fn head(flavor: Flavor, name: &str, num_classes: usize) -> Child {
    let init = match flavor {
        Flavor::D2l => Init::XavierUniform,
        Flavor::Torchvision => Init::TorchDefault,
    };
    let linear = Layer::Linear { out_features: num_classes, bias: true, init };
    Child::group("head", vec![Child::new("avgpool", Layer::GlobalAvgPool2d), Child::new(name, linear)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::{trace, Kind};
    use crate::model::params::Params;
    use crate::model::recipe;
    use crate::model::shape::Shape;
    use crate::model::zoo::preset;

    fn resnet18() -> ResNetOptions {
        preset("resnet18").unwrap()
    }

    fn params(options: &ResNetOptions, channels: usize) -> Params {
        let network = resnet(options).unwrap();
        Params::of(&trace(&network, Shape::Map { channels, size: None }).unwrap()).unwrap()
    }

    #[test]
    fn names_and_shapes_are_torchvision_s() {
        let params = params(&resnet18(), 1);
        let list = params.in_order();
        let shown = |range: std::ops::Range<usize>| -> Vec<String> {
            list[range].iter().map(|parameter| format!("{} {:?}", parameter.name, parameter.shape)).collect()
        };
        assert_eq!(list.len(), 110);
        assert_eq!(params.running_len(), 7_808);
        assert_eq!(
            shown(0..8),
            [
                "conv1.weight [64, 1, 7, 7]",
                "conv1.bias [64]",
                "bn1.weight [64]",
                "bn1.bias [64]",
                "bn1.running_mean [64]",
                "bn1.running_var [64]",
                "layer1.0.conv1.weight [64, 64, 3, 3]",
                "layer1.0.conv1.bias [64]",
            ]
        );
        let second = list.iter().position(|parameter| parameter.name == "layer2.0.conv1.weight").unwrap();
        assert_eq!(shown(second..second + 1), ["layer2.0.conv1.weight [128, 64, 3, 3]"]);
        assert_eq!(
            shown(second + 10..second + 15),
            [
                "layer2.0.bn2.running_mean [128]",
                "layer2.0.bn2.running_var [128]",
                "layer2.0.downsample.0.weight [128, 64, 1, 1]",
                "layer2.0.downsample.0.bias [128]",
                "layer2.1.conv1.weight [128, 128, 3, 3]",
            ]
        );
        assert_eq!(shown(108..110), ["fc.weight [10, 512]", "fc.bias [10]"]);
        assert!(!list.iter().any(|parameter| parameter.name.starts_with("layer1.0.downsample")));
    }

    #[test]
    fn stems_have_their_names() {
        let names = |stem, pre_activation| {
            let params = params(&ResNetOptions { stem, pre_activation, ..resnet18() }, 3);
            let stem = params.parameters.iter().map(|parameter| parameter.name.as_str());
            let stem = stem.take_while(|name| !name.starts_with("layer1") && !name.starts_with("stages"));
            stem.filter_map(|name| name.strip_suffix(".weight")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Stem::Deep, false), "conv1.0 conv1.1 conv1.3 conv1.4 conv1.6 bn1");
        assert_eq!(names(Stem::Small, false), "conv1 bn1");
        assert_eq!(names(Stem::Deep, true), "stem.conv1 stem.norm1 stem.conv2 stem.norm2 stem.conv3");
        assert_eq!(names(Stem::Imagenet, true), "stem.conv");
    }

    #[test]
    fn the_first_stage_has_a_1x1_shortcut_only_where_channels_differ() {
        let arch = vec![Stage { num_residuals: 1, num_channels: 32 }];
        let params = params(&ResNetOptions { arch, num_classes: 2, ..ResNetOptions::default() }, 3);
        let shortcut = params.parameters.iter().find(|parameter| parameter.name == "layer1.0.downsample.0.weight");
        assert_eq!(shortcut.unwrap().shape, [32, 64, 1, 1]);
    }

    #[test]
    fn stochastic_depth_grows_with_the_blocks() {
        let probabilities = |options: &ResNetOptions| {
            let network = resnet(options).unwrap();
            let trace = trace(&network, Shape::map(1, 32, 32)).unwrap();
            let of = |kind: &Kind| if let Kind::StochasticDepth { p } = *kind { Some(p) } else { None };
            trace.nodes.iter().filter_map(|node| of(&node.kind)).collect::<Vec<f64>>()
        };
        for pre_activation in [false, true] {
            let options = ResNetOptions { stochastic_depth: 0.4, pre_activation, ..resnet18() };
            let expected: Vec<f64> = (1..=8).map(|block| 0.4 * f64::from(block) / 8.0).collect();
            assert_eq!(probabilities(&options), expected);
        }
        assert!(probabilities(&resnet18()).is_empty());
        // A network without is written as it always was.
        assert!(!resnet(&resnet18()).unwrap().to_json().contains("stochastic"));
        for p in [-0.1, 1.0, f64::NAN] {
            let error = resnet(&ResNetOptions { stochastic_depth: p, ..resnet18() }).unwrap_err();
            assert_eq!(error.message, format!("stochasticDepth: expected a probability from 0 to below 1, got {p}"));
        }
    }

    #[test]
    fn thousands_of_blocks_need_no_deep_stack() {
        let arch = vec![Stage { num_residuals: 5_000, num_channels: 64 }];
        let small_stack = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
            let network = resnet(&ResNetOptions { arch, num_classes: 2, ..ResNetOptions::default() }).unwrap();
            let nodes = trace(&network, Shape::map(1, 32, 32)).unwrap().nodes.len();
            assert_eq!(nodes, 4 + 5_000 * 6 + 2);
            assert_eq!(recipe::layer(&network.to_json()).unwrap(), network);
        });
        small_stack.unwrap().join().unwrap();
    }

    #[test]
    fn impossible_options_are_refused() {
        let stage = |num_residuals, num_channels| Stage { num_residuals, num_channels };
        let archs = [vec![], vec![stage(0, 64)], vec![stage(2, 0)], vec![stage(usize::MAX, 64), stage(1, 64)]];
        for arch in archs {
            let error = resnet(&ResNetOptions { arch, ..resnet18() }).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
        }
        let error = resnet(&ResNetOptions { num_classes: 0, ..resnet18() }).unwrap_err();
        assert_eq!(error.message, "numClasses: expected a number from 1 to 1048576, got 0");
    }
}
