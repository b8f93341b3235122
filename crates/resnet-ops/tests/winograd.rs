//! Winograd's convolution wherever it is defined, whether it pays there or not, against the plain definition in f64: on every
//! instruction set; on the widest with the same bits on one thread and on two or three.

use crate::support::convolution::Convolution;
use crate::support::ops::Op;
use crate::support::{activation, blank_activation, garbage, norm, read_activation, Parameters, Random};
use resnet_ops::conv2d::{self, ConvShape, Forward, WeightGradient};
use resnet_ops::{Algorithm, Bf16Products, DType, Executor, Isa, Pass};

/// Most relative root mean square error.
const TOLERANCE: f64 = 1e-5;

fn convolution(n: usize, channels: [usize; 2], input: [usize; 2]) -> Convolution {
    strided(n, channels, input, 1)
}

fn strided(n: usize, [in_channels, out_channels]: [usize; 2], input: [usize; 2], stride: usize) -> Convolution {
    let (kernel, stride, padding) = ([3; 2], [stride; 2], [1; 2]);
    let shape = ConvShape {
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        groups: 1,
        bias: n % 2 == 1,
        input,
        plain_input: false,
    };
    Convolution::new(n, shape)
}

/// What is computed, and by which pass.
const VALUES: [(&str, usize); 5] = [
    ("output", 0),
    ("input gradient", 1),
    ("input gradient, added", 1),
    ("weight gradient", 2),
    ("weight gradient without bias", 2),
];

fn compute(case: &Convolution, executor: &Executor, inputs: &[Vec<f64>], dy: &[f64]) -> [Vec<f64>; 5] {
    let [weights, unbiased] = [false, true].map(|skip| case.weight_gradient(executor, &inputs[1], dy, skip).unwrap());
    let [dx, sum] = [false, true].map(|accumulate| case.input_gradient(executor, inputs, dy, accumulate).unwrap());
    [case.forward(executor, inputs).unwrap(), dx, sum, weights, unbiased]
}

fn bits(values: &[Vec<f64>]) -> Vec<u64> {
    values.iter().flatten().map(|value| value.to_bits()).collect()
}

/// The largest error of each pass on one thread, with weights that stay and with weights that change: output, input gradient, weight
/// gradient. The widest instruction set must have the same bits on two threads if the maps' width is even, on three if it is odd.
fn errors(case: &Convolution) -> [f64; 3] {
    let training = Convolution { training: true, shape: case.shape.clone(), ..*case };
    let mut random = Random::new(case.n as u64);
    let mut inputs = case.inputs(&mut random);
    // Weights as they are in a network, so that outputs, and what is added to, are of one size.
    let scale = (3.0 / (9.0 * case.shape.in_channels as f64)).sqrt();
    inputs[0].iter_mut().for_each(|weight| *weight = f64::from((*weight * scale) as f32));
    let [height, width] = case.shape.output();
    let dy = random.values(case.n * case.shape.out_channels * height * width);
    let expected = compute(case, &Executor::ReferenceF64, &inputs, &dy);
    let mut errors = [0f64; 3];
    for isa in Isa::available() {
        let on = |threads| Executor::cpu_with(threads, isa).unwrap().with_convolution(Algorithm::Winograd);
        let [staying, changing] = [case, &training].map(|case| compute(case, &on(1), &inputs, &dy));
        assert!(staying[..3] == changing[..3], "{case:?}, {}: other bits in training", isa.name());
        for (value, (name, pass)) in VALUES.into_iter().enumerate() {
            for found in [&staying, &changing] {
                let pairs = found[value].iter().zip(&expected[value]);
                let difference: Vec<f64> = pairs.map(|(found, expected)| found - expected).collect();
                let error = norm(&difference) / norm(&expected[value]);
                assert!(error < TOLERANCE, "{case:?}, {}, {name}: relative error {error:e}", isa.name());
                errors[pass] = errors[pass].max(error);
            }
        }
        if Isa::available().last() == Some(&isa) {
            let threads = 2 + width % 2;
            for (one, case) in [(&staying, case), (&changing, &training)] {
                let same = bits(one) == bits(&compute(case, &on(threads), &inputs, &dy));
                assert!(same, "{case:?}: other bits on {threads} threads");
            }
        }
    }
    errors
}

/// Fails if any pass is far from the definition.
fn check(case: &Convolution) {
    errors(case);
}

#[test]
fn odd_shapes() {
    for channels in [[3, 17], [17, 3], [24, 16], [16, 33], [40, 96], [1, 1]] {
        for input in [[1, 1], [3, 3], [4, 4], [5, 6], [7, 9], [13, 8], [2, 11]] {
            for stride in [1, 2] {
                check(&strided(1, channels, input, stride));
            }
        }
    }
    for n in [2, 5, 18, 37] {
        check(&convolution(n, [17, 24], [3, 3]));
        check(&convolution(n, [33, 16], [8, 6]));
    }
    // Many tiles, so that there are several groups of them; more channels than a micro-kernel sums at once.
    check(&convolution(3, [16, 16], [50, 47]));
    check(&convolution(1, [144, 160], [5, 9]));
    check(&convolution(40, [130, 140], [3, 3]));
    check(&strided(3, [16, 16], [50, 47], 2));
    check(&strided(1, [144, 160], [12, 13], 2));
    check(&strided(40, [130, 140], [5, 6], 2));
    // A large gradient of many tiles, in two groups.
    check(&convolution(19, [64; 2], [24; 2]));
    // More images than strips are worked out for at a time.
    check(&convolution(6, [16, 64], [55, 53]));
}

/// The layers of ResNet-18 at 96x96.
#[test]
fn errors_of_deep_layers_are_small() {
    for (channels, size, n) in [(64, 24, 2), (128, 12, 2), (256, 6, 2), (512, 3, 3)] {
        let errors = errors(&convolution(n, [channels; 2], [size; 2]));
        // Measured: at most 5.2e-6 for outputs and input gradients, 2.8e-6 for weight gradients.
        assert!(errors.iter().all(|&error| error < 7e-6), "{channels} channels: {errors:?}");
    }
    for (channels, size, n) in [([64, 128], 24, 2), ([128, 256], 12, 2), ([256, 512], 6, 3)] {
        let errors = errors(&strided(n, channels, [size; 2], 2));
        assert!(errors.iter().all(|&error| error < 1e-6), "{channels:?} channels, stride 2: {errors:?}");
    }
}

/// A plan has storage for its largest batch and runs smaller ones in it, by other kernels if the rule says so.
#[test]
fn any_batch_runs_in_the_storage_of_a_larger_one() {
    let (most, channels, size) = (38, [256, 32], [3, 3]);
    let on = |algorithm| Executor::cpu(2).unwrap().with_convolution(algorithm);
    for algorithm in [Algorithm::Auto, Algorithm::Winograd, Algorithm::Direct] {
        in_the_storage_of_a_larger_one(&on(algorithm), &convolution(most, channels, size));
    }
    // Of bf16 in all passes, and in some: twenty of these images are one part, more of them are parts of fewer.
    let some = strided(most, [32, 16], [12, 12], 2);
    in_the_storage_of_a_larger_one(&on(Algorithm::Bf16(Bf16Products::Model)), &some);
    in_the_storage_of_a_larger_one(&on(Algorithm::Auto).with_bf16_for_tests(Bf16Products::Model), &some);
}

fn in_the_storage_of_a_larger_one(executor: &Executor, largest: &Convolution) {
    let (most, size) = (largest.n, largest.shape.output());
    let channels = [largest.shape.in_channels, largest.shape.out_channels];
    let input = largest.shape.input;
    for training in [false, true] {
        let largest = Convolution { training, ..Convolution::new(most, largest.shape.clone()) };
        let conv = largest.prepared(executor).unwrap();
        let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient];
        let mut scratch = passes.map(|pass| garbage(executor, DType::F32, conv.scratch_len(pass, most)));
        let mut packed = passes.map(|pass| garbage(executor, DType::F32, conv.packed_len(pass)));
        for n in [38, 1, 37, 36, 20, 19, 2, 18] {
            let case = Convolution { training, ..Convolution::new(n, largest.shape.clone()) };
            let (mut random, shape) = (Random::new(n as u64), [n, channels[1], size[0], size[1]]);
            let inputs = case.inputs(&mut random);
            let params = Parameters::new(executor, &inputs[0]);
            let x = activation(executor, [n, channels[0], input[0], input[1]], &inputs[1]).unwrap();
            let mut y = blank_activation(executor, shape);
            conv2d::pack(executor, &conv, n, Pass::Forward, params.view(), &mut packed[0]).unwrap();
            let call = Forward {
                n,
                x: &x,
                params: params.view(),
                packed: &packed[0],
                scratch: &mut scratch[0],
                y: &mut y,
                shortcut: None,
                relu: false,
                moments: None,
            };
            conv2d::forward(executor, &conv, call).unwrap();
            assert_eq!(read_activation(executor, shape, &y).unwrap(), case.forward(executor, &inputs).unwrap());

            let dy = read_activation(executor, shape, &y).unwrap();
            let mut gradients = Parameters::blank(executor, case.shape.params_len());
            let (scratch, grads) = (&mut scratch[2], gradients.view_mut());
            let call = WeightGradient { n, x: &x, dy: &y, scratch, grads, skip_bias: false };
            conv2d::weight_gradient(executor, &conv, call).unwrap();
            let expected = case.weight_gradient(executor, &inputs[1], &dy, false).unwrap();
            assert_eq!(gradients.read(), expected);
        }
    }
}

#[test]
fn auto_takes_the_kernels_of_the_rule() {
    let forward = |algorithm, n| {
        let executor = Executor::cpu(1).unwrap().with_convolution(algorithm);
        let case = convolution(n, [256; 2], [6, 6]);
        case.forward(&executor, &case.inputs(&mut Random::new(1))).unwrap()
    };
    for (n, expected) in [(1, Algorithm::Direct), (4, Algorithm::Direct), (5, Algorithm::Winograd)] {
        let other = if expected == Algorithm::Direct { Algorithm::Winograd } else { Algorithm::Direct };
        assert_eq!(forward(Algorithm::Auto, n), forward(expected, n));
        assert_ne!(forward(Algorithm::Auto, n), forward(other, n));
    }
}
