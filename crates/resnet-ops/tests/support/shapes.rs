//! The shapes that each op is tried on: those that a kernel is likely to get wrong, then random ones.

use super::convolution::{dense, Convolution};
use super::norm_pool::NormPooling;
use super::normalisation::Normalisation;
use super::ops::{Addition, Concatenation, Connection, Dropping, Relu};
use super::padding::ChannelPadding;
use super::pooling::{AveragePooling, GlobalAveragePooling, MaxPooling};
use super::Random;
use resnet_ops::avg_pool2d::AvgPool2d;
use resnet_ops::batch_norm::{BatchNorm, Statistics};
use resnet_ops::concat::Concat;
use resnet_ops::conv2d::ConvShape;
use resnet_ops::dropout::{Dropout, Grain};
use resnet_ops::global_avg_pool::GlobalAvgPool;
use resnet_ops::linear::Linear;
use resnet_ops::max_pool2d::MaxPool2d;
use resnet_ops::norm_pool::NormPool;
use resnet_ops::pad_channels::PadChannels;

/// Below, at and above a block of 16, and none a multiple of another's.
const CHANNELS: [usize; 6] = [1, 3, 6, 16, 24, 33];

/// Convolutions without groups: those that all kernels are tried on, and what is cut where other kernels' tasks are not, whose operands are
/// rounded (maps of several parts, many small images, gradients of several turns, more blocks than a strip has).
pub fn undivided() -> Vec<Convolution> {
    let mut list = convolutions();
    list.retain(|case| case.shape.groups == 1);
    list.extend([
        dense(2, [48, 80], 1, 1, [4, 4]),
        dense(37, [64, 32], 1, 1, [2, 2]),
        dense(5, [96, 48], 1, 2, [7, 7]),
        dense(3, [40, 72], 3, 2, [8, 8]),
        dense(19, [64, 64], 3, 1, [2, 2]),
        dense(2, [16, 24], 3, 1, [66, 66]),
        dense(1, [64, 16], 3, 2, [67, 66]),
        dense(3, [32, 16], 1, 1, [180, 180]),
        dense(2, [160, 176], 3, 1, [5, 6]),
        dense(3, [16, 32], 3, 3, [1, 1]),
    ]);
    list
}

/// Convolutions of blocked inputs.
pub fn convolutions() -> Vec<Convolution> {
    let conv = |n, [ci, co, groups]: [usize; 3], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], input| {
        let shape = ConvShape {
            in_channels: ci,
            out_channels: co,
            kernel,
            stride,
            padding,
            groups,
            bias: (ci + co + n) % 2 == 0,
            input,
            plain_input: false,
        };
        Convolution::new(n, shape)
    };
    let mut list = vec![
        conv(2, [16, 16, 1], [3, 3], [1, 1], [1, 1], [8, 8]),
        conv(1, [64, 48, 1], [3, 3], [1, 1], [1, 1], [7, 5]),
        conv(3, [3, 6, 1], [3, 3], [2, 2], [1, 1], [6, 6]),
        conv(2, [32, 64, 1], [1, 1], [2, 2], [0, 0], [7, 7]),
        conv(1, [33, 24, 1], [1, 1], [1, 1], [0, 0], [5, 3]),
        conv(2, [3, 64, 1], [7, 7], [2, 2], [3, 3], [17, 15]),
        conv(4, [1, 1, 1], [1, 1], [1, 1], [0, 0], [1, 1]),
        conv(1, [16, 33, 1], [3, 3], [1, 1], [1, 1], [1, 1]),
        conv(2, [6, 16, 1], [1, 1], [3, 3], [0, 0], [8, 7]),
        conv(1, [24, 3, 1], [2, 5], [3, 1], [1, 4], [9, 6]),
        conv(2, [16, 24, 1], [5, 1], [1, 2], [0, 2], [5, 9]),
        conv(1, [3, 3, 1], [2, 2], [2, 2], [3, 3], [4, 5]),
        // Depthwise, and groups of widths that do not divide 16.
        conv(2, [33, 33, 33], [3, 3], [1, 1], [1, 1], [6, 5]),
        conv(2, [16, 16, 16], [3, 3], [2, 2], [1, 1], [9, 8]),
        conv(1, [6, 12, 6], [3, 3], [1, 1], [1, 1], [5, 5]),
        conv(2, [32, 32, 2], [3, 3], [1, 1], [1, 1], [6, 7]),
        conv(1, [32, 32, 16], [3, 3], [2, 2], [1, 1], [7, 6]),
        conv(2, [24, 24, 2], [3, 3], [1, 1], [1, 1], [4, 6]),
        conv(1, [33, 24, 3], [3, 3], [1, 1], [1, 1], [6, 4]),
        conv(2, [6, 33, 3], [1, 1], [1, 1], [0, 0], [3, 4]),
        conv(1, [48, 16, 8], [3, 2], [2, 1], [1, 0], [6, 6]),
        // More weights than a cache holds, more images than pixels, wide maps, sums over many images.
        conv(2, [144, 128, 1], [3, 3], [1, 1], [1, 1], [5, 4]),
        conv(33, [24, 33, 1], [3, 3], [1, 1], [1, 1], [2, 1]),
        conv(10, [16, 16, 1], [3, 3], [1, 1], [1, 1], [14, 13]),
        conv(1, [16, 24, 1], [3, 3], [1, 1], [1, 1], [37, 61]),
        conv(2, [6, 16, 1], [3, 3], [2, 2], [1, 1], [50, 33]),
        // Inception's.
        conv(1, [96, 208, 1], [3, 3], [1, 1], [1, 1], [5, 4]),
        conv(1, [112, 24, 1], [1, 1], [1, 1], [0, 0], [4, 5]),
        conv(2, [24, 112, 1], [5, 5], [1, 1], [2, 2], [4, 3]),
        conv(1, [16, 48, 1], [5, 5], [1, 1], [2, 2], [7, 6]),
    ];
    // ResNeXt's: groups, and channels of one.
    for (i, groups) in [2, 4, 8, 16, 32].into_iter().enumerate() {
        for (j, width) in [1, 2, 3, 4, 8, 24].into_iter().enumerate() {
            let (channels, stride) = (groups * width, 1 + (i + j) % 2);
            list.push(conv(1, [channels, channels, groups], [3, 3], [stride; 2], [1, 1], [3 + j % 3, 3 + i % 2]));
        }
    }
    // Groups of 4 to 32 channels: every width, a last block that is half full, lines of every cut, several images together.
    for (i, (channels, width)) in
        [(16, 4), (24, 4), (40, 4), (16, 8), (24, 8), (40, 8), (32, 16), (48, 16), (64, 32)].into_iter().enumerate()
    {
        for (j, input) in [[7, 5], [6, 3], [5, 13], [9, 8]].into_iter().enumerate() {
            let (n, stride) = (1 + (i + 2 * j) % 7, 1 + (i + j) % 2);
            list.push(conv(n, [channels, channels, channels / width], [3, 3], [stride; 2], [1, 1], input));
        }
    }
    // Groups of four and of one channel: lines of every cut, then kernels and strides of every kind.
    for columns in [1, 2, 4, 6, 9, 11, 15, 17, 27, 29] {
        for groups in [4, 16] {
            list.push(conv(1, [16, 16, groups], [3, 3], [1, 1 + columns % 2], [1, 1], [2, columns]));
        }
    }
    for (kernel, stride, padding) in [
        ([3, 3], [1, 1], [0, 0]),
        ([3, 3], [2, 2], [2, 2]),
        ([5, 3], [2, 1], [2, 1]),
        ([2, 2], [1, 2], [1, 1]),
        ([1, 1], [2, 2], [0, 0]),
        ([3, 2], [3, 3], [3, 1]),
        ([3, 5], [1, 1], [1, 2]),
        ([3, 3], [1, 1], [1, 3]),
    ] {
        for groups in [4, 32] {
            list.push(conv(5, [32, 32, groups], kernel, stride, padding, [6, 7]));
        }
    }
    let mut random = Random::new(1);
    for _ in 0..19 {
        let (n, ci, co) = (1 + random.below(3), random.pick(&CHANNELS), random.pick(&CHANNELS));
        let divisors: Vec<usize> = (1..=ci.min(co)).filter(|groups| ci % groups == 0 && co % groups == 0).collect();
        let groups = random.pick(&divisors);
        let (mut kernel, mut stride, mut padding, mut input) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        for i in 0..2 {
            kernel[i] = 1 + random.below(5);
            stride[i] = 1 + random.below(3);
            padding[i] = random.below(kernel[i] + 1);
            input[i] = kernel[i].saturating_sub(2 * padding[i]).max(1) + random.below(9);
        }
        list.push(conv(n, [ci, co, groups], kernel, stride, padding, input));
    }
    list
}

/// Convolutions that read images as they come, with one and three channels.
pub fn plain_convolutions() -> Vec<Convolution> {
    let mut random = Random::new(2);
    let mut list = Vec::new();
    for in_channels in [1, 3] {
        for (size, stride, padding) in [(7, 2, 3), (3, 1, 1), (3, 2, 1), (5, 3, 0), (1, 1, 0), (4, 4, 0)] {
            for bias in [false, true] {
                let shape = ConvShape {
                    in_channels,
                    out_channels: random.pick(&[6, 16, 24, 33, 64]),
                    kernel: [size, size],
                    stride: [stride, stride],
                    padding: [padding, padding],
                    groups: 1,
                    bias,
                    input: [size + random.below(14), size + random.below(14)],
                    plain_input: true,
                };
                list.push(Convolution::new(1 + random.below(3), shape));
            }
        }
    }
    // A stem with many images, and with many lines.
    for (n, input) in [(17, [9, 12]), (2, [64, 49])] {
        list.push(Convolution::new(n, ConvShape { input, ..list[0].shape.clone() }));
    }
    list
}

/// Batch norms with and without ReLU and shortcut, of six values per channel or more.
pub fn normalisations() -> Vec<Normalisation> {
    let mut random = Random::new(3);
    let mut list = Vec::new();
    for channels in CHANNELS {
        for (relu, shortcut) in [(false, false), (true, false), (false, true), (true, true)] {
            let size = [1 + random.below(7), 1 + random.below(6)];
            let n = (1 + random.below(3)).max(6usize.div_ceil(size[0] * size[1]));
            let op = BatchNorm { channels, size, eps: 1e-5, momentum: 0.1, relu };
            list.push(Normalisation::new(n, op, shortcut));
        }
    }
    // A GPU's blocks take sums of up to 64 channels, of some of the pixels; here a thread of theirs comes round several times.
    let more =
        [(1, 16, [3, 3]), (1, 33, [5, 2]), (16, 24, [1, 1]), (2, 64, [19, 29]), (3, 130, [3, 5]), (3, 72, [5, 5])];
    for (n, channels, size) in more {
        let op = BatchNorm { channels, size, eps: 1e-3, momentum: 0.3, relu: true };
        list.push(Normalisation::new(n, op, channels == 33));
    }
    list
}

/// The same with running statistics.
pub fn frozen_normalisations() -> Vec<Normalisation> {
    let frozen = |case| Normalisation { statistics: Statistics::Running, ..case };
    normalisations().into_iter().map(frozen).collect()
}

/// The poolings of a norm's output, with and without ReLU.
pub fn normalised_poolings() -> Vec<NormPooling> {
    let pooling = |(index, MaxPooling { n, op }): (usize, MaxPooling)| {
        let norm = BatchNorm { channels: op.channels, size: op.input, eps: 1e-5, momentum: 0.1, relu: index % 3 != 2 };
        NormPooling { n: n.max(6usize.div_ceil(op.input[0] * op.input[1])), op: NormPool { norm, pool: op } }
    };
    // Of this one a GPU's thread has several outputs here.
    let op = MaxPool2d { channels: 64, input: [13, 14], kernel: [2, 2], stride: [1, 1], padding: [0, 0] };
    max_poolings().into_iter().chain([MaxPooling { n: 1, op }]).enumerate().map(pooling).collect()
}

/// Lengths around those of vectors and of a thread's share.
fn lengths() -> Vec<usize> {
    let mut random = Random::new(4);
    let around = [1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 255, 4096, 40000].into_iter();
    around.chain((0..12).map(|_| 1 + random.below(3000))).collect()
}

/// ReLUs.
pub fn relus() -> Vec<Relu> {
    lengths().into_iter().map(Relu).collect()
}

/// Additions with and without ReLU.
pub fn additions() -> Vec<Addition> {
    let cases = lengths().into_iter().flat_map(|len| [false, true].map(|relu| Addition { len, relu }));
    cases.collect()
}

/// Concatenations, an Inception block's and one of features among them.
pub fn concatenations() -> Vec<Concatenation> {
    let concat = |n, channels: &[usize], size| Concatenation { n, op: Concat { channels: channels.to_vec(), size } };
    let mut list = vec![
        concat(2, &[64, 128, 32, 32], [6, 5]),
        concat(1, &[16], [3, 3]),
        concat(2, &[3], [2, 5]),
        concat(3, &[17, 32], [1, 1]),
        concat(2, &[3, 6, 24], [4, 3]),
        concat(1, &[24, 24, 16], [3, 4]),
        concat(2, &[1, 1, 1, 1, 1], [2, 2]),
        concat(1, &[15, 1, 16], [5, 1]),
        concat(1, &[16, 3, 16], [40, 37]),
    ];
    let mut random = Random::new(9);
    while list.len() < 40 {
        let channels: Vec<usize> = (0..1 + random.below(5)).map(|_| random.pick(&[3, 6, 24, 16, 17, 32])).collect();
        list.push(concat(1 + random.below(3), &channels, [1 + random.below(6), 1 + random.below(6)]));
    }
    list
}

/// Dropouts, those of features among them.
pub fn droppings() -> Vec<Dropping> {
    let mut random = Random::new(10);
    let mut list = Vec::new();
    for channels in CHANNELS {
        for p in [0.0, 0.1, 0.5, 0.9] {
            let size = if p == 0.5 { [1, 1] } else { [1 + random.below(7), 1 + random.below(7)] };
            let key = random.below(usize::MAX) as u64;
            let n = 1 + random.below(4);
            list.extend([Grain::Element, Grain::Image].map(|grain| Dropping {
                n,
                key,
                op: Dropout { p, channels, size, grain },
            }));
        }
    }
    list
}

/// Max-poolings, the stem's among them.
pub fn max_poolings() -> Vec<MaxPooling> {
    let pool = |n, channels, kernel, stride, padding, input| MaxPooling {
        n,
        op: MaxPool2d { channels, input, kernel, stride, padding },
    };
    let mut list = vec![
        pool(2, 16, [3, 3], [2, 2], [1, 1], [8, 8]),
        pool(1, 33, [3, 3], [2, 2], [1, 1], [7, 9]),
        pool(2, 3, [2, 2], [2, 2], [0, 0], [6, 5]),
        pool(1, 6, [3, 3], [1, 1], [1, 1], [4, 4]),
        pool(3, 1, [1, 1], [1, 1], [0, 0], [3, 2]),
        pool(1, 24, [2, 2], [3, 3], [1, 1], [1, 1]),
        pool(1, 208, [3, 3], [1, 1], [1, 1], [7, 6]),
    ];
    let mut random = Random::new(5);
    while list.len() < 27 {
        let (mut kernel, mut stride, mut padding, mut input) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        for i in 0..2 {
            kernel[i] = 1 + random.below(4);
            stride[i] = 1 + random.below(4);
            padding[i] = random.below(kernel[i] / 2 + 1);
            input[i] = (kernel[i] - 2 * padding[i]).max(1) + random.below(8);
        }
        list.push(pool(1 + random.below(3), random.pick(&CHANNELS), kernel, stride, padding, input));
    }
    list
}

/// Average poolings with and without padding in the divisor and windows that hang over.
pub fn average_poolings() -> Vec<AveragePooling> {
    let mut random = Random::new(11);
    let mut list = Vec::new();
    let mut pool = |n, channels, kernel, stride, padding, input| {
        for (ceil_mode, count_include_pad) in [(false, false), (false, true), (true, false), (true, true)] {
            let op = AvgPool2d { channels, input, kernel, stride, padding, ceil_mode, count_include_pad };
            list.push(AveragePooling { n, op });
        }
    };
    // A ResNet-D shortcut's, an Inception branch's, LeNet's, and one of the whole map.
    pool(2, 24, [2, 2], [2, 2], [0, 0], [7, 5]);
    pool(1, 33, [3, 3], [1, 1], [1, 1], [5, 6]);
    pool(2, 16, [2, 2], [2, 2], [0, 0], [6, 8]);
    pool(1, 3, [17, 18], [1, 1], [0, 0], [17, 18]);
    for _ in 0..10 {
        let (mut kernel, mut stride, mut padding, mut input) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        for i in 0..2 {
            kernel[i] = 1 + random.below(5);
            stride[i] = 1 + random.below(5);
            padding[i] = random.below(kernel[i] / 2 + 1);
            input[i] = (kernel[i] - 2 * padding[i]).max(1) + random.below(8);
        }
        pool(1 + random.below(2), random.pick(&CHANNELS), kernel, stride, padding, input);
    }
    list
}

/// Paddings of channels: a CIFAR network's, and others that begin and end anywhere in a block.
pub fn channel_paddings() -> Vec<ChannelPadding> {
    let pad = |n, [channels, before, out_channels]: [usize; 3], stride, input| ChannelPadding {
        n,
        op: PadChannels { channels, out_channels, before, input, stride },
    };
    let mut list = vec![
        pad(2, [16, 8, 32], [2, 2], [8, 8]),
        pad(1, [32, 16, 64], [2, 2], [7, 5]),
        pad(3, [3, 0, 3], [1, 1], [4, 3]),
        pad(2, [16, 24, 64], [1, 1], [2, 3]),
        pad(1, [40, 5, 100], [3, 1], [1, 1]),
        pad(1, [16, 32, 48], [1, 2], [3, 4]),
    ];
    let mut random = Random::new(12);
    while list.len() < 40 {
        let (channels, before) = (random.pick(&CHANNELS), random.pick(&[0, 1, 8, 16, 23]));
        let out_channels = before + channels + random.pick(&[0, 2, 9, 16, 40]);
        let (stride, input) = ([0; 2].map(|_| 1 + random.below(4)), [0; 2].map(|_| 1 + random.below(9)));
        list.push(pad(1 + random.below(3), [channels, before, out_channels], stride, input));
    }
    list
}

/// Global average poolings.
pub fn global_average_poolings() -> Vec<GlobalAveragePooling> {
    let mut random = Random::new(6);
    let mut list = Vec::new();
    for channels in CHANNELS {
        for _ in 0..4 {
            let input = [1 + random.below(9), 1 + random.below(9)];
            list.push(GlobalAveragePooling { n: 1 + random.below(4), op: GlobalAvgPool { channels, input } });
        }
    }
    list
}

/// Fully connected layers.
pub fn connections() -> Vec<Connection> {
    let mut random = Random::new(7);
    let mut list = Vec::new();
    for in_features in [1, 3, 6, 16, 24, 33, 128] {
        for out_features in [1, 10, 16, 33] {
            let op = Linear { in_features, out_features, bias: random.below(2) == 0 };
            list.push(Connection { n: 1 + random.below(9), op });
        }
    }
    list.push(Connection { n: 37, op: Linear { in_features: 512, out_features: 100, bias: true } });
    list
}
