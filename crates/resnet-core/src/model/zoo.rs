//! The networks that have a name.

use super::resnet::{Block, Flavor, ResNetOptions, Stage, Stem};
use crate::error::{Code, Error, Result};

/// A named network: blocks of each stage, what they are made of, and whose it is.
struct Preset {
    name: &'static str,
    blocks: [usize; 4],
    block: Block,
    pre_activation: bool,
    flavor: Flavor,
}

const fn row(name: &'static str, blocks: [usize; 4], block: Block, flavor: Flavor) -> Preset {
    Preset { name, blocks, block, pre_activation: false, flavor }
}

const fn pre_activation(name: &'static str, blocks: [usize; 4], block: Block) -> Preset {
    Preset { name, blocks, block, pre_activation: true, flavor: Flavor::D2l }
}

const fn grouped(groups: usize, width_per_group: usize) -> Block {
    Block::Bottleneck { groups, width_per_group }
}

const D18: [usize; 4] = [2, 2, 2, 2];
const D34: [usize; 4] = [3, 4, 6, 3];
const D101: [usize; 4] = [3, 4, 23, 3];
const D152: [usize; 4] = [3, 8, 36, 3];
const CHAPTER: Block = Block::ResNeXt { groups: 16, bot_mul: 1.0 };

/// Stages have 64, 128, 256 and 512 channels.
const PRESETS: [Preset; 17] = [
    // He et al., 2016, table 1.
    row("resnet18", D18, Block::Basic, Flavor::D2l),
    row("resnet34", D34, Block::Basic, Flavor::D2l),
    row("resnet50", D34, Block::BOTTLENECK, Flavor::D2l),
    row("resnet101", D101, Block::BOTTLENECK, Flavor::D2l),
    row("resnet152", D152, Block::BOTTLENECK, Flavor::D2l),
    // d2l.ai 8.6.5.
    row("resnext18", D18, CHAPTER, Flavor::D2l),
    row("resnext34", D34, CHAPTER, Flavor::D2l),
    // Xie et al., 2017.
    row("resnext50_32x4d", D34, grouped(32, 4), Flavor::Torchvision),
    row("resnext101_32x8d", D101, grouped(32, 8), Flavor::Torchvision),
    row("resnext101_64x4d", D101, grouped(64, 4), Flavor::Torchvision),
    // Zagoruyko and Komodakis, 2016.
    row("wide_resnet50_2", D34, grouped(1, 128), Flavor::Torchvision),
    row("wide_resnet101_2", D101, grouped(1, 128), Flavor::Torchvision),
    // He et al., 2016b.
    pre_activation("preactresnet18", D18, Block::Basic),
    pre_activation("preactresnet34", D34, Block::Basic),
    pre_activation("preactresnet50", D34, Block::BOTTLENECK),
    pre_activation("preactresnet101", D101, Block::BOTTLENECK),
    pre_activation("preactresnet152", D152, Block::BOTTLENECK),
];

/// The names of [`preset`].
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|row| row.name)
}

/// A named network for 10 classes; none if nothing has that name.
pub fn preset(name: &str) -> Option<ResNetOptions> {
    let row = PRESETS.iter().find(|row| row.name == name)?;
    let stage = |(num_residuals, num_channels)| Stage { num_residuals, num_channels };
    Some(ResNetOptions {
        arch: row.blocks.into_iter().zip([64, 128, 256, 512]).map(stage).collect(),
        block: row.block,
        pre_activation: row.pre_activation,
        flavor: row.flavor,
        num_classes: 10,
        ..ResNetOptions::default()
    })
}

/// The networks for CIFAR's 32x32 images (He et al., 2016, 4.2, and 2016b): a small stem and three stages of n blocks with 16,
/// 32 and 64 channels. A depth of 6n + 2 has basic blocks, 9n + 2 bottlenecks; `bottleneck` chooses where both are possible.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` for another depth.
pub fn cifar(depth: usize, bottleneck: Option<bool>, pre_activation: bool) -> Result<ResNetOptions> {
    let blocks = |per_block: usize| {
        let layers = depth.checked_sub(2)?;
        (layers > 0 && layers % (3 * per_block) == 0).then(|| layers / (3 * per_block))
    };
    let basic = blocks(2).filter(|_| bottleneck != Some(true)).map(|n| (n, Block::Basic));
    let deep = blocks(3).filter(|_| bottleneck != Some(false)).map(|n| (n, Block::BOTTLENECK));
    let Some((num_residuals, block)) = basic.or(deep) else {
        let expected = match bottleneck {
            None => "6n + 2 (basic blocks) or 9n + 2 (bottlenecks)",
            Some(false) => "6n + 2 for basic blocks",
            Some(true) => "9n + 2 for bottlenecks",
        };
        return Err(Error::expected(Code::InvalidArgument, "depth", expected, depth));
    };
    Ok(ResNetOptions {
        arch: [16, 32, 64].map(|num_channels| Stage { num_residuals, num_channels }).into(),
        block,
        pre_activation,
        stem: Stem::Small,
        num_classes: 10,
        ..ResNetOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::trace_channels;
    use crate::model::params::Params;
    use crate::model::resnet::{resnet, Shortcut};
    use crate::model::summary::{rows, Depth};

    fn parameters(options: &ResNetOptions, channels: usize) -> usize {
        Params::of(&trace_channels(&resnet(options).unwrap(), channels).unwrap()).unwrap().parameters_len()
    }

    #[test]
    fn d2l_flavor_has_the_chapter_s_numbers_of_parameters() {
        let expected = [
            ("resnet18", 11_178_378),
            ("resnet34", 21_290_250),
            ("resnext18", 1_697_546),
            ("resnext34", 3_103_818),
            ("resnet50", 23_541_130),
        ];
        for (name, count) in expected {
            assert_eq!(parameters(&preset(name).unwrap(), 1), count, "{name}");
        }
    }

    #[test]
    fn torchvision_flavor_has_torchvision_s_numbers_of_parameters() {
        let expected = [
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("resnet101", 44_549_160),
            ("resnet152", 60_192_808),
            ("resnext50_32x4d", 25_028_904),
            ("resnext101_32x8d", 88_791_336),
            ("resnext101_64x4d", 83_455_272),
            ("wide_resnet50_2", 68_883_240),
            ("wide_resnet101_2", 126_886_696),
        ];
        for (name, count) in expected {
            let options = ResNetOptions { flavor: Flavor::Torchvision, num_classes: 1000, ..preset(name).unwrap() };
            assert_eq!(parameters(&options, 3), count, "{name}");
        }
    }

    #[test]
    fn stages_of_resnet50_are_the_chapter_s() {
        let network = resnet(&preset("resnet50").unwrap()).unwrap();
        let rows = rows(&network, &[1, 1, 224, 224], Depth::Stages).unwrap();
        let shapes: Vec<&[usize]> = rows.iter().map(|row| row.output_shape.as_slice()).collect();
        let expected: [&[usize]; 6] =
            [&[1, 64, 56, 56], &[1, 256, 56, 56], &[1, 512, 28, 28], &[1, 1024, 14, 14], &[1, 2048, 7, 7], &[1, 10]];
        assert_eq!(shapes, expected);
    }

    #[test]
    fn every_named_network_is_one() {
        for name in names() {
            let options = preset(name).unwrap();
            for flavor in [Flavor::D2l, Flavor::Torchvision] {
                for (stem, shortcut) in [(Stem::Imagenet, Shortcut::AvgPool), (Stem::Deep, Shortcut::Conv)] {
                    let options = ResNetOptions { flavor, stem, shortcut, zero_init_residual: true, ..options.clone() };
                    assert!(parameters(&options, 3) > 1_000_000, "{name}");
                }
            }
        }
        assert!(preset("resnet19").is_none());
    }

    #[test]
    fn cifar_networks_have_their_depth() {
        let blocks = |options: ResNetOptions| (options.arch[0].num_residuals, options.block);
        assert_eq!(blocks(cifar(20, None, false).unwrap()), (3, Block::Basic));
        assert_eq!(blocks(cifar(164, None, true).unwrap()), (27, Block::Basic));
        assert_eq!(blocks(cifar(164, Some(true), true).unwrap()), (18, Block::BOTTLENECK));
        assert_eq!(blocks(cifar(1001, None, true).unwrap()), (111, Block::BOTTLENECK));
        for depth in [0, 2, 19, 21] {
            assert_eq!(cifar(depth, None, false).unwrap_err().code, Code::InvalidArgument);
        }
        assert!(cifar(32, Some(true), false).is_err() && cifar(29, Some(false), false).is_err());
    }

    #[test]
    fn resnet1001_has_the_paper_s_ten_million_parameters() {
        // He et al., 2016b, table 3, without biases.
        let options = ResNetOptions { flavor: Flavor::Torchvision, ..cifar(1001, None, true).unwrap() };
        assert_eq!(parameters(&options, 3), 10_327_706);
    }
}
