//! Networks as TypeScript describes them, in JSON: layers, and what layers are made from.

use super::block::{residual, Block, BlockOptions, Flavor, Shortcut};
use super::googlenet::{googlenet, inception};
use super::resnet::{resnet, ResNetOptions, Stage, Stem};
use super::{zoo, Child, Layer};
use crate::error::{Code, Error, Result};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// How deep layers may be nested.
const MOST_NESTED: usize = 32;

/// See [`Layer::Sequential`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequential {
    children: Vec<Child<Value>>,
}

/// See [`Layer::Residual`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Residual {
    preactivation: Option<Value>,
    body: Value,
    shortcut: Option<Value>,
    relu: bool,
    #[serde(default)]
    stochastic_depth: f64,
}

/// See [`Layer::Concat`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Concat {
    branches: Vec<Child<Value>>,
}

/// See [`googlenet`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoogLeNet {
    num_classes: usize,
}

/// Stages of `[blocks, channels]`, or a name.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a name, or stages of [blocks, channels]")]
enum Arch {
    /// One of [`zoo::names`].
    Name(String),
    /// The stages in order.
    Stages(Vec<(usize, usize)>),
}

/// Which residual branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BlockName {
    /// [`Block::Basic`].
    Basic,
    /// [`Block::Bottleneck`].
    Bottleneck,
    /// [`Block::ResNeXt`].
    Resnext,
}

/// Options of residual networks and blocks, each given or not.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// What residual branches are made of.
    block: Option<BlockName>,
    /// See [`Block`].
    groups: Option<usize>,
    /// See [`Block::Bottleneck`].
    width_per_group: Option<usize>,
    /// See [`Block::ResNeXt`].
    bot_mul: Option<f64>,
    /// See [`ResNetOptions::pre_activation`].
    pre_activation: Option<bool>,
    /// See [`Stem`].
    stem: Option<Stem>,
    /// See [`Shortcut`].
    shortcut: Option<Shortcut>,
    /// See [`Flavor`].
    flavor: Option<Flavor>,
    /// See [`ResNetOptions::zero_init_residual`].
    zero_init_residual: Option<bool>,
    /// See [`ResNetOptions::stochastic_depth`].
    stochastic_depth: Option<f64>,
    /// Number of classes.
    num_classes: Option<usize>,
}

/// The layers of a description in JSON: a layer as [`Layer::to_json`] writes it, or a network or block with its options, alone or
/// within `sequential`, `residual` and `concat`. Options that are not given are as in the named network, or the plain ResNet of
/// d2l.ai 8.6.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if it is no description, has a field that is unknown, asks for what cannot be, or has layers nested more
/// than 32 deep.
pub fn layer(json: &str) -> Result<Layer> {
    // The parser's own limit is three levels for each layer.
    let nested = || refused(format!("expected layers nested at most {MOST_NESTED} deep"));
    let description = serde_json::from_str(json).map_err(|error| match error.to_string() {
        text if text.starts_with("recursion limit") => nested(),
        text => refused(text),
    })?;
    let layer = made(description)?;
    match layer.depth() {
        0..=MOST_NESTED => Ok(layer),
        _ => Err(nested()),
    }
}

/// The type is read before the other fields, so that an error is about the fields of that type.
fn made(mut description: Value) -> Result<Layer> {
    match description["type"].as_str().unwrap_or_default() {
        "resnet" => {
            let arch: Arch = needed(&mut description, "arch")?;
            resnet(&fields::<Settings>(description)?.onto(arch.options()?)?)
        }
        "cifar_resnet" => {
            let depth = needed(&mut description, "depth")?;
            let settings: Settings = fields(description)?;
            let bottleneck = settings.block.map(|block| block == BlockName::Bottleneck);
            let pre_activation = settings.pre_activation.unwrap_or(false);
            resnet(&settings.onto(zoo::cifar(depth, bottleneck, pre_activation)?)?)
        }
        "googlenet" => googlenet(fields::<GoogLeNet>(description)?.num_classes),
        "residual_block" => residual_block(description),
        "inception" => inception(fields(description)?),
        "sequential" => {
            let Sequential { children } = fields(description)?;
            Ok(Layer::Sequential { children: all_made(children)? })
        }
        "concat" => {
            let Concat { branches } = fields(description)?;
            Ok(Layer::Concat { branches: all_made(branches)? })
        }
        "residual" => {
            let Residual { preactivation, body, shortcut, relu, stochastic_depth } = fields(description)?;
            let boxed = |description| made(description).map(Box::new);
            let (preactivation, body) = (preactivation.map(boxed).transpose()?, boxed(body)?);
            let shortcut = shortcut.map(boxed).transpose()?;
            Ok(Layer::Residual { preactivation, body, shortcut, relu, stochastic_depth })
        }
        _ => serde_json::from_value(description).map_err(refused),
    }
}

fn residual_block(mut description: Value) -> Result<Layer> {
    let num_channels = needed(&mut description, "num_channels")?;
    let strides = taken(&mut description, "strides")?.unwrap_or(1);
    let use_1x1_conv = taken(&mut description, "use1x1_conv")?.unwrap_or(false);
    let settings: Settings = fields(description)?;
    let has_shortcut = match (use_1x1_conv, settings.shortcut) {
        (false, Some(shortcut @ (Shortcut::Conv | Shortcut::AvgPool))) => {
            let got = format!("{} alone", format!("{shortcut:?}").to_lowercase());
            return Err(Error::expected(Code::InvalidArgument, "shortcut", "use1x1Conv: true beside it", got));
        }
        (true, Some(Shortcut::Pad)) => {
            let expected = "conv or avgpool beside use1x1Conv: true";
            return Err(Error::expected(Code::InvalidArgument, "shortcut", expected, "pad"));
        }
        (true, None | Some(Shortcut::Conv | Shortcut::AvgPool)) | (false, Some(Shortcut::Pad)) => true,
        (false, None) => false,
    };
    // A block's options are those that it would have in a network.
    let ResNetOptions { block, pre_activation, shortcut, flavor, zero_init_residual, stochastic_depth, .. } =
        settings.onto(ResNetOptions::default())?;
    residual(&BlockOptions {
        block,
        pre_activation,
        num_channels,
        strides,
        shortcut: has_shortcut.then_some(shortcut),
        flavor,
        zero_init_residual,
        stochastic_depth,
    })
}

fn all_made(children: Vec<Child<Value>>) -> Result<Vec<Child>> {
    let made = |Child { name, title, layer }: Child<Value>| Ok(Child { name, title, layer: made(layer)? });
    children.into_iter().map(made).collect()
}

/// All fields that are left, but the type.
fn fields<T: DeserializeOwned>(mut description: Value) -> Result<T> {
    taken::<IgnoredAny>(&mut description, "type")?;
    serde_json::from_value(description).map_err(refused)
}

/// Takes a field out of a description.
fn taken<T: DeserializeOwned>(description: &mut Value, field: &str) -> Result<Option<T>> {
    let value = description.as_object_mut().and_then(|fields| fields.remove(field));
    value.map(serde_json::from_value).transpose().map_err(|error| refused(format!("{field}: {error}")))
}

fn needed<T: DeserializeOwned>(description: &mut Value, field: &str) -> Result<T> {
    taken(description, field)?.ok_or_else(|| refused(format!("missing field `{field}`")))
}

fn refused(reason: impl fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, format!("network description: {reason}"))
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
            stochastic_depth: self.stochastic_depth.unwrap_or(preset.stochastic_depth),
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
                    Block::Basic | Block::ResNeXt { .. } => (1, 64),
                };
                let width_per_group = self.width_per_group.unwrap_or(width);
                Block::Bottleneck { groups: self.groups.unwrap_or(groups), width_per_group }
            }
            BlockName::Resnext => {
                let (groups, factor) = match preset {
                    Block::ResNeXt { groups, bot_mul } => (groups, bot_mul),
                    Block::Basic | Block::Bottleneck { .. } => (16, 1.0),
                };
                Block::ResNeXt { groups: self.groups.unwrap_or(groups), bot_mul: self.bot_mul.unwrap_or(factor) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::googlenet::Inception;
    use super::*;

    fn layer(json: &str) -> Layer {
        super::layer(json).unwrap()
    }

    fn refusal(json: &str) -> String {
        let error = super::layer(json).unwrap_err();
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
                       "zero_init_residual":true,"num_classes":3}"#;
        assert_eq!(layer(json), resnet(&changed).unwrap());
    }

    #[test]
    fn stages_of_ones_own_are_the_chapter_s_network() {
        let json = r#"{"type":"resnet","arch":[[2,64],[2,128],[2,256],[2,512]]}"#;
        assert_eq!(layer(json), resnet(&zoo::preset("resnet18").unwrap()).unwrap());
        let resnext = json.replace("]]", r#"]],"block":"resnext","groups":16,"bot_mul":1"#);
        assert_eq!(layer(&resnext), resnet(&zoo::preset("resnext18").unwrap()).unwrap());
    }

    #[test]
    fn blocks_have_the_options_of_networks() {
        let shortcut = Some(Shortcut::Conv);
        let options = BlockOptions { shortcut, strides: 2, ..BlockOptions::new(Block::BOTTLENECK, 8) };
        let json = r#"{"type":"residual_block","num_channels":8,"strides":2,"use1x1_conv":true,"block":"bottleneck"}"#;
        assert_eq!(layer(json), residual(&options).unwrap());
        let padded = BlockOptions { shortcut: Some(Shortcut::Pad), ..BlockOptions::new(Block::Basic, 8) };
        let json = r#"{"type":"residual_block","num_channels":8,"shortcut":"pad"}"#;
        assert_eq!(layer(json), residual(&padded).unwrap());
        let channels = Inception { c1: 1, c2: [2, 3], c3: [4, 5], c4: 6 };
        assert_eq!(layer(r#"{"type":"inception","c1":1,"c2":[2,3],"c3":[4,5],"c4":6}"#), inception(channels).unwrap());
        assert_eq!(layer(r#"{"type":"googlenet","num_classes":7}"#), googlenet(7).unwrap());
        let cifar = resnet(&zoo::cifar(29, Some(true), true).unwrap()).unwrap();
        assert_eq!(layer(r#"{"type":"cifar_resnet","depth":29,"block":"bottleneck","pre_activation":true}"#), cifar);
    }

    #[test]
    fn layers_may_hold_networks_and_blocks() {
        let resnet = resnet(&zoo::preset("resnet18").unwrap()).unwrap();
        let body = residual(&BlockOptions::new(Block::Basic, 4)).unwrap();
        let block = Layer::Residual {
            preactivation: Some(Box::new(Layer::Relu)),
            body: Box::new(body.clone()),
            shortcut: Some(Box::new(body)),
            relu: false,
            stochastic_depth: 0.25,
        };
        let child = |name: &str, layer| Child::new(name, layer);
        let branches = vec![child("a", resnet), child("b", Layer::Dropout { p: 0.3 })];
        let expected = Layer::sequential(vec![child("0", Layer::Concat { branches }), child("1", block)]);
        let small = r#"{"type":"residual_block","num_channels":4}"#;
        let json = format!(
            r#"{{"type":"sequential","children":[
                {{"name":"0","layer":{{"type":"concat","branches":[
                    {{"name":"a","layer":{{"type":"resnet","arch":"resnet18"}}}},
                    {{"name":"b","layer":{{"type":"dropout","p":0.3}}}}]}}}},
                {{"name":"1","layer":{{"type":"residual","preactivation":{{"type":"relu"}},
                    "body":{small},"shortcut":{small},"relu":false,"stochastic_depth":0.25}}}}]}}"#
        );
        assert_eq!(layer(&json), expected);
        // What a model file holds is a description too.
        assert_eq!(layer(&expected.to_json()), expected);
    }

    #[test]
    fn layers_nested_too_deep_are_refused_in_our_words() {
        let nested = |depth: usize, inner: &str| {
            let [open, close] = [r#"{"type":"sequential","children":[{"name":"0","layer":"#, "}]}"];
            format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
        };
        let relu = r#"{"type":"relu"}"#;
        assert!(super::layer(&nested(MOST_NESTED - 1, relu)).is_ok());
        // A block's layers count, too.
        let block = r#"{"type":"residual_block","num_channels":4}"#;
        for json in [nested(MOST_NESTED, relu), nested(50, relu), nested(10_000, relu), nested(MOST_NESTED - 2, block)]
        {
            assert_eq!(refusal(&json), "network description: expected layers nested at most 32 deep");
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let with = |options: &str| refusal(&format!(r#"{{"type":"resnet","arch":"resnet18",{options}}}"#));
        assert_eq!(with(r#""groups":2"#), "groups: expected a bottleneck or resnext block, got basic");
        assert_eq!(
            with(r#""width_per_group":2,"block":"resnext""#),
            "widthPerGroup: expected a bottleneck block, got resnext"
        );
        assert_eq!(with(r#""bot_mul":2,"block":"bottleneck""#), "botMul: expected a resnext block, got bottleneck");
        assert!(with(r#""pre_activation":true,"block":"resnext""#).starts_with("block: expected basic or bottleneck"));
        assert!(
            refusal(r#"{"type":"resnet","arch":"resnet19"}"#).starts_with("arch: expected one of resnet18, resnet34")
        );
        let block = r#"{"type":"residual_block","num_channels":4,"shortcut":"avgpool"}"#;
        assert_eq!(refusal(block), "shortcut: expected use1x1Conv: true beside it, got avgpool alone");
        let block = r#"{"type":"residual_block","num_channels":4,"shortcut":"pad","use1x1_conv":true}"#;
        assert_eq!(refusal(block), "shortcut: expected conv or avgpool beside use1x1Conv: true, got pad");
        assert!(refusal("{").starts_with("network description: EOF"));
    }
    #[test]
    fn refusals_name_what_is_wrong() {
        let of = |json: &str| refusal(json).strip_prefix("network description: ").unwrap().to_owned();
        let relu = r#"{"type":"relu"}"#;
        let cases = [
            (r#"{"type":"lenet"}"#, "unknown variant `lenet`"),
            (r#"{"relu":{}}"#, "missing field `type`"),
            (r#"{"type":"dropout","p":0.1,"q":1}"#, "unknown field `q`, expected `p`"),
            (r#"{"type":"linear","bias":true}"#, "missing field `out_features`"),
            (r#"{"type":"resnet"}"#, "missing field `arch`"),
            (r#"{"type":"resnet","arch":18}"#, "arch: expected a name, or stages"),
            (r#"{"type":"resnet","arch":"resnet18","stems":"deep"}"#, "unknown field `stems`"),
            (r#"{"type":"resnet","arch":"resnet18","stem":"wide"}"#, "unknown variant `wide`"),
            (r#"{"type":"cifar_resnet","depth":20,"widen":2}"#, "unknown field `widen`"),
            (r#"{"type":"residual_block","num_channels":4,"stride":2}"#, "unknown field `stride`"),
            (r#"{"type":"residual_block","num_channels":4,"strides":"2"}"#, "strides: invalid type: string"),
            (r#"{"type":"googlenet","num_classes":7,"seed":1}"#, "unknown field `seed`"),
            (r#"{"type":"inception","c1":1,"c2":[2,3],"c3":[4,5],"c4":6,"c5":7}"#, "unknown field `c5`"),
            (r#"{"type":"sequential","children":[],"title":"a"}"#, "unknown field `title`"),
            (r#"{"type":"concat","branch":[]}"#, "unknown field `branch`"),
            (r#"{"type":"residual","body":RELU,"relu":true,"shortcuts":RELU}"#, "unknown field `shortcuts`"),
            (r#"{"type":"residual","body":{"type":"dropout"},"relu":true}"#, "missing field `p`"),
            (r#"{"type":"sequential","children":[{"name":"0","layer":RELU,"p":1}]}"#, "unknown field `p`"),
        ];
        for (json, expected) in cases {
            let message = of(&json.replace("RELU", relu));
            assert!(message.starts_with(expected), "{json}: {message}");
        }
    }
}
