//! What the ops' documentation says beyond the formulas, in every backend: ties, NaN, extremes, refused arguments; and
//! the plain definitions against candle's and PyTorch's.

use crate::support::convolution::Convolution;
use crate::support::norm_pool::NormPooling;
use crate::support::ops::Op;
use crate::support::padding::ChannelPadding;
use crate::support::pooling::{AveragePooling, MaxPooling};
use crate::support::{
    activation, assert_close, blank_activation, buffer, cpu_executors, elements, every_executor, flat, garbage, note,
};
use crate::support::{read_flat, shapes, Parameters, Random};
use candle_core::{Device, Tensor};
use resnet_ops::avg_pool2d::{self, AvgPool2d};
use resnet_ops::batch_norm::{fuses_backward, BatchNorm};
use resnet_ops::concat::{self, Concat};
use resnet_ops::conv2d::{self, Conv2d, ConvShape, FusedNorm, InputGradient};
use resnet_ops::max_pool2d::MaxPool2d;
use resnet_ops::norm_pool::NormPool;
use resnet_ops::pad_channels::PadChannels;
use resnet_ops::update::Clip;
use resnet_ops::{accumulate, add, cross_entropy, relu, sgd, Buffer, DType, Executor, GradientTarget, Pass};

const NAN: f64 = f64::NAN;

fn assert_same(found: &[f64], expected: &[f64]) {
    let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(same), "{found:?}, not {expected:?}");
}

#[test]
fn relu_keeps_nan_and_stops_the_gradient_at_zero() {
    for executor in every_executor() {
        let (x, mut y) = (flat(&executor, &[-1.0, NAN, 0.0, 2.0]), garbage(&executor, executor.dtype(), 4));
        relu::forward(&executor, 4, &x, &mut y).unwrap();
        assert_same(&read_flat(4, &y), &[0.0, NAN, 0.0, 2.0]);
        let (y, mut dy) = (flat(&executor, &[0.0, 0.0, 1e-30, 2.0]), flat(&executor, &[1.0, NAN, 3.0, 4.0]));
        relu::backward(&executor, 4, &y, &mut dy).unwrap();
        assert_same(&read_flat(4, &dy), &[0.0, 0.0, 3.0, 4.0]);
    }
}

#[test]
fn add_keeps_nan() {
    for executor in every_executor() {
        let (a, b) = (flat(&executor, &[1.0, NAN, 1.0, -3.0]), flat(&executor, &[NAN, 1.0, 2.0, 1.0]));
        let mut y = garbage(&executor, executor.dtype(), 4);
        for (relu, last) in [(true, 0.0), (false, -2.0)] {
            add::forward(&executor, 4, &a, &b, &mut y, relu).unwrap();
            assert_same(&read_flat(4, &y), &[NAN, NAN, 3.0, last]);
        }
    }
}

fn pooling(kernel: usize, stride: usize, padding: usize, input: [usize; 2]) -> MaxPooling {
    let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 2]);
    MaxPooling { n: 1, op: MaxPool2d { channels: 1, input, kernel, stride, padding } }
}

#[test]
fn max_pool2d_gives_the_gradient_of_a_tie_to_the_first() {
    for executor in every_executor() {
        let dx = |case: MaxPooling, x: &[f64], dy: &[f64]| case.backward(&executor, &[x.to_vec()], dy, false).unwrap();
        assert_same(&dx(pooling(2, 2, 0, [2, 2]), &[1.0, 1.0, 1.0, 1.0], &[5.0])[0], &[5.0, 0.0, 0.0, 0.0]);
        assert_same(&dx(pooling(2, 2, 0, [2, 2]), &[0.0, 1.0, 1.0, 0.0], &[5.0])[0], &[0.0, 5.0, 0.0, 0.0]);
        // Windows that begin in the padding, all of one value, the lowest there is.
        let lowest = [f64::NEG_INFINITY; 9];
        let expected = [1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0];
        assert_same(&dx(pooling(3, 2, 1, [3, 3]), &lowest, &[1.0, 2.0, 3.0, 4.0])[0], &expected);
        // One pixel takes the gradients of all windows that it is in.
        let centre = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let expected = [0.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 0.0];
        assert_same(&dx(pooling(2, 1, 0, [3, 3]), &centre, &[1.0, 2.0, 3.0, 4.0])[0], &expected);
    }
}

#[test]
fn max_pool2d_keeps_nan_and_pads_with_minus_infinity() {
    for executor in every_executor() {
        let y = |case: MaxPooling, x: &[f64]| case.forward(&executor, &[x.to_vec()]).unwrap();
        assert_same(&y(pooling(2, 2, 0, [2, 4]), &[1.0, NAN, -1.0, -2.0, 3.0, 4.0, -3.0, -4.0]), &[NAN, -1.0]);
        assert_same(&y(pooling(2, 2, 0, [2, 4]), &[NAN, 1.0, 5.0, NAN, 3.0, 4.0, 6.0, 7.0]), &[NAN, NAN]);
        assert_same(&y(pooling(3, 2, 1, [3, 3]), &[-5.0; 9]), &[-5.0; 4]);
        assert_same(&y(pooling(2, 1, 0, [2, 2]), &[f64::NEG_INFINITY; 4]), &[f64::NEG_INFINITY]);
        let dx = pooling(2, 2, 0, [2, 2]).backward(&executor, &[vec![1.0, NAN, 3.0, 4.0]], &[5.0], false).unwrap();
        assert_same(&dx[0], &[0.0, 5.0, 0.0, 0.0]);
    }
}

#[test]
fn max_pool2d_refuses_what_it_cannot_do() {
    let refused = |kernel, stride, padding, input, word: &str| {
        let error = pooling(kernel, stride, padding, input).op.check().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(0, 1, 0, [4, 4], "at least 1");
    refused(2, 0, 0, [4, 4], "at least 1");
    refused(2, 1, 0, [0, 4], "at least 1");
    refused(16, 1, 0, [20, 20], "255");
    refused(3, 1, 2, [4, 4], "half the kernel");
    refused(3, 1, 0, [2, 4], "larger than");
    pooling(3, 2, 1, [1, 1]).op.check().unwrap();
    pooling(15, 1, 7, [1, 1]).op.check().unwrap();
}

fn average(kernel: usize, stride: usize, padding: usize, modes: [bool; 2], input: [usize; 2]) -> AveragePooling {
    let ([ceil_mode, count_include_pad], channels) = (modes, 1);
    let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 2]);
    AveragePooling { n: 1, op: AvgPool2d { channels, input, kernel, stride, padding, ceil_mode, count_include_pad } }
}

#[test]
fn avg_pool2d_is_pytorchs() {
    // Input, kernel, stride, padding, ceil_mode and output size; then torch.nn.AvgPool2d of 1, 2, 3, … in reading order,
    // with and without count_include_pad.
    type Case = ([usize; 2], [usize; 3], bool, [usize; 2], [&'static [f64]; 2]);
    let cases: [Case; 10] = [
        ([3, 5], [2, 2, 0], false, [1, 2], [&[4.0, 6.0]; 2]),
        ([3, 5], [2, 2, 0], true, [2, 3], [&[4.0, 6.0, 7.5, 11.5, 13.5, 15.0]; 2]),
        ([3, 3], [3, 2, 1], false, [2, 2], [&[4.0 / 3.0, 16.0 / 9.0, 8.0 / 3.0, 28.0 / 9.0], &[3.0, 4.0, 6.0, 7.0]]),
        ([4, 4], [3, 2, 1], false, [2, 2], [&[14.0 / 9.0, 10.0 / 3.0, 19.0 / 3.0, 11.0], &[3.5, 5.0, 9.5, 11.0]]),
        // Windows that hang over the padded input.
        (
            [4, 4],
            [3, 2, 1],
            true,
            [3, 3],
            [
                &[14.0 / 9.0, 10.0 / 3.0, 2.0, 19.0 / 3.0, 11.0, 6.0, 4.5, 7.5, 4.0],
                &[3.5, 5.0, 6.0, 9.5, 11.0, 12.0, 13.5, 15.0, 16.0],
            ],
        ),
        // A last window that would begin in the padding: below, and on both sides.
        ([2, 6], [2, 3, 1], true, [1, 3], [&[0.25, 1.75, 1.5], &[1.0, 3.5, 6.0]]),
        ([2, 2], [2, 3, 1], true, [1, 1], [&[0.25], &[1.0]]),
        ([5, 2], [3, 3, 1], true, [2, 1], [&[10.0 / 9.0, 5.0], &[2.5, 7.5]]),
        ([1, 1], [2, 1, 1], false, [2, 2], [&[0.25; 4], &[1.0; 4]]),
        ([1, 3], [2, 2, 0], true, [1, 2], [&[1.5, 3.0]; 2]),
    ];
    for executor in every_executor() {
        for (input, [kernel, stride, padding], ceil_mode, output, expected) in cases {
            let x: Vec<f64> = (1..=input[0] * input[1]).map(|value| value as f64).collect();
            for (count_include_pad, expected) in [true, false].into_iter().zip(expected) {
                let case = average(kernel, stride, padding, [ceil_mode, count_include_pad], input);
                case.op.check().unwrap();
                assert_eq!(case.op.output(), output, "{case:?}");
                let found = case.forward(&executor, std::slice::from_ref(&x)).unwrap();
                assert_close(&found, expected, 1e-6, &format!("{case:?}"));
            }
        }
    }
    assert_eq!(avg_pool2d::output_size(224, 3, 2, 1, false), Some(112));
    assert_eq!(avg_pool2d::output_size(112, 3, 2, 0, true), Some(56));
    // A window may be larger than the map, if it is rounded up.
    assert_eq!(avg_pool2d::output_size(1, 2, 2, 0, true), Some(1));
    assert_eq!(avg_pool2d::output_size(1, 3, 2, 0, true), None);
    assert_eq!(avg_pool2d::output_size(1, 2, 2, 0, false), None);
}

#[test]
fn avg_pool2d_refuses_what_it_cannot_do() {
    let refused = |kernel, stride, padding, input, word: &str| {
        let error = average(kernel, stride, padding, [false; 2], input).op.check().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(0, 1, 0, [4, 4], "at least 1");
    refused(2, 0, 0, [4, 4], "at least 1");
    refused(2, 1, 0, [4, 0], "at least 1");
    refused(3, 1, 2, [4, 4], "half the kernel");
    refused(3, 1, 0, [4, 2], "larger than");
    average(20, 1, 10, [false; 2], [1, 1]).op.check().unwrap();
}

#[test]
fn concat_refuses_inputs_that_it_does_not_have() {
    let op = Concat { channels: vec![1, 2], size: [1, 1] };
    for executor in every_executor() {
        let (x, mut y) =
            (activation(&executor, [1, 1, 1, 1], &[1.0]).unwrap(), garbage(&executor, executor.dtype(), 16));
        let error = concat::forward(&executor, &op, 1, &[&x], &mut y).unwrap_err().to_string();
        assert!(error.contains("expected 2 inputs, got 1"), "{error}");
        let error = concat::backward(&executor, &op, 1, 2, &x, GradientTarget { buffer: &mut y, accumulate: false })
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected one of 2 inputs, got number 2"), "{error}");
    }
}

#[test]
fn pad_channels_is_the_papers_option_a() {
    // F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)) of two channels of 3x4, with numbers in reading order.
    let op = PadChannels { channels: 2, out_channels: 4, before: 1, input: [3, 4], stride: [2, 2] };
    let (case, x) = (ChannelPadding { n: 1, op }, (1..=24).map(f64::from).collect::<Vec<_>>());
    let taken = [1.0, 3.0, 9.0, 11.0, 13.0, 15.0, 21.0, 23.0];
    for executor in every_executor() {
        let y = case.forward(&executor, std::slice::from_ref(&x)).unwrap();
        assert_same(&y, &[&[0.0; 4][..], &taken, &[0.0; 4]].concat());
        // As gradients the numbers go back to where they came from; those of zero channels go nowhere.
        let dy = [&[7.0; 4][..], &taken, &[7.0; 4]].concat();
        let expected: Vec<f64> = x.iter().map(|x| if taken.contains(x) { *x } else { 0.0 }).collect();
        assert_same(&case.backward(&executor, std::slice::from_ref(&x), &dy, false).unwrap()[0], &expected);
    }
}

#[test]
fn pad_channels_refuses_what_it_cannot_do() {
    let refused = |channels, before, out_channels, stride, word: &str| {
        let op = PadChannels { channels, out_channels, before, input: [2, 2], stride: [1, stride] };
        let error = op.check().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(0, 0, 4, 1, "at least 1");
    refused(2, 1, 4, 0, "at least 1");
    refused(4, 0, 3, 1, "within");
    refused(2, 3, 4, 1, "within");
    refused(2, usize::MAX, 4, 1, "within");
}

fn simple(groups: usize, kernel: usize, stride: usize, padding: usize) -> ConvShape {
    ConvShape {
        in_channels: 6,
        out_channels: 4,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        groups,
        bias: true,
        input: [3, 5],
        plain_input: false,
    }
}

#[test]
fn conv2d_refuses_what_it_cannot_do() {
    for executor in every_executor() {
        let refused = |shape: ConvShape, word: &str| {
            let error = Conv2d::new(&executor, shape).err().expect("refused").to_string();
            assert!(error.contains(word), "{error}");
        };
        refused(simple(0, 3, 1, 1), "at least 1");
        refused(simple(1, 0, 1, 1), "at least 1");
        refused(simple(1, 3, 0, 1), "at least 1");
        refused(ConvShape { input: [3, 0], ..simple(1, 1, 1, 1) }, "at least 1");
        refused(ConvShape { in_channels: 0, ..simple(1, 1, 1, 1) }, "at least 1");
        refused(simple(3, 3, 1, 1), "must divide");
        refused(simple(4, 3, 1, 1), "must divide");
        refused(simple(1, 6, 1, 1), "larger than");
        Conv2d::new(&executor, simple(2, 5, 1, 1)).unwrap();
    }
}

#[test]
fn conv2d_of_plain_input_has_no_input_gradient_on_the_cpu() {
    let executor = Executor::cpu(1).unwrap();
    let shape = ConvShape { in_channels: 3, plain_input: true, ..simple(1, 3, 1, 1) };
    let conv = Conv2d::new(&executor, shape.clone()).unwrap();
    let params = Parameters::new(&executor, &vec![0.0; shape.params_len()]);
    let dy = activation(&executor, [1, 4, 3, 5], &[0.0; 60]).unwrap();
    let packed = garbage(&executor, DType::F32, conv.packed_len(Pass::Forward));
    let mut dx = garbage(&executor, DType::F32, conv2d::input_len(&executor, &shape, 1));
    let call = InputGradient {
        n: 1,
        dy: &dy,
        params: params.view(),
        packed: &packed,
        scratch: &mut Buffer::empty(),
        dx: GradientTarget { buffer: &mut dx, accumulate: false },
        norm: None,
    };
    let result = conv2d::input_gradient(&executor, &conv, call);
    assert!(result.unwrap_err().to_string().contains("plain input"));
    assert_eq!(conv2d::input_len(&executor, &shape, 2), 2 * 3 * 3 * 5);
}

#[test]
fn conv2d_is_candles() {
    for (seed, Convolution { n, shape, .. }) in shapes::convolutions().into_iter().enumerate() {
        let case = Convolution::new(n, ConvShape { bias: false, ..shape });
        let inputs = case.inputs(&mut Random::new(seed as u64));
        let ConvShape { in_channels, out_channels, kernel, stride, padding, groups, input, .. } = case.shape;
        let tensor = |values: &[f64], shape: [usize; 4]| Tensor::from_slice(values, &shape, &Device::Cpu).unwrap();
        let weights = tensor(&inputs[0], [out_channels, in_channels / groups, kernel[0], kernel[1]]);
        // candle has one stride and one padding for both axes: pad first, leave pixels out afterwards.
        let mut y = tensor(&inputs[1], [n, in_channels, input[0], input[1]]);
        for i in 0..2 {
            y = y.pad_with_zeros(2 + i, padding[i], padding[i]).unwrap();
        }
        y = y.conv2d(&weights, 0, 1, 1, groups).unwrap();
        for i in 0..2 {
            let kept: Vec<u32> = (0..case.shape.output()[i]).map(|place| (place * stride[i]) as u32).collect();
            let kept = Tensor::from_vec(kept, case.shape.output()[i], &Device::Cpu).unwrap();
            y = y.contiguous().unwrap().index_select(&kept, 2 + i).unwrap();
        }
        let expected = y.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let found = case.forward(&Executor::ReferenceF64, &inputs).unwrap();
        assert_close(&found, &expected, 1e-12, &format!("{case:?}"));
    }
}

#[test]
fn conv2d_refuses_what_was_prepared_for_another_backend() {
    let shape = simple(1, 3, 1, 1);
    let conv = Conv2d::new(&Executor::ReferenceF32, shape.clone()).unwrap();
    let refused = |executor: &Executor, conv: &Conv2d| {
        let params = Parameters::blank(executor, shape.params_len());
        let mut packed = garbage(executor, DType::F32, 0);
        let result = conv2d::pack(executor, conv, 1, Pass::Forward, params.view(), &mut packed);
        assert!(result.unwrap_err().to_string().contains("another backend"));
    };
    for executor in every_executor().into_iter().filter(|executor| !executor.is_reference()) {
        refused(&executor, &conv);
        refused(&Executor::ReferenceF32, &Conv2d::new(&executor, shape.clone()).unwrap());
    }
}

#[test]
fn conv2d_refuses_a_norm_that_did_not_make_its_input() {
    let shape = simple(1, 3, 1, 1);
    for executor in every_executor() {
        let conv = Conv2d::new(&executor, shape.clone()).unwrap();
        let mut dx = Buffer::empty();
        let (empty, mut scratch, mut sums) = (Buffer::empty(), Buffer::empty(), Buffer::empty());
        let [height, width] = shape.input;
        let op = BatchNorm { channels: 4, size: [width, height], eps: 1e-5, momentum: 0.1, relu: true };
        let params = empty.view(0..0);
        let norm = FusedNorm { op: &op, x: &empty, params: params.clone(), saved: &empty, y: None, sums: &mut sums };
        let call = InputGradient {
            n: 1,
            dy: &empty,
            params,
            packed: &empty,
            scratch: &mut scratch,
            dx: GradientTarget { buffer: &mut dx, accumulate: false },
            norm: Some(norm),
        };
        let word = if fuses_backward(&executor) { "did not make" } else { "does not begin" };
        let error = conv2d::input_gradient(&executor, &conv, call).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn norm_pool_refuses_a_pooling_of_another_map() {
    let norm = BatchNorm { channels: 1, size: [2, 3], eps: 1e-5, momentum: 0.1, relu: true };
    let MaxPooling { op: pool, .. } = pooling(2, 1, 0, [3, 2]);
    let case = NormPooling { n: 1, op: NormPool { norm, pool } };
    let inputs = [vec![1.0, 0.0], vec![0.0; 6]];
    for executor in every_executor() {
        let error = case.forward(&executor, &inputs).unwrap_err().to_string();
        assert!(error.contains("is not of a map"), "{error}");
    }
}

#[test]
fn sgd_refuses_parts_of_different_lengths() {
    let op = sgd::Sgd { lr: 0.1, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
    for executor in every_executor() {
        let zeros = || executor.zeros(executor.parameter_dtype(), 8).unwrap();
        let (mut params, grads, mut velocity) = (zeros(), zeros(), zeros());
        for (gradients, velocities) in [(3..7, 0..5), (3..8, 1..5)] {
            let velocity = Some(velocity.view_mut(velocities));
            let (params, grads, non_finite) = (params.view_mut(1..6), grads.view(gradients), &mut note(&executor));
            let call = sgd::Step { params, grads, velocity, clip: Clip::default(), non_finite };
            let error = sgd::step(&executor, &op, call).unwrap_err().to_string();
            assert!(error.contains("an update of 5 parameters"), "{error}");
        }
    }
}

#[test]
fn sgd_refuses_momentum_without_a_velocity() {
    let op = sgd::Sgd { lr: 0.1, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
    for executor in every_executor() {
        let zeros = || executor.zeros(executor.parameter_dtype(), 2).unwrap();
        let (mut params, grads) = (zeros(), zeros());
        let (params, grads, non_finite) = (params.view_mut(0..2), grads.view(0..2), &mut note(&executor));
        let call = sgd::Step { params, grads, velocity: None, clip: Clip::default(), non_finite };
        let error = sgd::step(&executor, &op, call).unwrap_err().to_string();
        assert!(error.contains("takes a velocity"), "{error}");
    }
}

#[test]
fn nothing_to_do_is_done() {
    let op = sgd::Sgd { lr: 0.1, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
    for executor in every_executor() {
        let mut params = executor.zeros(executor.parameter_dtype(), 2).unwrap();
        let grads = executor.zeros(executor.parameter_dtype(), 2).unwrap();
        let (params, grads, non_finite) = (params.view_mut(1..1), grads.view(1..1), &mut note(&executor));
        let call = sgd::Step { params, grads, velocity: None, clip: Clip::default(), non_finite };
        sgd::step(&executor, &op, call).unwrap();
        let logits = blank_activation(&executor, [1, 3, 1, 1]);
        let found = cross_entropy::evaluate(&executor, 3, &logits, [][..].into(), None).unwrap();
        assert_eq!((found.loss_sum, found.correct), (0.0, 0));
    }
}

/// So that a convolution's last products, which nobody would miss, do not make it several times slower.
#[test]
fn kernels_take_denormals_for_zero_where_the_processor_can() {
    let [smallest, half] = [f32::MIN_POSITIVE, f32::MIN_POSITIVE / 2.0].map(f64::from);
    for (isa, [one, two]) in cpu_executors() {
        for executor in [one, two] {
            let dtype = executor.parameter_dtype();
            let (mut target, source) =
                (buffer(&executor, dtype, &[0.0; 2]), buffer(&executor, dtype, &[smallest, half]));
            accumulate::accumulate(&executor, &mut target, 1.0, &source, 0.5).unwrap();
            let flushes = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
            let expected = if flushes { [0.0, 0.0] } else { [smallest / 2.0, half / 2.0] };
            assert_same(&elements(&target), &expected);
            let here = std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5);
            assert_eq!(f64::from(here), half, "{isa:?}: the caller's own arithmetic");
        }
    }
}

#[test]
fn sgd_is_pytorchs() {
    let gradients = [[0.5, -1.0], [-0.25, 2.0], [1.5, 0.75]];
    // torch.optim.SGD in f64 from parameters (1, −2) with lr 0.1.
    for (momentum, nesterov, weight_decay, expected) in [
        (0.0, false, 0.0, [0.825, -2.1750000000000003]),
        (0.0, false, 0.1, [0.7960439999999999, -2.115588]),
        (0.9, false, 0.0, [0.7619999999999999, -2.1839999999999997]),
        (0.9, true, 0.01, [0.603189208191, -2.324836916382]),
        (0.5, false, 0.1, [0.7591439999999999, -2.116788]),
    ] {
        let op = sgd::Sgd { lr: 0.1, momentum, dampening: 0.0, nesterov, weight_decay };
        for executor in every_executor() {
            let dtype = executor.dtype();
            let (mut params, mut velocity) =
                (buffer(&executor, dtype, &[1.0, -2.0]), executor.zeros(dtype, 2).unwrap());
            for gradient in &gradients {
                let gradient = buffer(&executor, dtype, gradient);
                let velocity = (momentum != 0.0).then(|| velocity.view_mut(0..2));
                let (params, grads, non_finite) = (params.view_mut(0..2), gradient.view(0..2), &mut note(&executor));
                let call = sgd::Step { params, grads, velocity, clip: Clip::default(), non_finite };
                sgd::step(&executor, &op, call).unwrap();
            }
            assert_close(&elements(&params), &expected, 1e-6, &format!("{op:?}"));
        }
    }
}
