//! Quantised convolutions on the CPU, in every way that the machine has, against the definition in f64.
//!
//! Inputs and weights are numbers that bytes stand for, so that nothing but what comes after the sums, which are integers, may differ.

use crate::support::convolution::{dense, Convolution};
use crate::support::ops::Op;
use crate::support::{assert_close, shapes, Random};
use resnet_ops::conv2d::{self, InputRange};
use resnet_ops::{Algorithm, Executor, Int8Products};

/// Of the root of the mean square: a sum becomes a number, is multiplied and added to the bias.
const TOLERANCE: f64 = 1e-6;

/// Of a byte.
const SCALE: f64 = 0.0625;

fn on(products: Int8Products, threads: usize) -> Executor {
    Executor::cpu(threads).unwrap().with_convolution(Algorithm::Int8(products))
}

/// A case whose input is quantised with this byte for zero, with such an input and such weights.
fn quantised(mut case: Convolution, zero: u8, random: &mut Random) -> (Convolution, Vec<Vec<f64>>) {
    let of_byte = |byte: f64| (byte - f64::from(zero)) * SCALE;
    case.range = Some(InputRange { low: of_byte(0.0) as f32, high: of_byte(255.0) as f32 });
    let mut inputs = case.inputs(random);
    let fan_in = case.shape.weight_len() / case.shape.out_channels;
    for row in inputs[0][..case.shape.weight_len()].chunks_exact_mut(fan_in) {
        let weights: Vec<f32> = row.iter().map(|&weight| weight as f32).collect();
        let mut bytes = vec![0; fan_in];
        let scale = f64::from(conv2d::quantize_row(&weights, &mut bytes));
        row.iter_mut().zip(bytes).for_each(|(weight, byte)| *weight = f64::from(byte) * scale);
    }
    for value in &mut inputs[1] {
        *value = of_byte((128.0 + 60.0 * *value).round().clamp(0.0, 255.0));
    }
    (case, inputs)
}

#[test]
fn forward_is_the_definition_of_bytes() {
    for (seed, case) in shapes::undivided().into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let (case, inputs) = quantised(case, [0, 128, 17][seed % 3], &mut random);
        let shortcut = random.values(case.forward(&Executor::ReferenceF64, &inputs).unwrap().len());
        let outputs = |executor: &Executor| {
            [(None, false), (Some(&shortcut[..]), false), (Some(&shortcut[..]), true)]
                .map(|(shortcut, relu)| case.forward_with(executor, &inputs, shortcut, relu).unwrap())
        };
        let (expected, model) = (outputs(&Executor::ReferenceF64), outputs(&on(Int8Products::Model, 1)));
        for (found, expected) in model.iter().zip(&expected) {
            assert_close(found, expected, TOLERANCE, &format!("{case:?}"));
        }
        for products in Int8Products::available() {
            assert!(outputs(&on(products, 3)) == model, "{case:?}, {}", products.name());
        }
    }
}

/// As far from f64 as bytes are: of a range of 8, and of the largest weight of an output.
#[test]
fn results_are_as_near_as_bytes_are() {
    for mut case in [dense(4, [64, 64], 3, 1, [8, 8]), dense(4, [128, 64], 1, 1, [8, 8])] {
        let inputs = case.inputs(&mut Random::new(8));
        case.range = Some(InputRange { low: -4.0, high: 4.0 });
        let expected = case.forward(&Executor::ReferenceF64, &inputs).unwrap();
        for products in Int8Products::available() {
            let found = case.forward(&on(products, 2), &inputs).unwrap();
            assert_close(&found, &expected, 0.08, &format!("{case:?}, {}", products.name()));
        }
    }
}

#[test]
fn what_is_beyond_the_range_is_its_end() {
    let (case, mut inputs) = quantised(dense(2, [32, 16], 3, 1, [6, 6]), 40, &mut Random::new(3));
    let InputRange { low, high } = case.range.unwrap();
    let outputs = |value: f64, inputs: &mut Vec<Vec<f64>>, executor: &Executor| {
        inputs[1][100] = value;
        case.forward(executor, inputs).unwrap()
    };
    for products in Int8Products::available() {
        let executor = on(products, 1);
        for (beyond, end) in [(-1e9, low), (1e9, high), (f64::INFINITY, high), (f64::NEG_INFINITY, low)] {
            let found = outputs(beyond, &mut inputs, &executor);
            assert!(found == outputs(end.into(), &mut inputs, &executor), "{beyond}, {}", products.name());
        }
    }
}

/// Strict kernels, groups, gradients and machines without a way compute in f32.
#[test]
fn f32_is_computed_where_bytes_are_not() {
    let case = dense(2, [64, 64], 1, 1, [4, 4]);
    let inputs = case.inputs(&mut Random::new(4));
    let with_range =
        Convolution { range: Some(InputRange { low: -3.0, high: 3.0 }), ..Convolution::new(2, case.shape.clone()) };
    let direct = Executor::cpu(1).unwrap().with_convolution(Algorithm::Direct);
    assert_eq!(direct.int8_products(), None);
    assert_eq!(with_range.forward(&direct, &inputs).unwrap(), case.forward(&direct, &inputs).unwrap());
    let dy = case.forward(&direct, &inputs).unwrap();
    let bytes = on(Int8Products::Model, 1);
    let gradients = |case: &Convolution, executor| case.backward(executor, &inputs, &dy, false).unwrap();
    assert_eq!(gradients(&with_range, &bytes), gradients(&case, &Executor::cpu(1).unwrap()));
    let cpu = Executor::cpu(1).unwrap();
    let [quantised, plain] = [&with_range, &case].map(|case| case.forward(&cpu, &inputs).unwrap());
    assert_eq!(quantised == plain, cpu.int8_products().is_none());
}
