//! The CPU kernels of every instruction set that the machine has, on one and two threads, and the GPU's, against the plain
//! definitions in f64.

use crate::support::ops::Op;
use crate::support::{
    assert_close, bf16_executor, buffer, cpu_executors, cuda_executor, elements, norm, note, shapes, tell, Parameters,
    Random,
};
use resnet_ops::update::{Clip, Update};
use resnet_ops::{
    accumulate, adam, batch_norm, lion, muon, rmsprop, sgd, sum_of_squares, Algorithm, Executor, Precision,
};
use std::fmt::Debug;

const TOLERANCE: f64 = 1e-4;
/// Of the root of all squares' sum; bf16 rounds by up to 4e-3.
const BF16_TOLERANCE: f64 = 2e-2;
const BF16_GRADIENT_TOLERANCE: f64 = 0.25;

type Executors = Vec<(resnet_ops::Isa, [Executor; 2])>;
/// What an op computes, by name.
pub type Named = Vec<(String, Vec<f64>)>;

/// Holds `compute`, which gives named values, of each backend in f32 against the same in f64.
fn compare(case: &dyn Debug, executors: &Executors, compute: impl Fn(&Executor) -> Named) {
    let expected = compute(&Executor::ReferenceF64);
    compare_on_cpu(case, executors, &expected, &compute);
    check_close(case, "reference", &compute(&Executor::ReferenceF32), &expected);
    if let Some(executor) = cuda_executor() {
        check_close(case, "cuda", &compute(&executor), &expected);
    }
    if let Some(executor) = bf16_executor() {
        for ((name, found), (_, expected)) in compute(&executor).iter().zip(&expected) {
            let apart = norm(&found.iter().zip(expected).map(|(a, b)| a - b).collect::<Vec<_>>());
            // Some values lie on the other side of a kink, and send their gradient elsewhere.
            let tolerance = if name == "output" { BF16_TOLERANCE } else { BF16_GRADIENT_TOLERANCE };
            let allowed = tolerance * norm(expected);
            tell(|| format!("distance {:.2e} of what is allowed: {case:?}, cuda in bf16, {name}", apart / allowed));
            assert!(apart <= allowed, "{case:?}, cuda in bf16, {name}: {apart:e}, allowed {allowed:e}");
        }
    }
}

fn compare_on_cpu(case: &dyn Debug, executors: &Executors, expected: &Named, compute: impl Fn(&Executor) -> Named) {
    for (isa, [one, two]) in executors {
        let found = compute(one);
        check_close(case, isa.name(), &found, expected);
        for ((name, one), (_, two)) in found.iter().zip(compute(two)) {
            let same = one.iter().zip(two).all(|(one, two)| one.to_bits() == two.to_bits());
            assert!(same, "{case:?}, {}, {name}: two threads give other bits than one", isa.name());
        }
    }
}

fn check_close(case: &dyn Debug, backend: &str, found: &Named, expected: &Named) {
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        assert_close(found, expected, TOLERANCE, &format!("{case:?}, {backend}, {name}"));
    }
}

fn check<O: Op>(cases: Vec<O>) {
    let executors = cpu_executors();
    each(cases, |case, compute| compare(case, &executors, compute));
}

/// Hands on each case and what computes it: the output, and the gradients over and onto what is there.
pub fn each<O: Op>(cases: Vec<O>, mut hold: impl FnMut(&O, &dyn Fn(&Executor) -> Named)) {
    assert!(cases.len() >= 20);
    for (seed, case) in cases.iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let inputs = case.inputs(&mut random);
        let outputs = case.forward(&Executor::ReferenceF64, &inputs).unwrap().len();
        let dy = random.values(outputs);
        hold(case, &|executor| {
            let mut found = vec![("output".to_string(), case.forward(executor, &inputs).unwrap())];
            for accumulate in [false, true] {
                let gradients = case.backward(executor, &inputs, &dy, accumulate).unwrap().into_iter().enumerate();
                found.extend(gradients.map(|(i, values)| (format!("gradient {i}, accumulate: {accumulate}"), values)));
            }
            found
        });
    }
}

/// A test for each op of the table.
macro_rules! tests {
    ($($op:ident: $cases:path;)*) => {
        $(#[test]
        fn $op() {
            check($cases());
        })*
    };
}
crate::support::ops::every_op!(tests);

#[test]
fn conv2d_by_direct_kernels() {
    let direct = |executors: [Executor; 2]| executors.map(|executor| executor.with_convolution(Algorithm::Direct));
    let executors = cpu_executors().into_iter().map(|(isa, executors)| (isa, direct(executors))).collect();
    each(shapes::convolutions(), |case, compute| {
        compare_on_cpu(case, &executors, &compute(&Executor::ReferenceF64), compute);
    });
}

/// As a user's model computes that asks for nothing, in each precision: with plans that timing chose. Only a GPU has them.
#[test]
fn conv2d_by_plans_that_timing_chose() {
    for (precision, tolerance) in
        [(Precision::Tf32, 5e-3), (Precision::Bf16, BF16_TOLERANCE), (Precision::Fp32, TOLERANCE)]
    {
        let Some(gpu) = Executor::cuda_by_default_for_tests(precision) else { return };
        for (seed, case) in shapes::convolutions().iter().enumerate() {
            let inputs = case.inputs(&mut Random::new(seed as u64));
            let expected = case.forward(&Executor::ReferenceF64, &inputs).unwrap();
            let check = |found: &[f64], expected: &[f64], name: &str| {
                let apart = norm(&found.iter().zip(expected).map(|(a, b)| a - b).collect::<Vec<_>>());
                let allowed = tolerance * norm(expected);
                tell(|| {
                    format!("distance {:.2e} of what is allowed: {case:?}, {precision:?}, {name}", apart / allowed)
                });
                assert!(apart <= allowed, "{case:?}, {precision:?}, {name}: {apart:e}, allowed {allowed:e}");
            };
            check(&case.forward(&gpu, &inputs).unwrap(), &expected, "output");
            let of = |executor| case.backward(executor, &inputs, &expected, false).unwrap();
            for (found, expected) in of(&gpu).iter().zip(of(&Executor::ReferenceF64)) {
                check(found, &expected, "gradient");
            }
        }
    }
}

#[test]
fn conv2d_with_shortcut_and_relu() {
    let kernels = [Algorithm::Direct, Algorithm::Winograd];
    for (seed, case) in shapes::convolutions().iter().chain(&shapes::plain_convolutions()).enumerate() {
        let inputs = case.inputs(&mut Random::new(seed as u64));
        let outputs = case.forward(&Executor::ReferenceF64, &inputs).unwrap().len();
        let shortcut = Random::new(seed as u64 + 1).values(outputs);
        let executors = cpu_executors().into_iter();
        let executors = executors.map(|(isa, pair)| (isa, pair.map(|one| one.with_convolution(kernels[seed % 2]))));
        compare(case, &executors.collect(), |executor| {
            let result = |shortcut, relu| case.forward_with(executor, &inputs, shortcut, relu).unwrap();
            vec![
                ("ReLU".to_string(), result(None, true)),
                ("shortcut".to_string(), result(Some(&shortcut), false)),
                ("shortcut and ReLU".to_string(), result(Some(&shortcut), true)),
            ]
        });
    }
}

#[test]
fn conv2d_without_bias_gradient() {
    let executors = cpu_executors();
    for case in shapes::convolutions().iter().chain(&shapes::plain_convolutions()).filter(|case| case.shape.bias) {
        let inputs = case.inputs(&mut Random::new(1));
        let dy = case.forward(&Executor::ReferenceF64, &inputs).unwrap();
        compare(case, &executors, |executor| {
            let mut weights = case.weight_gradient(executor, &inputs[1], &dy, true).unwrap();
            let bias = weights.split_off(case.shape.weight_len());
            assert!(bias.iter().all(|&value| value == 0.0), "{case:?}: {bias:?}");
            vec![("gradient of weights".to_string(), weights)]
        });
    }
}

#[test]
fn batch_norm_statistics_and_evaluation() {
    let executors = cpu_executors();
    for (seed, case) in shapes::normalisations().iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let (inputs, channels) = (case.inputs(&mut random), case.op.channels);
        let means = random.values(channels);
        let running: Vec<f64> = means.into_iter().chain((0..channels).map(|_| 1.5 + random.value())).collect();
        compare(case, &executors, |executor| {
            let (_, saved) = case.train(executor, &inputs).unwrap();
            let mut updated = Parameters::new(executor, &running);
            let (updated_view, non_finite) = (updated.view_mut(), &mut note(executor));
            let call = batch_norm::UpdateRunning {
                n: case.n,
                saved: &saved,
                elided_bias: None,
                running: updated_view,
                non_finite,
            };
            batch_norm::update_running(executor, &case.op, call).unwrap();
            let saved = elements(&saved);
            let part = case.op.saved_len() / 3;
            let names = ["mean", "variance", "inverse deviation"];
            let mut found = vec![
                ("running statistics".to_string(), updated.read()),
                ("evaluated".to_string(), case.eval(executor, &inputs, &running).unwrap()),
            ];
            found.extend((0..3).map(|i| (names[i].to_string(), saved[i * part..][..channels].to_vec())));
            found
        });
    }
}

/// Five updates by an op with buffers that it keeps, on parts of flat storage that begin at no multiple of anything.
fn check_updates(name: &str, kept: usize, clip: Clip, rule: impl Fn(&Executor, Update) -> resnet_ops::Result<()>) {
    let executors = cpu_executors();
    for (seed, case) in shapes::relus().iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let (len, params) = (case.0, random.values(case.0));
        let gradients: Vec<Vec<f64>> = (0..5).map(|_| random.values(len)).collect();
        compare(&(name, clip, len), &executors, |executor| {
            let mut params = Parameters::new(executor, &params);
            let mut buffers: Vec<_> = (0..kept).map(|_| Parameters::new(executor, &vec![0.0; len])).collect();
            for (gradient, step) in gradients.iter().zip(1..) {
                let gradient = Parameters::new(executor, gradient);
                let kept = buffers.iter_mut().map(Parameters::view_mut).collect();
                let (params, grads, non_finite) = (params.view_mut(), gradient.view(), &mut note(executor));
                rule(executor, Update { params, grads, kept, clip, step, non_finite }).unwrap();
            }
            let kept = buffers.iter().enumerate().map(|(i, buffer)| (format!("buffer {i}"), buffer.read()));
            std::iter::once(("parameters".to_string(), params.read())).chain(kept).collect()
        });
    }
}

const CLIPS: [Clip; 2] = [Clip { scale: 1.0, limit: f64::INFINITY }, Clip { scale: 0.75, limit: 0.4 }];

#[test]
fn sgd() {
    let settings = [(0.0, 0.0, false, 0.0), (0.0, 0.0, false, 0.1), (0.9, 0.0, false, 0.0), (0.9, 0.0, true, 0.01)];
    for (i, (momentum, dampening, nesterov, weight_decay)) in
        settings.into_iter().chain([(0.5, 0.3, false, 0.1)]).enumerate()
    {
        let op = sgd::Sgd { lr: 0.1, momentum, dampening, nesterov, weight_decay };
        check_updates(&format!("{op:?}"), usize::from(momentum != 0.0), CLIPS[i % 2], |executor, update| {
            let Update { params, grads, kept, clip, non_finite, .. } = update;
            let velocity = kept.into_iter().next();
            sgd::step(executor, &op, sgd::Step { params, grads, velocity, clip, non_finite })
        });
    }
}

#[test]
fn adam() {
    for (i, (weight_decay, decoupled)) in [(0.0, false), (0.1, false), (0.1, true)].into_iter().enumerate() {
        let op = adam::Adam { lr: 0.01, betas: [0.9, 0.99], eps: 1e-3, weight_decay, decoupled };
        check_updates(&format!("{op:?}"), 2, CLIPS[i % 2], |executor, update| adam::step(executor, &op, update));
    }
}

#[test]
fn rmsprop() {
    for (i, (momentum, weight_decay)) in [(0.0, 0.0), (0.9, 0.1)].into_iter().enumerate() {
        let op = rmsprop::RmsProp { lr: 0.01, alpha: 0.9, eps: 1e-3, momentum, weight_decay };
        let kept = if momentum == 0.0 { 1 } else { 2 };
        check_updates(&format!("{op:?}"), kept, CLIPS[i % 2], |executor, update| rmsprop::step(executor, &op, update));
    }
}

#[test]
fn lion() {
    for (clip, weight_decay) in CLIPS.into_iter().zip([0.0, 0.1]) {
        let op = lion::Lion { lr: 0.01, betas: [0.9, 0.99], weight_decay };
        check_updates(&format!("{op:?}"), 1, clip, |executor, update| lion::step(executor, &op, update));
    }
}

/// Matrices that are wide, tall and square, of sizes that tiles do not divide.
#[test]
fn muon() {
    let executors = cpu_executors();
    for (i, (rows, columns)) in
        [(1, 1), (1, 9), (19, 45), (45, 19), (33, 33), (8, 144), (130, 7), (70, 83)].into_iter().enumerate()
    {
        let (nesterov, match_adamw, clip) = (i % 3 > 0, i % 2 > 0, CLIPS[i % 2]);
        let op = muon::Muon { lr: 0.05, momentum: 0.9, nesterov, weight_decay: 0.1, match_adamw };
        let mut random = Random::new(i as u64);
        let (len, params) = (rows * columns, random.values(rows * columns));
        let gradients: Vec<Vec<f64>> = (0..3).map(|_| random.values(len)).collect();
        compare(&(op, rows, columns), &executors, |executor| {
            let (mut params, mut velocity) =
                (Parameters::new(executor, &params), Parameters::new(executor, &vec![0.0; len]));
            for (gradient, step) in gradients.iter().zip(1..) {
                let gradient = Parameters::new(executor, gradient);
                let (kept, non_finite) = (vec![velocity.view_mut()], &mut note(executor));
                let (params, grads) = (params.view_mut(), gradient.view());
                let update = Update { params, grads, kept, clip, step, non_finite };
                muon::step(executor, &op, rows, update).unwrap();
            }
            vec![("parameters".to_string(), params.read()), ("velocity".to_string(), velocity.read())]
        });
    }
}

#[test]
fn sum_of_squares() {
    // From a part of a block to more of them than are added up at a time.
    for len in [0, 1, 17, 16 * 1024, 40_003, 256 * 16 * 1024 + 7] {
        let values = Random::new(len as u64).values(len);
        compare(&len, &cpu_executors(), |executor| {
            let values = Parameters::new(executor, &values);
            vec![("sum".to_string(), vec![sum_of_squares::sum_of_squares(executor, &values.view()).unwrap()])]
        });
    }
}

#[test]
fn accumulate() {
    for (seed, case) in shapes::relus().iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let (target, source) = (random.values(case.0), random.values(case.0));
        compare(case, &cpu_executors(), |executor| {
            let dtype = executor.parameter_dtype();
            let sum = |target: &[f64], keep| {
                let (mut target, source) = (buffer(executor, dtype, target), buffer(executor, dtype, &source));
                accumulate::accumulate(executor, &mut target, keep, &source, 0.5).unwrap();
                elements(&target)
            };
            let unread = vec![f64::NAN; case.0];
            vec![("sum".to_string(), sum(&target, 0.25)), ("first".to_string(), sum(&unread, 0.0))]
        });
    }
}
