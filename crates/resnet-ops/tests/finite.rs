//! NaN and infinity, in every backend: which logit is the largest and what the loss is, and what updates note of what they write.

use crate::support::normalisation::Normalisation;
use crate::support::{activation, bf16_executor, elements, every_executor, garbage, note, Parameters};
use resnet_ops::batch_norm::{self, BatchNorm};
use resnet_ops::update::{Clip, Update};
use resnet_ops::{adam, cross_entropy, lion, muon, rmsprop, sgd, Buffer, DType, Executor};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Loss and hits of one sample, alone and as the last of a batch, with and without its gradient.
fn evaluate(executor: &Executor, logits: &[f64], label: u32) -> (f64, bool) {
    let classes = logits.len();
    let alone = activation(executor, [1, classes, 1, 1], logits).unwrap();
    let mut gradient = garbage(executor, executor.dtype(), executor.activation_len(1, classes, 1, 1));
    let loss = cross_entropy::evaluate(executor, classes, &alone, [label][..].into(), None).unwrap();
    let both = cross_entropy::evaluate(executor, classes, &alone, [label][..].into(), Some(&mut gradient)).unwrap();
    assert_eq!(loss.correct, both.correct);
    // Behind a sample that is right.
    let batch = [(0..classes).map(|class| f64::from(u8::from(class == 0))).collect(), logits.to_vec()].concat();
    let batch = activation(executor, [2, classes, 1, 1], &batch).unwrap();
    let second = cross_entropy::evaluate(executor, classes, &batch, [0, label][..].into(), None).unwrap();
    assert_eq!(second.correct, loss.correct + 1);
    assert_eq!(second.loss_sum.is_finite(), loss.loss_sum.is_finite());
    (loss.loss_sum, loss.correct == 1)
}

/// The logits, the class of which they are right if any, and the losses by class: finite ones as 0.
type Row = (&'static [f64], Option<usize>, &'static [f64]);

/// The same rows are in `__test__/finite.test.ts`.
const ROWS: &[Row] = &[
    (&[1.0, 3.0, 2.0], Some(1), &[0.0, 0.0, 0.0]),
    (&[2.0, 3.0, 3.0], Some(1), &[0.0, 0.0, 0.0]),
    (&[-0.0, 0.0, -1.0], Some(0), &[0.0, 0.0, 0.0]),
    (&[NAN, 1.0, 2.0], None, &[NAN, NAN, NAN]),
    (&[1.0, 2.0, NAN], None, &[NAN, NAN, NAN]),
    (&[NAN, NAN, NAN], None, &[NAN, NAN, NAN]),
    (&[INF, NAN, 0.0], None, &[NAN, NAN, NAN]),
    (&[1.0, INF, 2.0], Some(1), &[NAN, NAN, NAN]),
    (&[1.0, INF, INF], Some(1), &[NAN, NAN, NAN]),
    (&[-INF, 1.0, 2.0], Some(2), &[INF, 0.0, 0.0]),
    (&[-INF, -INF, -INF], Some(0), &[NAN, NAN, NAN]),
];

fn executors() -> impl Iterator<Item = Executor> {
    every_executor().into_iter().chain(bf16_executor())
}

#[test]
fn one_rule_says_which_logit_is_the_largest() {
    for executor in executors() {
        for (logits, right, losses) in ROWS {
            for (class, &expected) in losses.iter().enumerate() {
                let (loss, correct) = evaluate(&executor, logits, class as u32);
                assert_eq!(correct, *right == Some(class), "{logits:?}, class {class}");
                let found = if loss.is_finite() { 0.0 } else { loss };
                assert!(found == expected || found.is_nan() && expected.is_nan(), "{logits:?}, {class}: {loss}");
            }
        }
    }
}

#[test]
fn it_holds_among_many_classes() {
    // More than the lanes of a vector and the threads of a GPU's block.
    let plain: Vec<f64> = (0..150).map(|i| f64::from(i * 7 % 32)).collect();
    for executor in executors() {
        let right = |logits: &[f64], class: u32| evaluate(&executor, logits, class).1;
        let first = plain.iter().position(|&logit| logit == 31.0).unwrap() as u32;
        assert!(right(&plain, first) && !right(&plain, first + 32));
        for place in [0, 15, 63, 64, 130, 149] {
            let with = |value| plain.iter().enumerate().map(|(i, &x)| if i == place { value } else { x }).collect();
            let (nan, infinite): (Vec<f64>, Vec<f64>) = (with(NAN), with(INF));
            assert!(![first, place as u32, 0].into_iter().any(|class| right(&nan, class)), "NaN at {place}");
            assert!(right(&infinite, place as u32) && !right(&infinite, first), "infinity at {place}");
        }
    }
}

/// Updates parameters, and gives what is in the note then.
fn step(executor: &Executor, op: &sgd::Sgd, values: [&[f64]; 3], non_finite: &mut Buffer) -> f64 {
    let [mut params, grads, mut velocity] = values.map(|values| Parameters::new(executor, values));
    let velocity = (op.momentum > 0.0).then(|| velocity.view_mut());
    let call =
        sgd::Step { params: params.view_mut(), grads: grads.view(), velocity, clip: Clip::default(), non_finite };
    sgd::step(executor, op, call).unwrap();
    elements(non_finite)[0]
}

#[test]
fn an_update_notes_parameters_that_it_makes_nan_or_infinite() {
    // Several chunks, of which the last is short, and lengths that fill no vector.
    for len in [1, 17, 40_003] {
        let fine: Vec<f64> = (0..len).map(|i| (i % 13) as f64 - 6.0).collect();
        let with = |place: usize, value: f64| {
            let mut values = fine.clone();
            values[place] = value;
            values
        };
        for executor in executors() {
            for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
                let plain = sgd::Sgd { lr: 0.1, momentum, dampening: 0.0, nesterov, weight_decay: 0.0 };
                let noted = |op: &sgd::Sgd, params: &[f64], grads: &[f64], velocity: &[f64]| {
                    step(&executor, op, [params, grads, velocity], &mut note(&executor)) == 1.0
                };
                assert!(!noted(&plain, &fine, &fine, &fine));
                assert!(!noted(&plain, &with(0, 3e38), &fine, &fine), "large ones are finite");
                for (place, value) in [(0, NAN), (len / 2, -INF), (len - 1, INF), (len - 1, NAN)] {
                    let (what, bad) = (format!("{value} at {place} of {len}, {plain:?}"), with(place, value));
                    assert!(noted(&plain, &fine, &bad, &fine), "gradient {what}");
                    assert!(noted(&plain, &bad, &fine, &fine), "parameter {what}");
                    assert!(noted(&sgd::Sgd { lr: 0.0, ..plain }, &fine, &bad, &fine), "gradient {what}, rate 0");
                    assert!(momentum == 0.0 || noted(&plain, &fine, &fine, &bad), "velocity {what}");
                }
                if executor.parameter_dtype() == DType::F32 {
                    let last = with(len - 1, 3e38);
                    assert!(noted(&sgd::Sgd { lr: 10.0, ..plain }, &fine, &last, &fine), "a parameter beyond f32");
                    assert!(noted(&sgd::Sgd { weight_decay: 1e38, ..plain }, &last, &fine, &fine), "decay beyond f32");
                    assert!(noted(&sgd::Sgd { lr: 1e300, ..plain }, &fine, &fine, &fine), "a rate beyond f32");
                }
            }
            let plain = sgd::Sgd { lr: 0.1, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
            let mut kept = note(&executor);
            let steps =
                [&fine, &with(0, NAN), &fine].map(|grads| step(&executor, &plain, [&fine, grads, &fine], &mut kept));
            assert_eq!(steps, [0.0, 1.0, 1.0], "what is noted stays");
        }
    }
}

/// One update by each op with buffers that it keeps, of values that go on; whether it notes that they are not finite.
#[test]
fn other_updates_note_what_becomes_nan_or_infinite() {
    type Rule = fn(&Executor, Update) -> resnet_ops::Result<()>;
    let ops: [(&str, usize, Rule); 5] = [
        ("adam", 2, |executor, update| {
            let op = adam::Adam { lr: 0.1, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, decoupled: true };
            adam::step(executor, &op, update)
        }),
        ("rmsprop", 1, |executor, update| {
            let op = rmsprop::RmsProp { lr: 0.1, alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay: 0.0 };
            rmsprop::step(executor, &op, update)
        }),
        ("rmsprop with momentum", 2, |executor, update| {
            let op = rmsprop::RmsProp { lr: 0.1, alpha: 0.99, eps: 1e-8, momentum: 0.9, weight_decay: 0.0 };
            rmsprop::step(executor, &op, update)
        }),
        ("lion", 1, |executor, update| {
            lion::step(executor, &lion::Lion { lr: 0.1, betas: [0.9, 0.99], weight_decay: 0.1 }, update)
        }),
        ("muon", 1, |executor, update| {
            let op = muon::Muon { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.1, match_adamw: false };
            muon::step(executor, &op, 7, update)
        }),
    ];
    let len = 7 * 5_717;
    for executor in executors() {
        for (name, kept, rule) in ops {
            let noted = |bad: Option<(usize, f64)>| {
                let values = |buffer: usize| {
                    let mut values = vec![0.5; len];
                    match bad {
                        Some((place, value)) if place == buffer => values[len - 1] = value,
                        Some(_) | None => {}
                    }
                    Parameters::new(&executor, &values)
                };
                let (mut params, grads, mut non_finite) = (values(0), values(1), note(&executor));
                let mut buffers: Vec<_> = (0..kept).map(|i| values(2 + i)).collect();
                let kept = buffers.iter_mut().map(Parameters::view_mut).collect();
                let (params, clip) = (params.view_mut(), Clip::default());
                let update = Update { params, grads: grads.view(), kept, clip, step: 3, non_finite: &mut non_finite };
                rule(&executor, update).unwrap();
                elements(&non_finite)[0] == 1.0
            };
            assert!(!noted(None), "{name}");
            for place in 0..2 + kept {
                for value in [NAN, INF] {
                    assert!(noted(Some((place, value))), "{name}: {value} at {place}");
                }
            }
            // Squares beyond f32 would hold a parameter still for good.
            let squares_count = executor.parameter_dtype() == DType::F32 && !["lion", "muon"].contains(&name);
            assert_eq!(noted(Some((1, 1e30))), squares_count, "{name}: a gradient of 1e30");
        }
    }
}

#[test]
fn running_statistics_beyond_f32_are_noted() {
    let op = BatchNorm { channels: 19, size: [2, 2], eps: 1e-5, momentum: 0.1, relu: false };
    let case = Normalisation::new(2, op, false);
    for executor in executors() {
        let noted = |pixel: f64| {
            let mut x: Vec<f64> = (0..2 * 19 * 4).map(|i| (i % 7) as f64).collect();
            // Of the last channel, in the second image.
            x[(19 + 18) * 4] = pixel;
            let (_, saved) = case.train(&executor, &[vec![1.0; 38], x]).unwrap();
            let mut running = Parameters::new(&executor, &[vec![0.0; 19], vec![1.0; 19]].concat());
            let (view, mut non_finite) = (running.view_mut(), note(&executor));
            let call = batch_norm::UpdateRunning {
                n: 2,
                saved: &saved,
                elided_bias: None,
                running: view,
                non_finite: &mut non_finite,
            };
            batch_norm::update_running(&executor, &case.op, call).unwrap();
            let finite = running.read().iter().all(|value| value.is_finite());
            let noted = elements(&non_finite)[0];
            assert_eq!(noted, f64::from(u8::from(!finite)), "{pixel:e}");
            noted
        };
        assert_eq!(noted(1e15), 0.0);
        assert_eq!(noted(NAN), 1.0);
        assert_eq!(noted(INF), 1.0);
        if executor.parameter_dtype() == DType::F32 {
            assert_eq!(noted(1e20), 1.0);
        }
    }
}
