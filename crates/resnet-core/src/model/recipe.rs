//! What TypeScript asks for, as JSON, and the layers that are made of it.

use super::block::{residual, Block, BlockOptions, Flavor, Shortcut};
use super::googlenet::{googlenet, inception, Inception};
use super::resnet::{resnet, ResNetOptions, Stage, Stem};
use super::{zoo, Layer};
use crate::error::{Code, Error, Result};
use serde::Deserialize;

/// A network or block with its options. What is not given is as in the named network, or the plain ResNet of d2l.ai 8.6.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Recipe {
    /// A residual network of stages, or a named one.
    Resnet {
        /// Its stages or its name.
        arch: Arch,
        /// What differs.
        #[serde(flatten)]
        settings: Settings,
    },
    /// A residual network for CIFAR's images.
    CifarResnet {
        /// Number of its layers.
        depth: usize,
        /// What differs.
        #[serde(flatten)]
        settings: Settings,
    },
    /// GoogLeNet.
    Googlenet {
        /// Number of classes.
        num_classes: usize,
    },
    /// A residual block.
    Residual {
        /// Its channels.
        num_channels: usize,
        /// Its stride, default 1.
        #[serde(default = "one")]
        strides: usize,
        /// Whether its shortcut has a 1x1 convolution, default false.
        #[serde(default, rename = "use1x1Conv")]
        use_1x1_conv: bool,
        /// What differs.
        #[serde(flatten)]
        settings: Settings,
    },
    /// An Inception block.
    Inception(Inception),
}

/// Stages of `[blocks, channels]`, or a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Arch {
    /// One of [`zoo::names`].
    Name(String),
    /// The stages in order.
    Stages(Vec<(usize, usize)>),
}

/// Which residual branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockName {
    /// [`Block::Basic`].
    Basic,
    /// [`Block::Bottleneck`].
    Bottleneck,
    /// [`Block::ResNeXt`].
    Resnext,
}

/// Options of residual networks and blocks, each given or not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// What residual branches are made of.
    pub block: Option<BlockName>,
    /// See [`Block`].
    pub groups: Option<usize>,
    /// See [`Block::Bottleneck`].
    pub width_per_group: Option<usize>,
    /// See [`Block::ResNeXt`].
    pub bot_mul: Option<f64>,
    /// See [`ResNetOptions::pre_activation`].
    pub pre_activation: Option<bool>,
    /// See [`Stem`].
    pub stem: Option<Stem>,
    /// See [`Shortcut`].
    pub shortcut: Option<Shortcut>,
    /// See [`Flavor`].
    pub flavor: Option<Flavor>,
    /// See [`ResNetOptions::zero_init_residual`].
    pub zero_init_residual: Option<bool>,
    /// Number of classes.
    pub num_classes: Option<usize>,
}

impl Recipe {
    /// The layers that JSON asks for.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it asks for something that is not, or cannot be.
    pub fn layer(json: &str) -> Result<Layer> {
        let recipe = serde_json::from_str(json)
            .map_err(|error| Error::new(Code::InvalidArgument, format!("options: {error}")))?;
        match recipe {
            Self::Resnet { arch, settings } => resnet(&settings.onto(arch.options()?)?),
            Self::CifarResnet { depth, settings } => {
                let bottleneck = settings.block.map(|block| block == BlockName::Bottleneck);
                let pre_activation = settings.pre_activation.unwrap_or(false);
                resnet(&settings.onto(zoo::cifar(depth, bottleneck, pre_activation)?)?)
            }
            Self::Googlenet { num_classes } => googlenet(num_classes),
            Self::Residual { num_channels, strides, use_1x1_conv, settings } => {
                // A block's options are those that it would have in a network.
                let ResNetOptions { block, pre_activation, shortcut, flavor, zero_init_residual, .. } =
                    settings.onto(ResNetOptions::default())?;
                residual(&BlockOptions {
                    block,
                    pre_activation,
                    num_channels,
                    strides,
                    use_1x1_conv,
                    shortcut,
                    flavor,
                    zero_init_residual,
                })
            }
            Self::Inception(channels) => inception(channels),
        }
    }
}

fn one() -> usize {
    1
}

impl Arch {
    fn options(self) -> Result<ResNetOptions> {
        match self {
            Self::Name(name) => zoo::preset(&name).ok_or_else(|| {
                let names: Vec<&str> = zoo::names().collect();
                Error::expected(Code::InvalidArgument, "arch", format!("one of {}", names.join(", ")), name)
            }),
            Self::Stages(stages) => {
                let stage = |(num_residuals, num_channels)| Stage { num_residuals, num_channels };
                let arch = stages.into_iter().map(stage).collect();
                Ok(ResNetOptions { arch, num_classes: 10, ..ResNetOptions::default() })
            }
        }
    }
}

impl Settings {
    /// These options with what was not given taken from `preset`.
    fn onto(self, preset: ResNetOptions) -> Result<ResNetOptions> {
        Ok(ResNetOptions {
            block: self.block_onto(preset.block)?,
            pre_activation: self.pre_activation.unwrap_or(preset.pre_activation),
            stem: self.stem.unwrap_or(preset.stem),
            shortcut: self.shortcut.unwrap_or(preset.shortcut),
            flavor: self.flavor.unwrap_or(preset.flavor),
            zero_init_residual: self.zero_init_residual.unwrap_or(preset.zero_init_residual),
            num_classes: self.num_classes.unwrap_or(preset.num_classes),
            arch: preset.arch,
        })
    }

    fn block_onto(&self, preset: Block) -> Result<Block> {
        let name = self.block.unwrap_or(match preset {
            Block::Basic => BlockName::Basic,
            Block::Bottleneck { .. } => BlockName::Bottleneck,
            Block::ResNeXt { .. } => BlockName::Resnext,
        });
        let refuse = |given: bool, option, blocks| match given {
            true => Err(Error::expected(Code::InvalidArgument, option, format!("{blocks} block"), format!("{name:?}"))),
            false => Ok(()),
        };
        refuse(self.groups.is_some() && name == BlockName::Basic, "groups", "a bottleneck or resnext")?;
        refuse(self.width_per_group.is_some() && name != BlockName::Bottleneck, "widthPerGroup", "a bottleneck")?;
        refuse(self.bot_mul.is_some() && name != BlockName::Resnext, "botMul", "a resnext")?;
        Ok(match name {
            BlockName::Basic => Block::Basic,
            BlockName::Bottleneck => {
                let (groups, width) = match preset {
                    Block::Bottleneck { groups, width_per_group } => (groups, width_per_group),
                    _ => (1, 64),
                };
                let width_per_group = self.width_per_group.unwrap_or(width);
                Block::Bottleneck { groups: self.groups.unwrap_or(groups), width_per_group }
            }
            BlockName::Resnext => {
                let (groups, factor) = match preset {
                    Block::ResNeXt { groups, bot_mul } => (groups, bot_mul),
                    _ => (16, 1.0),
                };
                Block::ResNeXt { groups: self.groups.unwrap_or(groups), bot_mul: self.bot_mul.unwrap_or(factor) }
            }
        })
    }
}
