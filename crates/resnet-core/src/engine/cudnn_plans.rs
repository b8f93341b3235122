//! Whether cuDNN has a plan for every convolution that the lists of whole networks ask of a GPU.

use super::{BatchExecution, BoundNetwork, Engine, Targets};
use crate::cancel::Cancel;
use crate::model::googlenet::googlenet;
use crate::model::graph::trace_channels;
use crate::model::params::Params;
use crate::model::resnet::resnet;
use crate::model::zoo::{cifar, names, preset};
use crate::model::Layer;
use crate::plan::{Gradients, Mode};
use crate::tell::tell;
use crate::tensor::Images;
use crate::weights::Weights;
use resnet_ops::{plan_for_tests, Asked, Executor, Precision};
use std::collections::HashSet;

/// What a pass over a batch of images asks for, backward and all if the mode trains.
fn asked(network: &Layer, shape: [usize; 4], mode: &Mode) -> Asked {
    let (executor, paper) = Executor::on_paper_for_tests(Precision::Bf16);
    let params = Params::of(&trace_channels(network, shape[1]).unwrap()).unwrap();
    let running: usize = params.running.iter().map(|statistic| statistic.range.len()).sum();
    let mut weights = Weights::new(&executor, &vec![0.0; params.parameters_len()], &vec![0.0; running]).unwrap();
    let mut engine = Engine::new(executor);
    let cancel = Cancel::default();
    let parts = BoundNetwork { network, params: &params, weights: &mut weights, dropout_seed: 0, cancel: &cancel };
    let mut execution = engine.prepare(parts, shape, mode).unwrap();
    paper.take();
    let data = vec![0f32; shape.iter().product()];
    execution.forward(Images { data: &data, shape }.into()).unwrap();
    if mode.gradients != Gradients::None {
        execution.loss(Targets::Classes(vec![0; shape[0]][..].into())).unwrap();
        execution.backward().unwrap();
        execution.update_statistics().unwrap();
    }
    paper.take()
}

#[test]
fn every_convolution_of_every_network_has_plans() {
    let mut convolutions = HashSet::new();
    let mut add = |network: &Layer, shape, mode: &Mode| convolutions.extend(asked(network, shape, mode).convolutions);
    for name in names() {
        let network = resnet(&preset(name).unwrap()).unwrap();
        add(&network, [128, 1, 96, 96], &Mode::TRAIN);
        add(&network, [32, 3, 224, 224], &Mode::TRAIN);
        add(&network, [1, 3, 224, 224], &Mode::EVAL);
    }
    for (depth, pre_activation) in [(20, false), (164, true)] {
        add(&resnet(&cifar(depth, None, pre_activation).unwrap()).unwrap(), [128, 3, 32, 32], &Mode::TRAIN);
    }
    add(&googlenet(10).unwrap(), [128, 1, 96, 96], &Mode::TRAIN);
    assert!(convolutions.len() > 300, "{}", convolutions.len());
    let Some(rows) = plan_for_tests(&convolutions).unwrap() else { return };
    assert!(!rows.is_empty());
    for planned in rows {
        tell(|| format!("{planned:?}"));
        assert!(planned.without.is_empty() && planned.planned == convolutions.len(), "{planned:?}");
    }
}
