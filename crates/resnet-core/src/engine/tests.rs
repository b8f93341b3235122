//! The modes of plans beside training and evaluation: frozen norms, retained values, gradients of values.

use super::*;
use crate::model::graph::trace_channels;
use crate::model::init::initialise;
use crate::model::layer::{Child, Init};
use crate::model::resnet::{resnet, ResNetOptions, Stage};
use crate::plan::{add_place, Frozen, Gradients, Statistics};
use crate::session::Session;
use crate::tensor::Images;
use resnet_ops::{Algorithm, Isa, Precision};
use std::ops::Range;

const SHAPE: [usize; 4] = [3, 2, 21, 18];
const LABELS: [u32; 3] = [4, 0, 2];
const FROZEN: Mode = Mode::new(Statistics::Running, Gradients::Parameters);

fn network() -> Layer {
    let arch = vec![Stage { num_residuals: 2, num_channels: 8 }, Stage { num_residuals: 1, num_channels: 20 }];
    resnet(&ResNetOptions { arch, num_classes: 5, ..ResNetOptions::default() }).unwrap()
}

fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
}

/// The plain definitions in f64, every instruction set, and the GPU's kernels, with the distance that they may have.
fn backends() -> Vec<(Executor, f64)> {
    let mut backends = vec![(Executor::ReferenceF64, 1e-12)];
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        let on = |isa| (Executor::cpu_with(2, isa).unwrap().with_convolution(algorithm), 1e-4);
        backends.extend(Isa::available().into_iter().map(on));
    }
    backends.extend(Executor::cuda_for_tests(Precision::Fp32).map(|executor| (executor, 1e-4)));
    backends
}

/// A network with weights that are no defaults.
struct Model {
    network: Layer,
    params: Params,
    parameters: Vec<f32>,
    running: Vec<f32>,
}

impl Model {
    fn new() -> Self {
        let network = network();
        let params = Params::of(&trace_channels(&network, SHAPE[1]).unwrap()).unwrap();
        let (mut parameters, mut running) = initialise(&params, 3).unwrap();
        let noise = numbers(parameters.len(), 1);
        parameters.iter_mut().zip(noise).for_each(|(parameter, noise)| *parameter += 0.1 * noise);
        let noise = numbers(running.len(), 2);
        running.iter_mut().zip(noise).for_each(|(statistic, noise)| *statistic += 0.3 * noise);
        Self { network, params, parameters, running }
    }

    fn weights(&self, executor: &Executor) -> Weights {
        Weights::new(executor, &self.parameters, &self.running).unwrap()
    }

    /// The loss with these weights, and its gradients if the mode has any; as many runs as one is not enough for a captured graph.
    fn loss(&self, engine: &mut Engine, weights: &mut Weights, mode: &Mode) -> f64 {
        let parts = BoundNetwork {
            network: &self.network,
            params: &self.params,
            weights,
            dropout_seed: 0,
            cancel: &Cancel::default(),
        };
        let mut execution = engine.prepare(parts, SHAPE, mode).unwrap();
        let data = numbers(SHAPE.iter().product(), 5);
        let mut loss = f64::NAN;
        for _ in 0..3 {
            execution.forward(Images { data: &data, shape: SHAPE }.into()).unwrap();
            loss = execution.loss(Targets::Classes(LABELS[..].into())).unwrap().loss_sum / SHAPE[0] as f64;
            if mode.gradients != Gradients::None {
                execution.backward().unwrap();
            }
            execution.update_statistics().unwrap();
        }
        loss
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// The places of all parameters of these layers.
fn places(model: &Model, layers: &[&str]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for parameter in &model.params.parameters {
        if layers.iter().any(|layer| parameter.name.starts_with(&format!("{layer}."))) {
            add_place(&mut places, &parameter.range);
        }
    }
    places
}

#[test]
fn frozen_norms_have_gradients_through_constants() {
    let model = Model::new();
    let norms = places(&model, &["layer1.0.bn1", "layer1.0.bn2", "layer2.0.bn2"]);
    let mixed = Mode { frozen: Frozen { norms, ..Frozen::default() }, ..Mode::TRAIN };
    for mode in [FROZEN, mixed] {
        agrees_with_finite_differences(&model, &mode);
    }
}

fn agrees_with_finite_differences(model: &Model, mode: &Mode) {
    let without = Mode { gradients: Gradients::None, ..mode.clone() };
    let mut expected = Vec::new();
    for (executor, tolerance) in backends() {
        let mut engine = Engine::new(executor);
        let mut weights = model.weights(engine.executor());
        let loss = model.loss(&mut engine, &mut weights, mode);
        let found: Vec<f64> = weights.gradients.read(0..model.parameters.len()).unwrap();
        let running: Vec<f32> = weights.running.read(0..model.running.len()).unwrap();
        for statistic in &model.params.running {
            let layer = statistic.name.rsplit_once('.').unwrap().0;
            let stays = mode.statistics == Statistics::Running
                || places(model, &[layer]).iter().all(|place| covered(mode, place));
            let now = &running[statistic.range.clone()];
            assert_eq!(now == &model.running[statistic.range.clone()], stays, "{}", statistic.name);
        }
        if expected.is_empty() {
            // An entry of each parameter by finite differences, in f64.
            for parameter in &model.params.parameters {
                let index = parameter.range.start + parameter.range.len() / 2;
                let mut shifted = |step: f64| {
                    let mut values: Vec<f64> = model.parameters.iter().map(|&value| value.into()).collect();
                    values[index] += step;
                    weights.parameters.write(&values).unwrap();
                    weights.version += 1;
                    model.loss(&mut engine, &mut weights, &without)
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                let gradient = found[index];
                assert!(
                    (difference - gradient).abs() <= 1e-6 * (1.0 + gradient.abs()),
                    "{}: {difference} by differences, {gradient}",
                    parameter.name
                );
            }
            assert!(loss.is_finite());
            expected = found;
        } else {
            let distance = distance(&found, &expected);
            assert!(distance < tolerance, "distance {distance:e}");
        }
    }
}

fn covered(mode: &Mode, place: &Range<usize>) -> bool {
    mode.statistics_of(place) == Statistics::Running
}

#[test]
fn a_pass_with_batch_statistics_has_no_backward_plan() {
    let model = Model::new();
    for (executor, _) in backends() {
        let mut engine = Engine::new(executor);
        let mut weights = model.weights(engine.executor());
        let loss = model.loss(&mut engine, &mut weights, &Mode::BATCH);
        let without = engine.slots().len();
        assert!(weights.gradients.is_empty());
        let running: Vec<f32> = weights.running.read(0..model.running.len()).unwrap();
        assert_eq!(running, model.running);
        assert_eq!(loss, model.loss(&mut engine, &mut weights, &Mode::TRAIN), "the same to the bit");
        assert!(engine.slots().len() > without);
    }
}

fn session(executor: Executor) -> Session {
    Session::on(network(), executor, 3)
}

#[test]
fn features_are_what_the_named_layer_returns() {
    let data = numbers(SHAPE.iter().product(), 5);
    let images = Images { data: &data, shape: SHAPE };
    let layers =
        ["conv1", "bn1", "relu1", "maxpool", "layer1.0.bn1", "layer1.0", "layer1", "layer2.0.downsample.0", "avgpool"];
    let mut reference = session(Executor::ReferenceF64);
    let features: Vec<Tensor<f64>> =
        layers.iter().map(|layer| reference.features(images, Some(layer)).unwrap()).collect();
    assert_eq!(features[0].shape, [3, 64, 11, 9]);
    assert_eq!(features[6].shape, [3, 8, 6, 5]);
    assert_eq!(features[8].shape, [3, 20]);
    // What a ReLU gives is what it was given, without what is negative.
    let relu: Vec<f64> = features[1].data.iter().map(|&value| value.max(0.0)).collect();
    assert_eq!(features[2].data, relu);
    assert!(features[1].data.iter().any(|&value| value < 0.0));
    for (executor, _) in backends() {
        let mut session = session(executor);
        let before: Tensor<f64> = session.forward(images, false).unwrap();
        for (layer, expected) in layers.iter().zip(&features) {
            let found: Tensor<f64> = session.features(images, Some(layer)).unwrap();
            assert_eq!(found.shape, expected.shape);
            let distance = distance(&found.data, &expected.data);
            assert!(distance < 1e-5, "{layer}: {distance:e}");
            // The plans share their storage; none may spoil what another has packed.
            assert_eq!(session.forward::<f64>(images, false).unwrap(), before);
        }
    }
    let error = reference.features::<f64>(images, Some("layer7")).unwrap_err();
    let all = "(layerSummary with depth: \"layers\" lists them all), got layer7";
    assert_eq!((error.code, error.message.ends_with(all)), (Code::InvalidArgument, true), "{error}");
    assert!(error.message.starts_with("layer: expected the name of a layer or stage, such as layer1"), "{error}");
}

#[test]
fn sensitivities_are_gradients_of_one_logit() {
    let data = numbers(SHAPE.iter().product(), 5);
    let images = Images { data: &data, shape: SHAPE };
    let mut reference = session(Executor::ReferenceF64);
    reference.build(SHAPE[1]).unwrap();
    let named = reference.state_dict::<f64>().unwrap();
    let weights = &named.iter().find(|(name, _)| name == "fc.weight").unwrap().1.data;
    // The pooled features' gradient is the class's row of the weights, and before the pool each pixel's share of it.
    let row = |class: u32| &weights[class as usize * 20..][..20];
    let [pooled, gradient] = reference.sensitivity::<f64>(images, "avgpool", &LABELS).unwrap();
    assert_eq!(gradient.data, LABELS.iter().flat_map(|&class| row(class).to_vec()).collect::<Vec<_>>());
    assert_eq!(pooled, reference.features(images, Some("avgpool")).unwrap());
    assert_eq!(pooled, reference.features(images, None).unwrap(), "what the head reads");
    let [_, map] = reference.sensitivity::<f64>(images, "layer2", &LABELS).unwrap();
    let pixels = map.shape[2] * map.shape[3];
    for (pixel, &value) in map.data.iter().enumerate() {
        let (class, channel) = (LABELS[pixel / pixels / 20], pixel / pixels % 20);
        assert!((value - row(class)[channel] / pixels as f64).abs() < 1e-12);
    }
    for layer in ["layer2", "layer1", "layer1.0", "maxpool", "relu1"] {
        let expected = reference.sensitivity::<f64>(images, layer, &LABELS).unwrap();
        for (executor, _) in backends() {
            let found = session(executor).sensitivity::<f64>(images, layer, &LABELS).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                let distance = distance(&found.data, &expected.data);
                assert!(distance < 1e-4, "{layer}: {distance:e}");
            }
        }
    }
    let error = reference.sensitivity::<f64>(images, "layer1", &[0, 5, 0]).unwrap_err();
    assert_eq!(error.code, Code::Label);
}

#[test]
fn the_gradient_of_a_value_that_later_layers_share_is_the_sum_over_them() {
    // y = v + v: the gradient of v is twice that of y.
    let conv = Layer::Conv2d {
        out_channels: 4,
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 2],
        groups: 1,
        bias: true,
        init: Init::default(),
    };
    let twice = Layer::Residual {
        preactivation: None,
        body: Box::new(Layer::Sequential { children: vec![] }),
        shortcut: None,
        relu: false,
        stochastic_depth: 0.0,
    };
    let children =
        vec![Child::new("conv", conv), Child::new("twice", twice), Child::new("pool", Layer::GlobalAvgPool2d)];
    let data = numbers(SHAPE.iter().product(), 5);
    let images = Images { data: &data, shape: SHAPE };
    for (executor, _) in backends() {
        let mut session = Session::on(Layer::sequential(children.clone()), executor, 1);
        let [_, gradient] = session.sensitivity::<f64>(images, "conv", &[1, 0, 3]).unwrap();
        let pixels = SHAPE[2] * SHAPE[3];
        for (index, &value) in gradient.data.iter().enumerate() {
            let class = [1, 0, 3][index / pixels / 4];
            let expected = if index / pixels % 4 == class { 2.0 / pixels as f64 } else { 0.0 };
            assert!((value - expected).abs() < 1e-7, "{value} at {index}");
        }
    }
}
