//! What ops ask of a GPU, written down by one on paper.

use crate::support::{buffer, note, Parameters, Random};
use resnet_ops::{sgd, update::Clip, Executor, Precision};

#[test]
fn what_has_no_elements_launches_nothing() {
    let (executor, paper) = Executor::on_paper_for_tests(Precision::Fp32);
    let mut params = Parameters::new(&executor, &[]);
    let (grads, mut non_finite) = (Parameters::new(&executor, &[]), note(&executor));
    let op = sgd::Sgd { lr: 0.1, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };
    let (params, grads, non_finite) = (params.view_mut(), grads.view(), &mut non_finite);
    sgd::step(&executor, &op, sgd::Step { params, grads, velocity: None, clip: Clip::default(), non_finite }).unwrap();
    let launches = paper.take().launches;
    assert!(launches.is_empty(), "{launches:?}");
    let values = Random::new(1).values(3);
    let _ = buffer(&executor, executor.dtype(), &values);
    assert_eq!(paper.take().uploads, [12]);
}
