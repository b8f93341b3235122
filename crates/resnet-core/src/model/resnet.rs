//! Residual networks: a stem, stages of blocks, a head.

use super::block::{batch_norm, check_size, conv, residual};
use super::layer::{Child, Init, Layer, Network};
use crate::error::{Code, Error, Result};

/// Channels of the stem's output.
const STEM_CHANNELS: usize = 64;
/// Most blocks of a network: a hundred times the deepest one that was ever published.
const MAX_BLOCKS: usize = 10_000;

/// A stage: blocks with the same number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How many residual blocks follow each other.
    pub num_residuals: usize,
    /// Channels of their outputs.
    pub num_channels: usize,
}

/// What a residual network is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNetOptions {
    /// The stages in order.
    pub arch: Vec<Stage>,
    /// Number of classes.
    pub num_classes: usize,
}

impl ResNetOptions {
    /// ResNet-18 (He et al., 2016).
    pub fn resnet18(num_classes: usize) -> Self {
        let arch = [64, 128, 256, 512].map(|num_channels| Stage { num_residuals: 2, num_channels });
        Self { arch: arch.into(), num_classes }
    }
}

/// A residual network for images (N, C, H, W): logits (N, `num_classes`). Each stage but the first halves height and width.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if there is no stage, a number is 0 or beyond 2^20, or there are more than 10 000 blocks.
pub fn resnet(options: &ResNetOptions) -> Result<Network> {
    let ResNetOptions { arch, num_classes } = options;
    check_size("num_classes", *num_classes)?;
    check_blocks(arch)?;
    let mut children = vec![stem()];
    let mut channels = STEM_CHANNELS;
    for (i, part) in arch.iter().enumerate() {
        children.push(Child::new(format!("layer{}", i + 1), stage(*part, i == 0, channels)?));
        channels = part.num_channels;
    }
    children.push(head(*num_classes));
    Ok(Network { init: Init::XavierUniform, root: Layer::Sequential { children } })
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

fn stem() -> Child {
    let pool = Layer::MaxPool2d { kernel: [3; 2], stride: [2; 2], padding: [1; 2] };
    let layers = [conv(STEM_CHANNELS, 7, 2, 3), batch_norm(), Layer::Relu, pool];
    Child::group("stem", named(["conv1", "bn1", "relu", "maxpool"], layers))
}

fn stage(Stage { num_residuals, num_channels }: Stage, first: bool, in_channels: usize) -> Result<Layer> {
    let strides = if first { 1 } else { 2 };
    let children = (0..num_residuals).map(|i| {
        let block = match i {
            0 => residual(num_channels, !first || in_channels != num_channels, strides),
            _ => residual(num_channels, false, 1),
        };
        Ok(Child::new(i.to_string(), block?))
    });
    Ok(Layer::Sequential { children: children.collect::<Result<_>>()? })
}

fn head(num_classes: usize) -> Child {
    let linear = Layer::Linear { out_features: num_classes, bias: true };
    Child::group("head", named(["avgpool", "fc"], [Layer::GlobalAvgPool2d, linear]))
}

fn named<const N: usize>(names: [&str; N], layers: [Layer; N]) -> Vec<Child> {
    names.into_iter().zip(layers).map(|(name, layer)| Child::new(name, layer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::params::Params;
    use crate::model::shape::{trace, Shape};

    fn params(options: &ResNetOptions, channels: usize) -> Params {
        let network = resnet(options).unwrap();
        Params::of(&trace(&network.root, Shape::Map { channels, size: None }).unwrap()).unwrap()
    }

    #[test]
    fn resnet18_has_pytorch_s_number_of_parameters() {
        let params = params(&ResNetOptions::resnet18(10), 1);
        assert_eq!(params.learnt_len(), 11_178_378);
        assert_eq!(params.running_len(), 7_808);
    }

    #[test]
    fn names_and_shapes_are_torchvision_s() {
        let params = params(&ResNetOptions::resnet18(10), 1);
        let list = params.in_order();
        let shown = |range: std::ops::Range<usize>| -> Vec<String> {
            list[range].iter().map(|parameter| format!("{} {:?}", parameter.name, parameter.shape)).collect()
        };
        assert_eq!(list.len(), 110);
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
    fn the_first_stage_has_a_1x1_shortcut_only_where_channels_differ() {
        let arch = vec![Stage { num_residuals: 1, num_channels: 32 }];
        let params = params(&ResNetOptions { arch, num_classes: 2 }, 3);
        let shortcut = params.learnt.iter().find(|parameter| parameter.name == "layer1.0.downsample.0.weight");
        assert_eq!(shortcut.unwrap().shape, [32, 64, 1, 1]);
    }

    #[test]
    fn thousands_of_blocks_need_no_deep_stack() {
        let arch = vec![Stage { num_residuals: 5_000, num_channels: 64 }];
        let small_stack = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
            let network = resnet(&ResNetOptions { arch, num_classes: 2 }).unwrap();
            let nodes = trace(&network.root, Shape::map(1, 32, 32)).unwrap().nodes.len();
            assert_eq!(nodes, 4 + 5_000 * 6 + 2);
            assert_eq!(Network::from_json(&network.to_json()).unwrap(), network);
        });
        small_stack.unwrap().join().unwrap();
    }

    #[test]
    fn impossible_options_are_refused() {
        let stage = |num_residuals, num_channels| Stage { num_residuals, num_channels };
        let archs = [vec![], vec![stage(0, 64)], vec![stage(2, 0)], vec![stage(usize::MAX, 64), stage(1, 64)]];
        for arch in archs {
            let error = resnet(&ResNetOptions { arch, num_classes: 10 }).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
        }
        let error = resnet(&ResNetOptions::resnet18(0)).unwrap_err();
        assert_eq!(error.message, "num_classes: expected a number from 1 to 1048576, got 0");
    }
}
