//! Training with each optimiser, against PyTorch's losses and from one end to the other. `tools/optimizer_fixtures.py` wrote the fixture.

use crate::hashed;
use resnet_core::cancel::Cancel;
use resnet_core::model::graph::trace_channels;
use resnet_core::model::layer::{Child, Init, Layer};
use resnet_core::model::params::{Parameter, Params};
use resnet_core::session::{Images, LoadOptions};
use resnet_core::state_dict::{write, Values};
use resnet_core::train::{Trainer, UpdateConfig};
use resnet_core::Session;
use resnet_ops::{Executor, Precision};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

pub const SHAPE: [usize; 4] = [8, 2, 8, 8];

fn network() -> Layer {
    let conv = |out_channels, stride| Layer::Conv2d {
        out_channels,
        kernel: [3, 3],
        stride: [stride, stride],
        padding: [1, 1],
        groups: 1,
        bias: true,
        init: Init::default(),
    };
    let head = Layer::Linear { out_features: 3, bias: true, init: Init::default() };
    let layers = [conv(4, 2), Layer::Silu, conv(6, 1), Layer::Silu, Layer::GlobalAvgPool2d, head];
    Layer::sequential(layers.into_iter().enumerate().map(|(i, layer)| Child::new(i.to_string(), layer)).collect())
}

fn session(executor: Executor) -> Session {
    let params = Params::of(&trace_channels(&network(), SHAPE[1]).unwrap()).unwrap();
    let drawn = |parameter: &Parameter| {
        let fans = (parameter.fan_in + parameter.fan_out) as f64;
        let scale = if parameter.name.ends_with("weight") { (6.0 / fans).sqrt() } else { 0.1 };
        let values = hashed::unit(&parameter.name).take(parameter.range.len());
        values.map(|unit| (scale * (2.0 * unit - 1.0)) as f32).collect::<Vec<_>>()
    };
    let parameters: Vec<f32> = params.parameters.iter().flat_map(drawn).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashed.safetensors");
    let values = Values { params: &params, parameters: &parameters, running: &[], updates: 0, beside: &[] };
    write(&path, &values, BTreeMap::new(), &Cancel::default()).unwrap();
    let mut session = Session::on(network(), executor, 0);
    session.load_weights(&path, &LoadOptions::default()).unwrap();
    session
}

/// The images, from -1 to 1, and the labels, of three classes, of a training step.
pub fn batch(step: usize) -> (Vec<f32>, Vec<u32>) {
    let pixels = hashed::unit(&format!("images.{step}")).take(SHAPE.iter().product());
    let labels = hashed::unit(&format!("labels.{step}")).take(SHAPE[0]);
    (pixels.map(|unit| (2.0 * unit - 1.0) as f32).collect(), labels.map(|unit| (3.0 * unit) as u32).collect())
}

fn losses(executor: Executor, config: UpdateConfig, steps: usize) -> Vec<f64> {
    let (mut session, mut trainer) = (session(executor), Trainer::new(config));
    let step = |step| {
        let (images, labels) = batch(step);
        trainer.step(&mut session, Images { data: &images, shape: SHAPE }, &labels).unwrap().loss()
    };
    (0..steps).map(step).collect()
}

#[test]
fn a_network_trains_as_pytorch_s_does_with_every_optimiser() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/optimizers.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, tensor) in file.tensors() {
        let Some(json) = name.strip_prefix("network ") else { continue };
        let expected: Vec<f64> =
            tensor.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let config = UpdateConfig::from_json(json).unwrap();
        let mut check = |executor: Executor, tolerance: f64| {
            for (step, (found, expected)) in
                losses(executor, config.clone(), expected.len()).iter().zip(&expected).enumerate()
            {
                let apart = (found / expected - 1.0).abs();
                assert!(apart < tolerance, "{json}, step {step}: {found} for {expected}, {apart:e} apart");
            }
            compared += 1;
        };
        check(Executor::ReferenceF64, 1e-9);
        check(Executor::cpu(2).unwrap(), 1e-5);
        if let Some(executor) = Executor::cuda_for_tests(Precision::Fp32) {
            check(executor, 1e-5);
        }
    }
    assert!(compared >= 24);
}

/// By what V8 is told a model is collected in time.
#[test]
fn a_session_s_memory_has_what_its_trainers_keep() {
    let mut session = session(Executor::cpu(1).unwrap());
    let (images, labels) = batch(0);
    let mut step = |trainer: &mut Trainer| {
        trainer.step(&mut session, Images { data: &images, shape: SHAPE }, &labels).unwrap();
        session.bytes()
    };
    let trainer = |json: &str| Trainer::new(UpdateConfig::from_json(json).unwrap());
    let mut plain = trainer(r#"{"optimizer":{"type":"sgd","lr":0.1,"momentum":0,"nesterov":false,"weight_decay":0}}"#);
    let adam = r#"{"type":"adam","lr":0.1,"betas":[0.9,0.99],"eps":1e-8,"weight_decay":0}"#;
    let [mut first, mut second] = [1, 3].map(|n| trainer(&format!(r#"{{"optimizer":{adam},"accumulate":{n}}}"#)));
    let parameters = 4 * Params::of(&trace_channels(&network(), SHAPE[1]).unwrap()).unwrap().parameters_len();
    let without = step(&mut plain);
    assert_eq!(step(&mut first), without + 2 * parameters);
    assert_eq!(step(&mut second), without + 5 * parameters);
    assert_eq!(step(&mut second), without + 5 * parameters);
    drop(first);
    assert_eq!(step(&mut plain), without + 3 * parameters);
    drop(second);
    assert_eq!(step(&mut plain), without);
}
