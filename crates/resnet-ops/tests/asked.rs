//! What a GPU is asked for, written down by one on paper.

use crate::support::{buffer, note, shapes, tell, Parameters, Random};
use resnet_ops::{plan_for_tests, sgd, update::Clip, Executor, Precision};
use std::collections::HashSet;

#[test]
fn every_convolution_has_plans() {
    let (executor, record) = Executor::on_paper_for_tests(Precision::Bf16);
    let mut asked = HashSet::new();
    for case in shapes::convolutions().iter().chain(&shapes::plain_convolutions()) {
        case.ask(&executor).unwrap();
        asked.extend(record.take().convolutions);
    }
    assert!(asked.len() > 100, "{}", asked.len());
    for planned in plan_for_tests(&asked).unwrap().into_iter().flatten() {
        tell(|| format!("{planned:?}"));
        assert!(planned.without.is_empty(), "{planned:?}");
    }
}

#[test]
fn what_has_no_elements_launches_nothing() {
    let (executor, record) = Executor::on_paper_for_tests(Precision::Fp32);
    let mut params = Parameters::new(&executor, &[]);
    let (grads, mut non_finite) = (Parameters::new(&executor, &[]), note(&executor));
    let op = sgd::Sgd { lr: 0.1, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
    let (params, grads, non_finite) = (params.view_mut(), grads.view(), &mut non_finite);
    sgd::step(&executor, &op, sgd::Step { params, grads, velocity: None, clip: Clip::default(), non_finite }).unwrap();
    let launches = record.take().launches;
    assert!(launches.is_empty(), "{launches:?}");
    let values = Random::new(1).values(3);
    let _ = buffer(&executor, executor.dtype(), &values);
    assert_eq!(record.take().uploads, [12]);
}
