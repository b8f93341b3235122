//! What a GPU does for many layers in one launch, beside a launch for each; and whatever it does, in another order.

use crate::support::convolution::Convolution;
use crate::support::ops::Op;
use crate::support::{assert_close, buffer, cuda_executor, elements, garbage, note, shapes, Parameters, Random};
use resnet_ops::batch_norm::{self, BatchNorm, UpdateRunning, Updating};
use resnet_ops::conv2d::{self, ConvShape, Packing, Unpacking};
use resnet_ops::{Executor, Pass, Precision};

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Filters of which a block packs some channels only, and of which it has no room for one.
fn filters_of_several_blocks() -> Vec<Convolution> {
    let sizes = [(600, 3, [3, 3], 1), (2400, 2, [1, 1], 1), (1200, 4, [3, 2], 2), (2, 1, [49, 49], 1)];
    let shape = |(in_channels, out_channels, kernel, groups)| ConvShape {
        in_channels,
        out_channels,
        kernel,
        stride: [1, 1],
        padding: [0, 0],
        groups,
        bias: true,
        input: kernel,
        plain_input: false,
    };
    sizes.map(|sizes| Convolution::new(1, shape(sizes))).into()
}

/// Packed filters are (out, height, width, lanes), lanes whole octets where there are no groups, and filters too; what has no counterpart is
/// zero. The bias follows.
fn check_order(shape: &ConvShape, params: &[f64], packed: &[f64]) {
    if shape.plain_input {
        return;
    }
    let (channels, taps) = (shape.in_channels / shape.groups, shape.kernel[0] * shape.kernel[1]);
    let whole = |size: usize| if shape.groups == 1 { size.next_multiple_of(8) } else { size };
    let lanes = whole(channels);
    for (place, found) in packed[..whole(shape.out_channels) * taps * lanes].iter().enumerate() {
        let (lane, tap, out) = (place % lanes, place / lanes % taps, place / lanes / taps);
        let real = lane < channels && out < shape.out_channels;
        let expected = if real { params[(out * channels + lane) * taps + tap] } else { 0.0 };
        assert!(*found == expected, "{shape:?}: {found} for {expected} at filter {out}, tap {tap}, lane {lane}");
    }
}

/// Convolutions of all shapes that are tried, more than one launch takes.
#[test]
fn filters_are_packed_and_brought_back_as_by_a_launch_for_each() {
    let executors = [Precision::Fp32, Precision::Bf16].map(Executor::cuda_for_tests);
    for gpu in executors.into_iter().flatten() {
        let mut cases: Vec<_> = shapes::convolutions().into_iter().chain(shapes::plain_convolutions()).collect();
        cases.extend(filters_of_several_blocks());
        assert!(cases.len() > 56, "{}", cases.len());
        let convs: Vec<_> = cases.iter().map(|case| case.prepared(&gpu).unwrap()).collect();
        let mut random = Random::new(7);
        // Numbers that bf16 holds exactly.
        let mut weights =
            |len| random.values(len).iter().map(|value| (value * 127.0).round() / 128.0).collect::<Vec<_>>();
        let params: Vec<_> =
            cases.iter().map(|case| Parameters::new(&gpu, &weights(case.shape.params_len()))).collect();
        let room = || -> Vec<_> {
            convs.iter().map(|conv| garbage(&gpu, gpu.dtype(), conv.packed_len(Pass::Forward))).collect()
        };
        let (mut alone, mut together) = (room(), room());
        for ((conv, params), packed) in convs.iter().zip(&params).zip(&mut alone) {
            conv2d::pack(&gpu, conv, 1, Pass::Forward, params.view(), packed).unwrap();
        }
        let packings = convs.iter().zip(&params).zip(&mut together);
        let mut packings: Vec<_> =
            packings.map(|((conv, params), packed)| Packing { conv, params: params.view(), packed }).collect();
        conv2d::pack_together(&gpu, &mut packings).unwrap();
        for ((case, alone), together) in cases.iter().zip(&alone).zip(&together) {
            assert!(bits(&elements(alone)) == bits(&elements(together)), "{case:?}");
        }
        for ((case, params), packed) in cases.iter().zip(&params).zip(&together) {
            check_order(&case.shape, &params.read(), &elements(packed));
        }

        // Brought back they are the weights, and the biases' gradients are cleared where that is asked for, else untouched.
        let places = cases.iter().scan(3, |end, case| {
            let start = *end;
            *end += case.shape.params_len();
            Some(start..*end)
        });
        let places: Vec<_> = places.collect();
        // Of some that are not computed the gradient is another's, before all filters or behind them.
        let (len, most) = (places.last().unwrap().end, cases.iter().map(|case| case.shape.out_channels).max().unwrap());
        let mut around = vec![9.0; len + most];
        around[..2].fill(5.0);
        around[len..].iter_mut().enumerate().for_each(|(i, value)| *value = i as f64);
        let mut gradients = buffer(&gpu, gpu.parameter_dtype(), &around);
        let from = |i: usize, case: &Convolution| match i % 8 {
            2 => Some(len + most - case.shape.out_channels),
            4 if case.shape.out_channels <= 2 => Some(0),
            _ => None,
        };
        let unpackings = convs.iter().zip(&together).zip(&places).zip(&cases).enumerate();
        let unpackings = unpackings.map(|(i, (((conv, packed), place), case))| Unpacking {
            conv,
            packed,
            params: place.clone(),
            skip_bias: i.is_multiple_of(2),
            bias_from: from(i, case),
        });
        conv2d::unpack_together(&gpu, &unpackings.collect::<Vec<_>>(), &mut gradients).unwrap();
        let gradients = elements(&gradients);
        for (i, ((case, place), params)) in cases.iter().zip(&places).zip(&params).enumerate() {
            let (mut expected, weights) = (params.read(), case.shape.weight_len());
            match from(i, case) {
                Some(from) => {
                    let biases = expected.len() - weights;
                    expected[weights..].copy_from_slice(&around[from..from + biases]);
                }
                None => expected[weights..].fill(if i.is_multiple_of(2) { 0.0 } else { 9.0 }),
            }
            assert!(gradients[place.clone()] == expected, "{case:?}");
        }
        assert!(gradients[..3] == around[..3] && gradients[len..] == around[len..], "what is nobody's was written");
    }
}

#[test]
fn running_statistics_are_updated_as_by_a_launch_for_each() {
    let Some(gpu) = cuda_executor() else { return };
    let mut random = Random::new(3);
    let norms = (0..85).map(|i| 1 + i * 7 % 300).map(|channels| BatchNorm {
        channels,
        size: [1 + channels % 3, 2],
        eps: 1e-5,
        momentum: 0.1 + 0.01 * (channels % 5) as f64,
        relu: false,
    });
    let norms: Vec<BatchNorm> = norms.collect();
    let (mut start, mut places) = (5, Vec::new());
    for op in &norms {
        places.push(start..start + 2 * op.channels);
        start += 2 * op.channels;
    }
    let values = random.values(start);
    let saved: Vec<_> =
        norms.iter().map(|op| buffer(&gpu, gpu.parameter_dtype(), &random.values(op.saved_len()))).collect();
    let biases = Parameters::new(&gpu, &random.values(300));
    let bias = |op: &BatchNorm| op.channels.is_multiple_of(2).then(|| biases.view());
    let [mut alone, mut together] = [(); 2].map(|()| buffer(&gpu, gpu.parameter_dtype(), &values));
    let mut note = note(&gpu);
    for ((op, saved), place) in norms.iter().zip(&saved).zip(&places) {
        let running = alone.view_mut(place.clone());
        let call = UpdateRunning { n: 3, saved, elided_bias: bias(op), running, non_finite: &mut note };
        batch_norm::update_running(&gpu, op, call).unwrap();
    }
    let updatings = norms.iter().zip(&saved).zip(&places);
    let updatings: Vec<_> = updatings
        .map(|((op, saved), place)| Updating { op, saved, elided_bias: bias(op), running: place.clone() })
        .collect();
    batch_norm::update_together(&gpu, 3, &updatings, &mut together, &mut note).unwrap();
    assert!(bits(&elements(&alone)) == bits(&elements(&together)));
    let (found, biases) = (elements(&together), biases.read());
    for ((op, saved), place) in norms.iter().zip(&saved).zip(&places) {
        let (saved, count) = (elements(saved), (3 * op.size[0] * op.size[1]) as f64);
        let (mean, variance) = (&saved[..op.channels], &saved[op.saved_len() / 3..][..op.channels]);
        let bias = |channel: usize| if op.channels.is_multiple_of(2) { biases[channel] } else { 0.0 };
        let batch = mean.iter().enumerate().map(|(channel, mean)| mean + bias(channel));
        let batch = batch.chain(variance.iter().map(|variance| variance * count / (count - 1.0)));
        let moved = values[place.clone()].iter().zip(batch);
        let moved: Vec<f64> = moved.map(|(old, new)| (1.0 - op.momentum) * old + op.momentum * new).collect();
        assert_close(&found[place.clone()], &moved, 1e-5, &format!("{op:?}"));
    }
    assert!(found[..5] == values[..5], "what is nobody's was written");
    assert_eq!(elements(&note), [0.0]);
}

/// What tells the last block of a launch is as it was when the next one comes, whatever its size.
#[test]
fn sums_are_finished_by_every_launch() {
    let Some(gpu) = cuda_executor() else { return };
    let cases = shapes::normalisations();
    let mut runs = (0..2).map(|_| {
        let results = cases.iter().enumerate().map(|(seed, case)| {
            let inputs = case.inputs(&mut Random::new(seed as u64));
            let output = case.forward(&gpu, &inputs).unwrap();
            let mut all = case.backward(&gpu, &inputs, &output, false).unwrap();
            all.push(output);
            all
        });
        results.collect::<Vec<_>>()
    });
    let (first, second) = (runs.next().unwrap(), runs.next().unwrap());
    for ((case, first), second) in cases.iter().zip(&first).zip(&second) {
        assert!(first.iter().flatten().all(|value| value.is_finite()), "{case:?}");
        assert!(first == second, "{case:?}");
    }
}

#[test]
fn other_backends_do_it_one_by_one() {
    let cpu = Executor::cpu(1).unwrap();
    let mut empty = buffer(&cpu, cpu.dtype(), &[]);
    assert!(!conv2d::packs_together(&cpu) && !batch_norm::updates_together(&cpu));
    let message = |result: resnet_ops::Result<()>| result.unwrap_err().to_string();
    assert!(message(conv2d::pack_together(&cpu, &mut [])).contains("packs weights one by one"));
    assert!(message(conv2d::unpack_together(&cpu, &[], &mut empty)).contains("packs weights one by one"));
    let mut note = note(&cpu);
    assert!(message(batch_norm::update_together(&cpu, 1, &[], &mut empty, &mut note)).contains("one by one"));
}

/// A result that the order of blocks or threads changes is one of a race.
fn check<O: Op>(cases: Vec<O>) {
    // A GPU has orders of its own.
    let Some(gpu) =
        cuda_executor().filter(|_| !std::env::var("RESNET_NATIVE_TESTS_GPU").is_ok_and(|value| value == "1"))
    else {
        return;
    };
    let backwards = Executor::backwards_for_tests(Precision::Fp32);
    for (seed, case) in cases.iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let inputs = case.inputs(&mut random);
        let [one, other] = [&gpu, &backwards].map(|executor| {
            let output = case.forward(executor, &inputs).unwrap();
            let dy = output.iter().map(|value| 0.5 - value).collect::<Vec<_>>();
            let mut all = case.backward(executor, &inputs, &dy, false).unwrap();
            all.push(output);
            all.iter().map(|values| bits(values)).collect::<Vec<_>>()
        });
        assert!(one == other, "{case:?}: other bits in another order");
    }
}

mod in_another_order {
    /// A test for each op of the table.
    macro_rules! tests {
        ($($op:ident: $cases:path;)*) => {
            $(#[test]
            fn $op() {
                super::check($cases());
            })*
        };
    }
    crate::support::ops::every_op!(tests);
}
