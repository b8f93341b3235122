//! Training of a part of a network: what is frozen stays, costs nothing, and leaves the rest as it was; norms on running statistics. And of
//! one of which stochastic depth leaves out a part in each step.
//! `tools/frozen_fixtures.py` wrote the fixture.

use crate::hashed;
use crate::optimizers::{batch, SHAPE};
use resnet_core::cancel::Cancel;
use resnet_core::model::graph::trace_channels;
use resnet_core::model::layer::{Child, Init, Layer};
use resnet_core::model::params::{Parameter, Params, Role};
use resnet_core::session::{Images, LoadOptions, Named};
use resnet_core::state_dict::{write, Values};
use resnet_core::train::{Trainer, UpdateConfig};
use resnet_core::{Code, Session};
use resnet_ops::{Algorithm, Executor, Isa, Precision};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

fn conv(out_channels: usize, kernel: usize, stride: usize) -> Layer {
    Layer::Conv2d {
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        groups: 1,
        bias: true,
        init: Init::default(),
    }
}

fn norm() -> Layer {
    Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init: false }
}

fn numbered(layers: impl IntoIterator<Item = Layer>) -> Vec<Child> {
    layers.into_iter().enumerate().map(|(i, layer)| Child::new(i.to_string(), layer)).collect()
}

fn head() -> [Layer; 2] {
    [Layer::GlobalAvgPool2d, Layer::Linear { out_features: 3, bias: true, init: Init::default() }]
}

pub fn network() -> Layer {
    let body = [(4, 2), (6, 1), (6, 1)].into_iter().flat_map(|(c, stride)| [conv(c, 3, stride), norm(), Layer::Relu]);
    Layer::sequential(numbered(body.chain(head())))
}

/// The other network of the fixture, whose blocks stochastic depth leaves out.
pub fn stochastic_network() -> Layer {
    let block = |p, shortcut: Option<[Layer; 2]>| Layer::Residual {
        preactivation: None,
        body: Box::new(Layer::sequential(numbered([conv(6, 3, 1), norm()]))),
        shortcut: shortcut.map(|layers| Box::new(Layer::sequential(numbered(layers)))),
        relu: true,
        stochastic_depth: p,
    };
    let blocks = [block(0.3, Some([conv(6, 1, 1), norm()])), block(0.5, None)];
    let [pool, linear] = head();
    let body = numbered([conv(4, 3, 2), norm(), Layer::Relu].into_iter().chain(blocks));
    let end = vec![Child::new("pool", pool), Child::new("10", linear)];
    Layer::sequential([body, end].concat())
}

/// Weights as `tools/frozen_fixtures.py` draws them.
fn drawn(parameter: &Parameter) -> Vec<f32> {
    let of = |unit: f64| match parameter.role {
        Role::Weight => (6.0 / (parameter.fan_in + parameter.fan_out) as f64).sqrt() * (2.0 * unit - 1.0),
        Role::Bias | Role::NormBias => 0.1 * (2.0 * unit - 1.0),
        Role::NormWeight => 1.0 + 0.3 * (2.0 * unit - 1.0),
        Role::RunningMean => 0.2 * (2.0 * unit - 1.0),
        Role::RunningVar => 0.5 + unit,
    };
    hashed::unit(&parameter.name).take(parameter.range.len()).map(|unit| of(unit) as f32).collect()
}

fn load(session: &mut Session) {
    let params = Params::of(&trace_channels(session.network(), SHAPE[1]).unwrap()).unwrap();
    let all = |list: &[Parameter]| list.iter().flat_map(drawn).collect::<Vec<f32>>();
    let (parameters, running) = (all(&params.parameters), all(&params.running));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashed.safetensors");
    let values = Values { params: &params, parameters: &parameters, running: &running, updates: 0, beside: &[] };
    write(&path, &values, BTreeMap::new(), &Cancel::default()).unwrap();
    session.load_weights(&path, &LoadOptions::default()).unwrap();
}

fn session(executor: Executor) -> Session {
    session_of(network(), executor)
}

pub fn session_of(network: Layer, executor: Executor) -> Session {
    let mut session = Session::on(network, executor, 0);
    load(&mut session);
    session
}

fn step(session: &mut Session, trainer: &mut Trainer, number: usize) -> f64 {
    let (images, labels) = batch(number);
    trainer.step(session, Images { data: &images, shape: SHAPE }, &labels).unwrap().loss()
}

fn config(groups: &str, accumulate: usize) -> UpdateConfig {
    let sgd = r#"{"type":"sgd","lr":0.05,"momentum":0.9,"nesterov":false,"weight_decay":0.01}"#;
    let json = format!(r#"{{"optimizer":{sgd},"parameters":{{"groups":{groups}}},"accumulate":{accumulate}}}"#);
    UpdateConfig::from_json(&json).unwrap()
}

fn flat(named: Named<f64>) -> Vec<f64> {
    named.into_iter().flat_map(|(_, tensor)| tensor.data).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// The plain definitions in f64, every instruction set, and the GPU's kernels, as often as they are wanted, with the distance that they may have.
pub fn backends() -> Vec<(Box<dyn Fn() -> Executor>, f64)> {
    let mut backends: Vec<(Box<dyn Fn() -> Executor>, f64)> = vec![(Box::new(|| Executor::ReferenceF64), 1e-9)];
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        for isa in Isa::available() {
            let on = move || Executor::cpu_with(2, isa).unwrap().with_convolution(algorithm);
            backends.push((Box::new(on), 1e-4));
        }
    }
    let gpu = || Executor::cuda_for_tests(Precision::Fp32);
    if gpu().is_some() {
        backends.push((Box::new(move || gpu().unwrap()), 1e-4));
    }
    backends
}

/// Makes the steps of the fixture's cases whose names begin so.
fn trains_as_pytorch_does(network: &Layer, prefix: &str, count: usize, most: f64) {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/frozen.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f64> {
        file.tensor(name).unwrap().data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    };
    let names = file.names();
    let case = |name: &str| name.strip_suffix(" losses")?.strip_prefix(prefix).map(str::to_owned);
    let cases: Vec<String> = names.iter().filter_map(|name| case(name)).filter(|json| json.starts_with('{')).collect();
    assert_eq!(cases.len(), count);
    for json in cases {
        let (losses, state) = (values(&format!("{prefix}{json} losses")), values(&format!("{prefix}{json} state")));
        for (executor, tolerance) in backends() {
            let tolerance = tolerance.min(most);
            let mut session = session_of(network.clone(), executor());
            let mut trainer = Trainer::new(UpdateConfig::from_json(&json).unwrap());
            let found: Vec<f64> = (0..losses.len()).map(|number| step(&mut session, &mut trainer, number)).collect();
            let apart = distance(&found, &losses);
            assert!(apart < tolerance, "{json}: losses {apart:e} apart");
            let apart = distance(&flat(session.state_dict().unwrap()), &state);
            assert!(apart < tolerance, "{json}: weights and statistics {apart:e} apart");
        }
    }
}

#[test]
fn a_part_is_trained_as_pytorch_trains_it() {
    trains_as_pytorch_does(&network(), "", 6, f64::INFINITY);
}

#[test]
fn blocks_are_left_out_as_torchvision_leaves_them_out() {
    trains_as_pytorch_does(&stochastic_network(), "stochastic depth ", 2, 1e-5);
}

/// Gradients by name after a step of some images.
fn gradients(executor: Executor, groups: &str) -> Named<f64> {
    let (mut session, mut trainer) = (session(executor), Trainer::new(config(groups, 1)));
    step(&mut session, &mut trainer, 0);
    trainer.gradients(&session).unwrap()
}

#[test]
fn gradients_of_the_rest_are_the_same_to_the_bit() {
    // In training mode throughout: the forward pass is that of a training of all.
    let frozen = |layers: &str| format!(r#"[{{"layers":[{layers}],"frozen":true,"frozen_norms":false}}]"#);
    for (executor, _) in backends() {
        let on = |groups: &str| gradients(executor(), groups);
        let all = on("[]");
        assert_eq!(all.len(), 14);
        for layers in [r#""0","1""#, r#""3","4""#, r#""6""#, r#""0","1","3","4","6","7""#, r#""10""#] {
            let is_frozen = |name: &str| layers.contains(&format!("\"{}\"", name.split('.').next().unwrap()));
            let expected: Vec<_> = all.iter().filter(|(name, _)| !is_frozen(name)).cloned().collect();
            assert!(expected.len() < all.len());
            assert_eq!(on(&frozen(layers)), expected, "{layers}");
        }
    }
}

#[test]
fn batches_accumulated_on_frozen_norms_are_one_large_batch() {
    let groups = r#"[{"roles":["norm"],"frozen_norms":true}]"#;
    let whole: Vec<_> = (0..4).map(batch).collect();
    let images: Vec<f32> = whole.iter().flat_map(|(images, _)| images.clone()).collect();
    let labels: Vec<u32> = whole.iter().flat_map(|(_, labels)| labels.clone()).collect();
    let shape = [4 * SHAPE[0], SHAPE[1], SHAPE[2], SHAPE[3]];
    for (executor, _) in backends() {
        let tolerance = if executor().is_reference() { 1e-13 } else { 1e-6 };
        let (mut parts, mut at_once) = (session(executor()), session(executor()));
        let (mut trainer, mut other) = (Trainer::new(config(groups, 4)), Trainer::new(config(groups, 1)));
        for _ in 0..3 {
            for number in 0..4 {
                step(&mut parts, &mut trainer, number);
            }
            other.step(&mut at_once, Images { data: &images, shape }, &labels).unwrap();
        }
        let apart = distance(&flat(parts.state_dict().unwrap()), &flat(at_once.state_dict().unwrap()));
        assert!(apart < tolerance, "{apart:e} apart");
    }
}

#[test]
fn a_single_value_for_each_channel_will_do_where_norms_are_frozen() {
    let train = |groups: &str| {
        let mut session = session(Executor::cpu(2).unwrap());
        let (images, _) = batch(0);
        let images = Images { data: &images[..2], shape: [1, 2, 1, 1] };
        Trainer::new(config(groups, 1)).step(&mut session, images, &[1]).map(|metrics| metrics.loss())
    };
    assert_eq!(train("[]").unwrap_err().code, Code::Shape);
    assert_eq!(train(r#"[{"layers":["1","4"],"frozen":true}]"#).unwrap_err().code, Code::Shape);
    assert!(train(r#"[{"roles":["norm"],"frozen":true}]"#).unwrap().is_finite());
}

/// What is packed of frozen weights is kept from step to step, and must not outlive them.
#[test]
fn frozen_weights_that_change_otherwise_are_seen() {
    let run = |executor: Executor| {
        let mut session = session(executor);
        let of = |groups| Trainer::new(config(groups, 1));
        let mut trainers = [
            of(r#"[{"layers":["6","10"],"frozen":true}]"#),
            of(r#"[{"layers":["0","1","3"],"frozen":true}]"#),
            of("[]"),
        ];
        let mut losses = Vec::new();
        for (number, which) in [0, 0, 2, 0, 1, 1, 2, 1, 1, 0].into_iter().enumerate() {
            losses.push(step(&mut session, &mut trainers[which], number));
            if number == 7 {
                load(&mut session);
            }
        }
        let (images, _) = batch(0);
        losses.extend(session.forward::<f64>(Images { data: &images, shape: SHAPE }, false).unwrap().data);
        losses.push(step(&mut session, &mut trainers[0], 10));
        (losses, flat(session.state_dict().unwrap()))
    };
    let expected = run(Executor::ReferenceF64);
    for (executor, tolerance) in backends() {
        let found = run(executor());
        let apart = [distance(&found.0, &expected.0), distance(&found.1, &expected.1)];
        assert!(apart.iter().all(|&apart| apart < tolerance), "{apart:?} apart");
    }
}

#[test]
fn norms_are_frozen_only_where_there_are_some() {
    let mut session = session(Executor::cpu(2).unwrap());
    let (images, labels) = batch(0);
    let mut refused = |groups: &str| {
        let images = Images { data: &images, shape: SHAPE };
        Trainer::new(config(groups, 1)).step(&mut session, images, &labels).unwrap_err()
    };
    for group in [r#"{"layers":["10"],"frozen_norms":true}"#, r#"{"roles":["weight"],"frozen_norms":true}"#] {
        let error = refused(&format!("[{{}},{group}]"));
        let expected = "groups[1].frozenNorms: expected a group with batch norms, got none in it";
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, expected));
    }
}
