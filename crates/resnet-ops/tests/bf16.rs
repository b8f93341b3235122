//! Convolutions on the CPU whose operands are rounded to bf16, in every way that the machine has, against the definition in f64.
//!
//! Operands are numbers that bf16 holds, so that nothing but the order of sums may differ.

use crate::support::convolution::{dense, Convolution};
use crate::support::ops::Op;
use crate::support::{
    activation, assert_close, blank_activation, garbage, read_activation, shapes, Parameters, Random,
};
use resnet_ops::conv2d::{self, Forward};
use resnet_ops::{Algorithm, Bf16Products, Executor, Pass, Precision};

/// Of the root of the mean square: products are exact, and sums go over some thousands of them.
const TOLERANCE: f64 = 1e-5;

fn on(products: Bf16Products, threads: usize) -> Executor {
    Executor::cpu(threads).unwrap().with_convolution(Algorithm::Bf16(products))
}

/// The number of 8 bits that is next to it below, in size.
fn cut(value: f64) -> f64 {
    f64::from(f32::from_bits((value as f32).to_bits() & 0xffff_0000))
}

fn cut_all(values: &[Vec<f64>]) -> Vec<Vec<f64>> {
    values.iter().map(|values| values.iter().copied().map(cut).collect()).collect()
}

/// The output plain, with ReLU and onto a shortcut, and all gradients over and onto what is there.
fn passes(case: &Convolution, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64]) -> Vec<Vec<f64>> {
    let mut all = vec![
        case.forward(executor, inputs).unwrap(),
        case.forward_with(executor, inputs, Some(dy), false).unwrap(),
        case.forward_with(executor, inputs, Some(dy), true).unwrap(),
    ];
    for accumulate in [false, true] {
        all.extend(case.backward(executor, inputs, dy, accumulate).unwrap());
    }
    all
}

#[test]
fn all_passes_are_the_definition_of_rounded_operands() {
    for (seed, case) in shapes::undivided().iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let inputs = cut_all(&case.inputs(&mut random));
        let outputs = case.forward(&Executor::ReferenceF64, &inputs).unwrap().len();
        let dy: Vec<f64> = random.values(outputs).into_iter().map(cut).collect();
        let expected = passes(case, &Executor::ReferenceF64, &inputs, &dy);
        for products in Bf16Products::available() {
            let found = passes(case, &on(products, 1), &inputs, &dy);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_close(found, expected, TOLERANCE, &format!("{case:?}, {}, result {index}", products.name()));
            }
            let threads = 2 + seed % 2;
            let same = passes(case, &on(products, threads), &inputs, &dy) == found;
            assert!(same, "{case:?}, {}: {threads} threads give other bits than one", products.name());
        }
    }
}

/// Units of images, and parts of one, with sums of their own, the last one smaller; and turns of all threads onto the same sums.
#[test]
fn gradients_of_weights_are_summed_over_all_images() {
    for case in [
        dense(70, [16, 16], 1, 1, [24, 24]),
        dense(67, [16, 32], 3, 1, [15, 16]),
        dense(2, [16, 2048], 1, 1, [9, 9]),
        dense(2, [272, 256], 1, 1, [37, 37]),
    ] {
        let mut random = Random::new(2);
        let x = cut_all(&case.inputs(&mut random)).pop().unwrap();
        let [height, width] = case.shape.output();
        let outputs = case.n * case.shape.out_channels * height * width;
        let dy: Vec<f64> = random.values(outputs).into_iter().map(cut).collect();
        let gradient = |executor: &Executor| case.weight_gradient(executor, &x, &dy, false).unwrap();
        let expected = gradient(&Executor::ReferenceF64);
        for products in Bf16Products::available() {
            let found = gradient(&on(products, 1));
            assert_close(&found, &expected, TOLERANCE, &format!("{case:?}, {}", products.name()));
            for threads in [2, 3] {
                assert!(gradient(&on(products, threads)) == found, "{case:?}, {}, {threads}", products.name());
            }
        }
    }
}

#[test]
fn operands_are_rounded_and_nothing_else() {
    let case = dense(4, [40, 24], 3, 1, [6, 5]);
    let mut random = Random::new(5);
    // Between two numbers of bf16, each nearer to the lower one.
    let above = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value * (1.0 + 1e-3)).collect() };
    let mut inputs = cut_all(&case.inputs(&mut random));
    let weights = case.shape.weight_len();
    let dy: Vec<f64> = random.values(4 * 24 * 30).into_iter().map(cut).collect();
    let bias = inputs[0].split_off(weights);
    let with_bias = |weights: &[f64]| [weights, &above(&bias)].concat();
    let (exact, between) =
        ([with_bias(&inputs[0]), inputs[1].clone()], [with_bias(&above(&inputs[0])), above(&inputs[1])]);
    for products in Bf16Products::available() {
        let executor = on(products, 1);
        let outputs = |inputs: &[Vec<f64>]| case.forward(&executor, inputs).unwrap();
        assert_eq!(outputs(&exact), outputs(&between), "{}", products.name());
        let gradients = |inputs: &[Vec<f64>], dy: &[f64]| case.backward(&executor, inputs, dy, false).unwrap();
        let (exact, between) = (gradients(&exact, &dy), gradients(&between, &above(&dy)));
        assert_eq!(exact[0][..weights], between[0][..weights], "{}", products.name());
        assert_ne!(exact[0][weights..], between[0][weights..], "{}: biases' gradients", products.name());
        assert_eq!(exact[1], between[1], "{}", products.name());
    }
}

/// Gradients are as near to f64's as those of any other program that rounds operands to bf16, whose numbers have 8 bits.
#[test]
fn results_are_as_near_as_rounded_operands_are() {
    for case in [dense(4, [64, 64], 3, 1, [8, 8]), dense(4, [128, 64], 1, 1, [8, 8]), dense(4, [64, 96], 3, 2, [8, 8])]
    {
        let mut random = Random::new(8);
        let inputs = case.inputs(&mut random);
        let dy = random.values(case.forward(&Executor::ReferenceF64, &inputs).unwrap().len());
        let expected = passes(&case, &Executor::ReferenceF64, &inputs, &dy);
        for products in Bf16Products::available() {
            for (found, expected) in passes(&case, &on(products, 2), &inputs, &dy).iter().zip(&expected) {
                // Each operand is off by 2⁻⁹ at most, by some 2⁻¹⁰·⁵ as a rule.
                assert_close(found, expected, 0.02, &format!("{case:?}, {}", products.name()));
            }
        }
    }
}

/// The output alone: what else is asked of one compares, and no NaN is like itself.
fn output(case: &Convolution, executor: &Executor, inputs: &[Vec<f64>]) -> Vec<f64> {
    let (n, conv) = (case.n, case.prepared(executor).unwrap());
    let [height, width] = case.shape.output();
    let params = Parameters::new(executor, &inputs[0]);
    let x = activation(executor, [n, case.shape.in_channels, height, width], &inputs[1]).unwrap();
    let room = |len| garbage(executor, executor.dtype(), len);
    let (mut packed, mut scratch) = (room(conv.packed_len(Pass::Forward)), room(conv.scratch_len(Pass::Forward, n)));
    let shape = [n, case.shape.out_channels, height, width];
    let mut y = blank_activation(executor, shape);
    conv2d::pack(executor, &conv, n, Pass::Forward, params.view(), &mut packed).unwrap();
    let (params, packed, scratch) = (params.view(), &packed, &mut scratch);
    let call = Forward { n, x: &x, params, packed, scratch, y: &mut y, shortcut: None, relu: true, moments: None };
    conv2d::forward(executor, &conv, call).unwrap();
    read_activation(executor, shape, &y).unwrap()
}

#[test]
fn what_is_not_finite_goes_where_its_products_go() {
    let case = dense(2, [32, 16], 3, 1, [6, 6]);
    let mut random = Random::new(3);
    let inputs = cut_all(&case.inputs(&mut random));
    for products in Bf16Products::available() {
        for wrong in [f64::NAN, f64::INFINITY] {
            let mut inputs = inputs.clone();
            // The first image's pixel in the middle, of one channel.
            inputs[1][7 * 36 + 2 * 6 + 3] = wrong;
            let found = output(&case, &on(products, 1), &inputs);
            for (index, value) in found.iter().enumerate() {
                let (image, line, pixel) = (index / (16 * 36), index % 36 / 6, index % 6);
                let reached = image == 0 && (1..=3).contains(&line) && (2..=4).contains(&pixel);
                // Where the weight is negative, the ReLU makes zero of infinity.
                let fits = if reached {
                    !value.is_finite() || wrong.is_infinite() && *value == 0.0
                } else {
                    value.is_finite()
                };
                assert!(fits, "{wrong}, {}, element {index}: {value}", products.name());
            }
        }
    }
}

#[test]
fn denormal_numbers_are_zero() {
    let case = dense(1, [32, 16], 1, 1, [3, 3]);
    let inputs = vec![vec![1.0; case.shape.params_len()], vec![1e-39; 32 * 9]];
    for products in Bf16Products::available() {
        assert_eq!(case.forward(&on(products, 1), &inputs).unwrap(), vec![0.0; 16 * 9], "{}", products.name());
    }
}

/// What is asked for by precision is a rule of the machine, and strict kernels stay exact.
#[test]
fn precision_asks_for_it_where_it_is_faster() {
    let case = dense(8, [64, 256], 1, 1, [8, 8]);
    let inputs = case.inputs(&mut Random::new(9));
    let cpu = || Executor::cpu(1).unwrap();
    let outputs = |executor: &Executor| case.forward(executor, &inputs).unwrap();
    let f32 = outputs(&cpu());
    for precision in [Precision::Tf32, Precision::Fp32] {
        assert_eq!(outputs(&cpu().with_precision(precision)), f32);
    }
    let bf16 = outputs(&cpu().with_precision(Precision::Bf16));
    match cpu().with_precision(Precision::Bf16).bf16_products() {
        Some(products) => assert_eq!(bf16, outputs(&on(products, 1))),
        None => assert_eq!(bf16, f32),
    }
    let strict = |precision| outputs(&cpu().with_precision(precision).with_convolution(Algorithm::Direct));
    assert_eq!(strict(Precision::Bf16), strict(Precision::Fp32));
}
