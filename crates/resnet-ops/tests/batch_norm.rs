//! What batch norm's documentation says beyond the formulas, in every backend: NaN, running statistics, folding, refused arguments.

use crate::support::convolution::Convolution;
use crate::support::normalisation::Normalisation;
use crate::support::ops::Op;
use crate::support::{
    assert_close, bf16_executor, blank_activation, every_executor, garbage, note, read_flat, shapes, Parameters, Random,
};
use resnet_ops::batch_norm::{self, Backward, BatchNorm, Statistics};
use resnet_ops::conv2d::ConvShape;
use resnet_ops::{DType, Executor, Result};

const NAN: f64 = f64::NAN;

#[test]
fn folded_does_what_it_did_after_the_convolution() {
    let running: Vec<f64> = [0.5, -1.0, 2.0, 0.0, 1.0, 0.2, 3.0, 0.5].into();
    for bias in [true, false] {
        let shape = ConvShape { bias, ..shapes::convolutions()[0].shape.clone() };
        let shape = ConvShape { in_channels: 4, out_channels: 4, groups: 2, ..shape };
        let case = Convolution::new(2, shape.clone());
        let op = BatchNorm { channels: 4, size: shape.output(), eps: 1e-5, momentum: 0.1, relu: false };
        let norm = Normalisation::new(2, op.clone(), false);
        let mut random = Random::new(1);
        let (inputs, norm_params) = (case.inputs(&mut random), random.values(8));
        for executor in every_executor() {
            let y = case.forward(&executor, &inputs).unwrap();
            let expected = norm.eval(&executor, &[norm_params.clone(), y], &running).unwrap();
            let [conv, params, statistics] =
                [&inputs[0], &norm_params, &running].map(|v| Parameters::new(&executor, v));
            let mut folded = Parameters::blank(&executor, shape.weight_len() + 4);
            let views = (conv.view(), params.view(), statistics.view());
            batch_norm::fold(&executor, &op, views.0, views.1, views.2, folded.view_mut()).unwrap();
            let both = Convolution::new(2, ConvShape { bias: true, ..shape.clone() });
            let found = both.forward(&executor, &[folded.read(), inputs[1].clone()]).unwrap();
            assert_close(&found, &expected, 1e-4, &format!("bias: {bias}"));
        }
    }
}

#[test]
fn keeps_nan() {
    let op = BatchNorm { channels: 2, size: [1, 2], eps: 1e-5, momentum: 0.1, relu: true };
    let case = Normalisation::new(2, op, false);
    let inputs = [vec![1.0, 1.0, 0.0, 0.0], vec![NAN, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0]];
    for executor in every_executor() {
        let y = case.forward(&executor, &inputs).unwrap();
        let channel = [0, 1, 4, 5].map(|i| y[i].is_nan());
        assert_eq!(channel, [true; 4]);
        assert_close(&[y[2], y[3], y[6], y[7]], &[1.0, 0.0, 1.0, 0.0], 1e-4, &"the channel without a NaN");
    }
}

#[test]
fn moves_running_statistics_to_the_unbiased_variance() {
    let op = BatchNorm { channels: 1, size: [2, 2], eps: 1e-5, momentum: 0.25, relu: false };
    let case = Normalisation::new(1, op, false);
    let inputs = [vec![2.0, 1.0], vec![1.0, 2.0, 3.0, 6.0]];
    for executor in every_executor() {
        let (_, saved) = case.train(&executor, &inputs).unwrap();
        let mut running = Parameters::new(&executor, &[1.0, 2.0]);
        let (running_view, non_finite) = (running.view_mut(), &mut note(&executor));
        let call =
            batch_norm::UpdateRunning { n: 1, saved: &saved, elided_bias: None, running: running_view, non_finite };
        batch_norm::update_running(&executor, &case.op, call).unwrap();
        // Mean 3; variance 14/4 biased, 14/3 unbiased.
        assert_close(&running.read(), &[1.5, 1.5 + 14.0 / 12.0], 1e-6, &"running statistics");
        let y = case.eval(&executor, &inputs, &[2.0, 4.0]).unwrap();
        assert_close(&y, &[0.0, 1.0, 2.0, 5.0], 1e-5, &"evaluated");
    }
}

#[test]
fn running_statistics_are_saved_as_a_batchs_are() {
    let op = BatchNorm { channels: 19, size: [2, 3], eps: 1e-3, momentum: 0.1, relu: false };
    let running: Vec<f64> = (0..38).map(|i| if i < 19 { i as f64 - 9.0 } else { i as f64 / 16.0 }).collect();
    for executor in every_executor() {
        let statistics = Parameters::new(&executor, &running);
        let mut saved = garbage(&executor, executor.parameter_dtype(), op.saved_len());
        batch_norm::save_running(&executor, &op, statistics.view(), &mut saved).unwrap();
        let (saved, part) = (read_flat(op.saved_len(), &saved), op.saved_len() / 3);
        let inverse: Vec<f64> = running[19..].iter().map(|variance| (variance + 1e-3).sqrt().recip()).collect();
        for (index, expected) in [&running[..19], &running[19..], &inverse].into_iter().enumerate() {
            let (found, beyond) = saved[index * part..][..part].split_at(19);
            assert_close(found, expected, 1e-6, &format!("part {index}"));
            assert!(beyond.iter().all(|&value| value == 0.0), "{beyond:?}");
        }
    }
}

/// Outputs around zero, of which the backward pass must know to the last bit where they are positive.
#[test]
fn frozen_relu_stops_the_gradient_where_the_output_is_zero() {
    let (channels, steps) = (33, 41);
    let op = BatchNorm { channels, size: [1, steps], eps: 1e-5, momentum: 0.1, relu: true };
    let case = Normalisation { n: 1, op, shortcut: false, statistics: Statistics::Running };
    let mut random = Random::new(5);
    let params: Vec<f64> = (0..2 * channels).map(|_| 1.5 + random.value()).collect();
    let running = case.running();
    let zero = |c: usize| running[c] - params[channels + c] / params[c] * (running[channels + c] + case.op.eps).sqrt();
    let near = |i: usize| {
        let (zero, step) = (zero(i / steps) as f32, (i % steps) as i32 - steps as i32 / 2);
        f64::from(f32::from_bits((zero.to_bits() as i32 + step) as u32))
    };
    let inputs = [params.clone(), (0..channels * steps).map(near).collect()];
    for executor in every_executor().into_iter().chain(bf16_executor()) {
        let y = case.forward(&executor, &inputs).unwrap();
        let dx = case.backward(&executor, &inputs, &vec![1.0; y.len()], false).unwrap().swap_remove(1);
        assert!(y.iter().zip(&dx).all(|(&y, &dx)| (y > 0.0) == (dx > 0.0) && dx >= 0.0));
        let positive = y.iter().filter(|&&y| y > 0.0).count();
        assert!(positive > 0 && positive < y.len());
    }
}

/// Running statistics do not depend on x, so neither does its gradient.
#[test]
fn frozen_gradient_of_an_infinite_input_is_finite() {
    let op = BatchNorm { channels: 1, size: [1, 3], eps: 1e-5, momentum: 0.1, relu: false };
    let inputs = [vec![2.0, 1.0], vec![f64::INFINITY, f64::NEG_INFINITY, 0.5], vec![0.0; 3]];
    for shortcut in [false, true] {
        let case = Normalisation { n: 1, op: op.clone(), shortcut, statistics: Statistics::Running };
        let scale = 2.0 / (case.running()[1] + op.eps).sqrt();
        for executor in every_executor() {
            let gradients =
                case.backward(&executor, &inputs[..2 + usize::from(shortcut)], &[1.0, -2.0, 3.0], false).unwrap();
            assert_close(&gradients[1], &[scale, -2.0 * scale, 3.0 * scale], 1e-6, &format!("shortcut: {shortcut}"));
        }
    }
}

#[test]
fn backward_refuses_what_it_cannot_do() {
    let op = BatchNorm { channels: 1, size: [1, 1], eps: 1e-5, momentum: 0.1, relu: true };
    for executor in every_executor() {
        let refused = |with_y: bool, run: fn(&Executor, &BatchNorm, Backward) -> Result<()>, word: &str| {
            let (x, params) = (blank_activation(&executor, [1; 4]), Parameters::blank(&executor, 2));
            let mut sums = garbage(&executor, DType::F64, op.sums_len(1));
            let saved = garbage(&executor, executor.parameter_dtype(), op.saved_len());
            let (mut dy, mut grads) = (blank_activation(&executor, [1; 4]), Parameters::blank(&executor, 2));
            let call = Backward {
                n: 1,
                x: &x,
                y: with_y.then_some(&x),
                params: params.view(),
                saved: &saved,
                sums: &mut sums,
                dy: &mut dy,
                dx: None,
                grads: grads.view_mut(),
                statistics: Statistics::Batch,
            };
            let error = run(&executor, &op, call).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refused(true, batch_norm::backward, "or neither");
        if !batch_norm::fuses_backward(&executor) {
            refused(false, batch_norm::finish_backward, "no convolution begins");
        }
    }
}
