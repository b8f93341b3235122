//! The blocks that residual networks are made of.

use super::layer::{Child, Init, Layer};
use crate::error::{Code, Error, Result};
use serde::Deserialize;

/// Most channels, classes or strides that a description may ask for: far beyond any use, far from any overflow.
const MAX_SIZE: usize = 1 << 20;

/// Whose network it is: what differs between the same network in d2l.ai's chapter and in torchvision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavor {
    /// d2l.ai 8.6: convolutions have a bias, 1x1 shortcuts no norm (but the ResNeXt block's), weights are drawn as Glorot and
    /// Bengio do.
    #[default]
    D2l,
    /// torchvision (and timm, for pre-activation networks): no biases before norms, a norm in every shortcut, weights drawn
    /// as He et al. do.
    Torchvision,
}

/// The residual branch of a block of `c` channels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Block {
    /// 3x3 to c, 3x3 to c (He et al., 2016).
    #[default]
    Basic,
    /// 1x1 to w, 3x3 to w in `groups`, 1x1 to 4c, where w is ⌊c · `width_per_group` / 64⌋ · `groups` (He et al., 2016; Xie et
    /// al., 2017; Zagoruyko and Komodakis, 2016).
    Bottleneck {
        /// Groups of the 3x3 convolution.
        groups: usize,
        /// Channels of a group where c is 64.
        width_per_group: usize,
    },
    /// 1x1 to b, 3x3 to b in ⌊b / `groups`⌋ groups, 1x1 to c, where b is c · `bot_mul` rounded: d2l.ai's ResNeXt block, in which
    /// `groups` is the width of a group.
    ResNeXt {
        /// Channels of a group.
        groups: usize,
        /// Width of the 3x3 convolution over that of the block.
        bot_mul: f64,
    },
}

impl Block {
    /// The usual bottleneck.
    pub const BOTTLENECK: Self = Self::Bottleneck { groups: 1, width_per_group: 64 };

    /// Output channels over the channels that a stage names.
    pub fn expansion(self) -> usize {
        match self {
            Self::Bottleneck { .. } => 4,
            Self::Basic | Self::ResNeXt { .. } => 1,
        }
    }
}

/// How a shortcut brings its input to another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// A 1x1 convolution with the block's stride.
    #[default]
    Conv,
    /// Average-pooling with the block's stride, then a 1x1 convolution (ResNet-D; He et al., 2019).
    #[serde(rename = "avgpool")]
    AvgPool,
    /// No parameters: pixels by the block's stride, with zero channels around theirs (option A of He et al., 2016).
    Pad,
}

/// What a block is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockOptions {
    /// The residual branch.
    pub block: Block,
    /// Whether norm and ReLU come before the convolutions and none after the sum (He et al., 2016b).
    pub pre_activation: bool,
    /// The channels c.
    pub num_channels: usize,
    /// Stride of the block's 3x3 convolution (the first, if there are two) and of its shortcut.
    pub strides: usize,
    /// How the shortcut brings the input to the output's shape; without, it is the input itself.
    pub shortcut: Option<Shortcut>,
    /// Whose block it is.
    pub flavor: Flavor,
    /// Whether the block starts as its shortcut: γ of its last norm, or its last convolution if norms come first, is zero.
    pub zero_init_residual: bool,
    /// See [`Layer::Residual`].
    pub stochastic_depth: f64,
}

impl BlockOptions {
    /// A block with stride 1, whose shortcut is its input.
    pub fn new(block: Block, num_channels: usize) -> Self {
        Self {
            block,
            pre_activation: false,
            num_channels,
            strides: 1,
            shortcut: None,
            flavor: Flavor::D2l,
            zero_init_residual: false,
            stochastic_depth: 0.0,
        }
    }
}

/// A residual block. Maps (N, C, H, W) become (N, c or 4c, ⌈H / `strides`⌉, ⌈W / `strides`⌉); without a shortcut of its own C must
/// be the output's channels and the stride 1, with [`Shortcut::Pad`] at most those channels, which shows when input shapes are known.
///
/// Names are torchvision's (`conv1`, `bn1`, …, `downsample.0`) or, with `pre_activation`, those of timm's resnetv2 (`norm1`,
/// `conv1`, …, `downsample.conv`).
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if a number is 0 or beyond 2^20, if groups do not divide their channels, or for a pre-activation
/// ResNeXt block, which nobody defined.
pub fn residual(options: &BlockOptions) -> Result<Layer> {
    let convolutions = convolutions(options)?;
    match options.pre_activation {
        false => Ok(post_activation(options, convolutions)),
        true => Ok(pre_activation(options, convolutions)),
    }
}

/// conv → norm → ReLU → … → norm, added to the shortcut, ReLU.
fn post_activation(options: &BlockOptions, convolutions: Vec<Layer>) -> Layer {
    let last = convolutions.len();
    let mut body = Vec::new();
    for (i, conv) in (1..).zip(convolutions) {
        body.extend([named("conv", i, conv), named("bn", i, batch_norm(i == last && options.zero_init_residual))]);
        if i < last {
            body.push(named("relu", i, Layer::Relu));
        }
    }
    let projection = |pool: Option<Layer>, conv| {
        let norm = options.flavor == Flavor::Torchvision || matches!(options.block, Block::ResNeXt { .. });
        // An average-pooling shortcut counts from its pool, also where the stride is 1 and there is none.
        let first = usize::from(options.shortcut == Some(Shortcut::AvgPool) && pool.is_none());
        let layers = pool.into_iter().chain([conv]).chain(norm.then(|| batch_norm(false)));
        Layer::sequential((first..).zip(layers).map(|(i, layer)| named("", i, layer)).collect())
    };
    Layer::Residual {
        preactivation: None,
        body: Box::new(Layer::sequential(body)),
        shortcut: shortcut(options, projection),
        relu: true,
        stochastic_depth: options.stochastic_depth,
    }
}

/// norm → ReLU, then conv → norm → ReLU → … → conv, added to the input itself, or to the shortcut of what the first ReLU
/// gives.
fn pre_activation(options: &BlockOptions, mut convolutions: Vec<Layer>) -> Layer {
    if let (true, Some(Layer::Conv2d { init, .. })) = (options.zero_init_residual, convolutions.last_mut()) {
        *init = Init::Zeros;
    }
    let mut layers = Vec::new();
    for (i, conv) in (1..).zip(convolutions) {
        layers.extend([named("norm", i, batch_norm(false)), named("relu", i, Layer::Relu), named("conv", i, conv)]);
    }
    let body = layers.split_off(2);
    let projection = |pool: Option<Layer>, conv| {
        let pool = pool.map(|pool| Child::new("pool", pool));
        Layer::sequential(pool.into_iter().chain([Child::new("conv", conv)]).collect())
    };
    Layer::Residual {
        preactivation: Some(Box::new(Layer::sequential(layers))),
        body: Box::new(Layer::sequential(body)),
        shortcut: shortcut(options, projection),
        relu: false,
        stochastic_depth: options.stochastic_depth,
    }
}

/// The convolutions of the residual branch, in order.
fn convolutions(options: &BlockOptions) -> Result<Vec<Layer>> {
    let BlockOptions { block, num_channels, strides, flavor, .. } = *options;
    check_size("numChannels", num_channels)?;
    check_size("strides", strides)?;
    let conv = |out_channels, kernel, stride| conv(flavor, out_channels, kernel, stride);
    let (width, groups) = match block {
        Block::Basic => return Ok(vec![conv(num_channels, 3, strides), conv(num_channels, 3, 1)]),
        Block::Bottleneck { groups, width_per_group } => bottleneck(num_channels, groups, width_per_group)?,
        Block::ResNeXt { .. } if options.pre_activation => {
            let expected = "basic or bottleneck for pre-activation";
            return Err(Error::expected(Code::InvalidArgument, "block", expected, "resnext"));
        }
        Block::ResNeXt { groups, bot_mul } => resnext(num_channels, groups, bot_mul)?,
    };
    let mut middle = conv(width, 3, strides);
    if let Layer::Conv2d { groups: place, .. } = &mut middle {
        *place = groups;
    }
    Ok(vec![conv(width, 1, 1), middle, conv(num_channels * block.expansion(), 1, 1)])
}

/// Channels and groups of a bottleneck's 3x3 convolution.
fn bottleneck(num_channels: usize, groups: usize, width_per_group: usize) -> Result<(usize, usize)> {
    check_size("groups", groups)?;
    check_size("widthPerGroup", width_per_group)?;
    let width = num_channels * width_per_group / 64 * groups;
    if (1..=MAX_SIZE).contains(&width) {
        return Ok((width, groups));
    }
    let expected = format!("a width for which {num_channels} channels make 3x3 convolutions of 1 to {MAX_SIZE}");
    Err(Error::expected(Code::InvalidArgument, "widthPerGroup", expected, width_per_group))
}

/// Channels and groups of the 3x3 convolution of d2l.ai's ResNeXt block.
fn resnext(num_channels: usize, groups: usize, bot_mul: f64) -> Result<(usize, usize)> {
    check_size("groups", groups)?;
    // As Python rounds.
    let width = (num_channels as f64 * bot_mul).round_ties_even();
    if !(width >= 1.0 && width <= MAX_SIZE as f64) {
        let expected = format!("a factor that makes 1 to {MAX_SIZE} of {num_channels} channels");
        return Err(Error::expected(Code::InvalidArgument, "botMul", expected, bot_mul));
    }
    let width = width as usize;
    match width / groups {
        number if number > 0 && width.is_multiple_of(number) => Ok((width, number)),
        _ => {
            let expected = format!("channels of a group for which ⌊{width} / groups⌋ divides {width}");
            Err(Error::expected(Code::InvalidArgument, "groups", expected, groups))
        }
    }
}

/// The shortcut's layers, if it has some; `projection` names the pool, where there is one, and the convolution.
fn shortcut(options: &BlockOptions, projection: impl FnOnce(Option<Layer>, Layer) -> Layer) -> Option<Box<Layer>> {
    let BlockOptions { block, num_channels, strides, flavor, .. } = *options;
    let (out_channels, stride) = (num_channels * block.expansion(), [strides; 2]);
    let pool = Layer::AvgPool2d { kernel: stride, stride, padding: [0; 2], ceil_mode: true, count_include_pad: false };
    Some(Box::new(match options.shortcut? {
        Shortcut::Conv => projection(None, conv(flavor, out_channels, 1, strides)),
        Shortcut::AvgPool => projection((strides > 1).then_some(pool), conv(flavor, out_channels, 1, 1)),
        Shortcut::Pad => Layer::PadChannels { out_channels, stride },
    }))
}

/// A square convolution that keeps the size but for its stride.
pub(super) fn conv(flavor: Flavor, out_channels: usize, kernel: usize, stride: usize) -> Layer {
    Layer::Conv2d {
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        groups: 1,
        bias: flavor == Flavor::D2l,
        init: match flavor {
            Flavor::D2l => Init::XavierUniform,
            Flavor::Torchvision => Init::KaimingNormal,
        },
    }
}

/// Batch normalisation with PyTorch's defaults.
pub(super) fn batch_norm(zero_init: bool) -> Layer {
    Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init }
}

fn named(kind: &str, number: usize, layer: Layer) -> Child {
    Child::new(format!("{kind}{number}"), layer)
}

/// Refuses sizes that no network can have.
pub(super) fn check_size(parameter: &str, size: usize) -> Result<()> {
    if (1..=MAX_SIZE).contains(&size) {
        return Ok(());
    }
    Err(Error::expected(Code::InvalidArgument, parameter, format!("a number from 1 to {MAX_SIZE}"), size))
}

/// The chapter's `Residual`, for tests.
#[cfg(test)]
pub(crate) fn basic(num_channels: usize, use_1x1_conv: bool, strides: usize) -> Layer {
    let shortcut = use_1x1_conv.then_some(Shortcut::Conv);
    residual(&BlockOptions { shortcut, strides, ..BlockOptions::new(Block::Basic, num_channels) }).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::trace;
    use crate::model::params::Params;
    use crate::model::shape::Shape;

    /// The output's shape for a batch of 4.
    fn output(block: &Layer, [channels, height, width]: [usize; 3]) -> Vec<usize> {
        let trace = trace(block, Shape::map(channels, height, width)).unwrap();
        trace.shapes[trace.output].with_batch(4)
    }

    fn names(block: &Layer) -> String {
        let params = Params::of(&trace(block, Shape::map(3, 6, 6)).unwrap()).unwrap();
        let names: Vec<&str> = params.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        names.join(" ")
    }

    #[test]
    fn the_chapter_s_blocks_have_its_shapes() {
        assert_eq!(output(&basic(3, false, 1), [3, 6, 6]), [4, 3, 6, 6]);
        assert_eq!(output(&basic(6, true, 2), [3, 6, 6]), [4, 6, 3, 3]);
        let resnext = BlockOptions::new(Block::ResNeXt { groups: 16, bot_mul: 1.0 }, 32);
        assert_eq!(output(&residual(&resnext).unwrap(), [32, 96, 96]), [4, 32, 96, 96]);
        let bottleneck = BlockOptions::new(Block::BOTTLENECK, 8);
        assert_eq!(output(&residual(&bottleneck).unwrap(), [32, 7, 5]), [4, 32, 7, 5]);
        let wider = BlockOptions { shortcut: Some(Shortcut::Conv), strides: 2, ..bottleneck };
        assert_eq!(output(&residual(&wider).unwrap(), [3, 7, 5]), [4, 32, 4, 3]);
    }

    #[test]
    fn groups_of_the_chapter_s_resnext_block_are_channels_of_a_group() {
        // Python rounds 2.5 to 2.
        let cases = [((32, 16, 1.0), (32, 2)), ((64, 16, 0.5), (32, 2)), ((5, 2, 0.5), (2, 1))];
        for ((channels, groups, bot_mul), expected) in cases {
            assert_eq!(resnext(channels, groups, bot_mul).unwrap(), expected);
        }
        let error = resnext(10, 3, 1.0).unwrap_err();
        assert_eq!(error.message, "groups: expected channels of a group for which ⌊10 / groups⌋ divides 10, got 3");
        assert!(resnext(10, 16, 1.0).is_err());
        assert!(resnext(32, 16, f64::NAN).is_err() && resnext(32, 16, -1.0).is_err() && resnext(32, 16, 1e9).is_err());
    }

    #[test]
    fn bottlenecks_are_as_wide_as_torchvision_s() {
        for (options, expected) in [((64, 32, 4), (128, 32)), ((128, 64, 4), (512, 64)), ((64, 1, 128), (128, 1))] {
            assert_eq!(bottleneck(options.0, options.1, options.2).unwrap(), expected);
        }
        assert_eq!(bottleneck(1, 32, 4).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(bottleneck(1 << 20, 1 << 20, 1 << 20).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn names_follow_flavor_and_order_of_norms() {
        let options = BlockOptions { shortcut: Some(Shortcut::Conv), strides: 2, ..BlockOptions::new(Block::Basic, 6) };
        let d2l = "conv1.weight conv1.bias bn1.weight bn1.bias conv2.weight conv2.bias bn2.weight bn2.bias \
                   downsample.0.weight downsample.0.bias";
        assert_eq!(names(&residual(&options).unwrap()), d2l);
        let torchvision = BlockOptions { flavor: Flavor::Torchvision, ..options };
        assert_eq!(
            names(&residual(&torchvision).unwrap()),
            "conv1.weight bn1.weight bn1.bias conv2.weight bn2.weight bn2.bias downsample.0.weight \
             downsample.1.weight downsample.1.bias"
        );
        let pooled = BlockOptions { shortcut: Some(Shortcut::AvgPool), ..torchvision };
        for strides in [1, 2] {
            let names = names(&residual(&BlockOptions { strides, ..pooled }).unwrap());
            assert!(names.ends_with("downsample.1.weight downsample.2.weight downsample.2.bias"), "{names}");
        }
        let pre_activation = BlockOptions { pre_activation: true, ..torchvision };
        assert_eq!(
            names(&residual(&pre_activation).unwrap()),
            "norm1.weight norm1.bias conv1.weight norm2.weight norm2.bias conv2.weight downsample.conv.weight"
        );
    }

    #[test]
    fn a_padded_shortcut_has_no_weights_and_the_output_s_shape() {
        let padded = |block| BlockOptions { shortcut: Some(Shortcut::Pad), strides: 2, ..BlockOptions::new(block, 8) };
        let basic = padded(Block::Basic);
        let cases = [
            basic,
            BlockOptions { strides: 1, flavor: Flavor::Torchvision, ..basic },
            BlockOptions { pre_activation: true, ..basic },
            padded(Block::BOTTLENECK),
            padded(Block::ResNeXt { groups: 4, bot_mul: 1.0 }),
        ];
        for options in cases {
            let (block, [height, width]) =
                (residual(&options).unwrap(), [7, 6].map(|size: usize| size.div_ceil(options.strides)));
            assert_eq!(output(&block, [5, 7, 6]), [4, 8 * options.block.expansion(), height, width]);
            assert!(!names(&block).contains("downsample"), "{}", names(&block));
        }
        let error = trace(&residual(&basic).unwrap(), Shape::map(9, 6, 6)).unwrap_err();
        let expected = "maps of at most the 8 channels that they are padded to";
        assert_eq!(error.message, format!("downsample: expected {expected}, got (N, 9, 6, 6)"));
    }

    #[test]
    fn zero_init_makes_a_block_start_as_its_shortcut() {
        let last = |options: &BlockOptions| {
            let block = residual(options).unwrap();
            let params = Params::of(&trace(&block, Shape::map(24, 6, 6)).unwrap()).unwrap();
            let zero = params.parameters.iter().filter(|parameter| parameter.init == Init::Zeros);
            zero.map(|parameter| parameter.name.clone()).filter(|name| name.ends_with("weight")).collect::<Vec<_>>()
        };
        let options = BlockOptions { zero_init_residual: true, ..BlockOptions::new(Block::BOTTLENECK, 6) };
        assert_eq!(last(&options), ["bn3.weight"]);
        assert_eq!(last(&BlockOptions { pre_activation: true, ..options }), ["conv3.weight"]);
    }

    #[test]
    fn shapes_that_cannot_be_added_are_refused() {
        for (channels, strides, differing) in [(6, 1, "channels"), (3, 2, "height and width")] {
            let error = trace(&basic(channels, false, strides), Shape::map(3, 6, 6)).unwrap_err();
            assert_eq!(error.code, Code::Shape);
            assert!(error.message.contains(&format!(": {differing} differ")), "{error}");
        }
    }

    #[test]
    fn impossible_blocks_are_refused() {
        let refused = |options: BlockOptions| residual(&options).unwrap_err();
        let options = BlockOptions::new(Block::Basic, 6);
        let error = refused(BlockOptions { num_channels: 0, ..options });
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(error.message, "numChannels: expected a number from 1 to 1048576, got 0");
        assert!(refused(BlockOptions { strides: 0, ..options }).message.starts_with("strides: "));
        refused(BlockOptions { num_channels: usize::MAX, ..options });
        let block = Block::ResNeXt { groups: 16, bot_mul: 1.0 };
        refused(BlockOptions { pre_activation: true, ..BlockOptions::new(block, 32) });
    }
}
