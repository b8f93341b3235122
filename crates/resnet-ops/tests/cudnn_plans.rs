//! Whether cuDNN has a plan for every convolution that ops are tried on.

use crate::support::{shapes, tell};
use resnet_ops::{plan_for_tests, Executor, Precision};
use std::collections::HashSet;

#[test]
fn every_convolution_has_plans() {
    let (executor, paper) = Executor::on_paper_for_tests(Precision::Bf16);
    let mut asked = HashSet::new();
    for case in shapes::convolutions().iter().chain(&shapes::plain_convolutions()) {
        case.ask(&executor).unwrap();
        asked.extend(paper.take().convolutions);
    }
    assert!(asked.len() > 100, "{}", asked.len());
    let Some(rows) = plan_for_tests(&asked).unwrap() else { return };
    assert!(!rows.is_empty());
    for planned in rows {
        tell(|| format!("{planned:?}"));
        assert!(planned.without.is_empty() && planned.planned == asked.len(), "{planned:?}");
    }
}
