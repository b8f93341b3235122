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
                if let (false, Some(shortcut)) = (use_1x1_conv, settings.shortcut) {
                    let expected = "use1x1Conv: true beside it";
                    return Err(Error::expected(
                        Code::InvalidArgument,
                        "shortcut",
                        expected,
                        format!("{shortcut:?} alone"),
                    ));
                }
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
            true => Err(Error::expected(
                Code::InvalidArgument,
                option,
                format!("{blocks} block"),
                format!("{name:?}").to_lowercase(),
            )),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(json: &str) -> Layer {
        Recipe::layer(json).unwrap()
    }

    fn refusal(json: &str) -> String {
        let error = Recipe::layer(json).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        error.message
    }

    #[test]
    fn what_is_not_given_is_the_named_network_s() {
        let wide = zoo::preset("wide_resnet50_2").unwrap();
        assert_eq!(layer(r#"{"type":"resnet","arch":"wide_resnet50_2"}"#), resnet(&wide).unwrap());
        let changed = ResNetOptions {
            block: Block::Bottleneck { groups: 2, width_per_group: 128 },
            stem: Stem::Deep,
            shortcut: Shortcut::AvgPool,
            flavor: Flavor::D2l,
            zero_init_residual: true,
            num_classes: 3,
            ..wide
        };
        let json = r#"{"type":"resnet","arch":"wide_resnet50_2","groups":2,"stem":"deep","shortcut":"avgpool","flavor":"d2l",
                       "zeroInitResidual":true,"numClasses":3}"#;
        assert_eq!(layer(json), resnet(&changed).unwrap());
    }

    #[test]
    fn stages_of_ones_own_are_the_chapter_s_network() {
        let json = r#"{"type":"resnet","arch":[[2,64],[2,128],[2,256],[2,512]]}"#;
        assert_eq!(layer(json), resnet(&zoo::preset("resnet18").unwrap()).unwrap());
        let resnext = json.replace("]]", r#"]],"block":"resnext","groups":16,"botMul":1"#);
        assert_eq!(layer(&resnext), resnet(&zoo::preset("resnext18").unwrap()).unwrap());
    }

    #[test]
    fn blocks_have_the_options_of_networks() {
        let options = BlockOptions { use_1x1_conv: true, strides: 2, ..BlockOptions::new(Block::BOTTLENECK, 8) };
        let json = r#"{"type":"residual","numChannels":8,"strides":2,"use1x1Conv":true,"block":"bottleneck"}"#;
        assert_eq!(layer(json), residual(&options).unwrap());
        let channels = Inception { c1: 1, c2: [2, 3], c3: [4, 5], c4: 6 };
        assert_eq!(layer(r#"{"type":"inception","c1":1,"c2":[2,3],"c3":[4,5],"c4":6}"#), inception(channels).unwrap());
        assert_eq!(layer(r#"{"type":"googlenet","numClasses":7}"#), googlenet(7).unwrap());
        let cifar = resnet(&zoo::cifar(29, Some(true), true).unwrap()).unwrap();
        assert_eq!(layer(r#"{"type":"cifar_resnet","depth":29,"block":"bottleneck","preActivation":true}"#), cifar);
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let with = |options: &str| refusal(&format!(r#"{{"type":"resnet","arch":"resnet18",{options}}}"#));
        assert_eq!(with(r#""groups":2"#), "groups: expected a bottleneck or resnext block, got basic");
        assert_eq!(
            with(r#""widthPerGroup":2,"block":"resnext""#),
            "widthPerGroup: expected a bottleneck block, got resnext"
        );
        assert_eq!(with(r#""botMul":2,"block":"bottleneck""#), "botMul: expected a resnext block, got bottleneck");
        assert!(with(r#""preActivation":true,"block":"resnext""#).starts_with("block: expected basic or bottleneck"));
        assert!(
            refusal(r#"{"type":"resnet","arch":"resnet19"}"#).starts_with("arch: expected one of resnet18, resnet34")
        );
        let block = r#"{"type":"residual","numChannels":4,"shortcut":"avgpool"}"#;
        assert_eq!(refusal(block), "shortcut: expected use1x1Conv: true beside it, got AvgPool alone");
        assert!(refusal(r#"{"type":"lenet"}"#).starts_with("options: "));
    }
}
