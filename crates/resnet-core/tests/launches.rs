//! What a training step asks of a GPU, written down by one on paper.

use resnet_core::model::resnet::resnet;
use resnet_core::model::zoo::preset;
use resnet_core::session::Images;
use resnet_core::train::{Optimizer, Sgd, Trainer};
use resnet_core::Session;
use resnet_ops::{Executor, Precision};
use std::collections::BTreeMap;

/// Kernels and convolutions of a step of ResNet-18. What needs fewer lowers it.
const MOST: usize = 148;

#[test]
fn a_step_of_resnet18_launches_no_more_than_it_did() {
    let (executor, paper) = Executor::on_paper_for_tests(Precision::Bf16);
    let mut session = Session::on(resnet(&preset("resnet18").unwrap()).unwrap(), executor, 0);
    let mut trainer = Trainer::new(Optimizer::Sgd(Sgd {
        lr: 0.01,
        momentum: 0.9,
        dampening: 0.0,
        nesterov: true,
        weight_decay: 1e-4,
    }));
    let shape = [128, 1, 96, 96];
    let (data, labels) = (vec![0f32; shape.iter().product()], vec![0; shape[0]]);
    let mut step = || {
        paper.take();
        trainer.step(&mut session, Images { data: &data, shape }, &labels).unwrap();
        paper.take()
    };
    // In the first ones there is more to do: captures are tried, which paper refuses.
    let asked = (0..5).map(|_| step()).last().unwrap();
    let mut numbers = BTreeMap::<String, usize>::new();
    let convolutions = asked.convolutions.iter().map(|convolution| format!("cuDNN, {:?}", convolution.pass));
    for name in asked.launches.into_iter().map(|(name, _)| name).chain(convolutions) {
        *numbers.entry(name).or_default() += 1;
    }
    let table: String = numbers.iter().map(|(name, number)| format!("{number:5} {name}\n")).collect();
    let all: usize = numbers.values().sum();
    assert!(all > 0 && all <= MOST, "expected at most {MOST}, got {all}:\n{table}");
}
