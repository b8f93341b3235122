use super::*;
use crate::hashed;
use crate::model::graph::trace_channels;
use crate::model::layer::{Child, Init, Layer};
use crate::train::ema::EmaConfig;
use crate::train::UpdateConfig;
use resnet_ops::{Isa, Precision};
use safetensors::SafeTensors;

const FIXTURES: &[u8] = include_bytes!("../../../tests/fixtures/optimizers.safetensors");

const AVERAGES: &[u8] = include_bytes!("../../../tests/fixtures/ema.safetensors");

/// The parameters that `tools/optimizer_fixtures.py` has.
fn params() -> Params {
    let conv = Layer::Conv2d {
        out_channels: 6,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        groups: 1,
        bias: true,
        init: Init::default(),
    };
    let norm = Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init: false };
    let head = Layer::Linear { out_features: 3, bias: true, init: Init::default() };
    let children = [("conv1", conv), ("bn1", norm), ("pool", Layer::GlobalAvgPool2d), ("fc", head)];
    let root = Layer::sequential(children.map(|(name, layer)| Child::new(name, layer)).into());
    Params::of(&trace_channels(&root, 2).unwrap()).unwrap()
}

/// What is drawn for all parameters, one after the other; `step` names the gradients of one.
fn drawn(params: &Params, size: f64, step: Option<u64>) -> Vec<f32> {
    let values = params.parameters.iter().flat_map(|parameter| {
        let name = step.map_or(parameter.name.clone(), |step| format!("{}.{step}", parameter.name));
        hashed::unit(&name).take(parameter.range.len()).collect::<Vec<_>>()
    });
    values.map(|unit| (size * f64::from((2.0 * unit - 1.0) as f32)) as f32).collect()
}

/// The parameters after the fixture's steps.
fn stepped(executor: &Executor, config: UpdateConfig, steps: u64) -> Vec<f64> {
    let (weights, _) = averaged(executor, config, steps, None);
    weights.parameters.read(0..weights.parameters.len()).unwrap()
}

/// The weights after the fixture's steps, and their average.
fn averaged(executor: &Executor, config: UpdateConfig, steps: u64, ema: Option<EmaConfig>) -> (Weights, Option<Ema>) {
    let params = params();
    let UpdateConfig { optimizer, parameters, clip, .. } = config;
    let mut updater = Updater::new(optimizer, parameters, clip);
    updater.reserve(executor, &params).unwrap();
    let running = |name: &str| hashed::unit(name).take(12).map(|unit| (2.0 * unit - 1.0) as f32).collect::<Vec<_>>();
    let mut weights = Weights::new(executor, &drawn(&params, 1.0, None), &running("running")).unwrap();
    let mut ema = ema.map(Ema::new);
    ema.iter_mut().for_each(|ema| ema.reserve(executor, &weights).unwrap());
    weights.reserve_gradients(executor).unwrap();
    for step in 0..steps {
        let size = if step % 5 == 4 { 0.3 } else { 0.1 };
        weights.gradients.write(&drawn(&params, size, Some(step))).unwrap();
        let clip = updater.clip(executor, &weights.gradients).unwrap();
        weights.running.write(&running(&format!("running.{step}"))).unwrap();
        updater.step(executor, &mut weights, clip, ema.as_mut()).unwrap();
    }
    (weights, ema)
}

/// The largest difference, relative to the values, or to a hundredth of the largest where that is more.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let relative = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(0.01 * largest));
    relative.fold(0.0, f64::max)
}

/// Every backend finds the expected numbers: in f64 within 1e-12, in f32 within 1e-5.
fn assert_found_everywhere(name: &str, expected: &[f64], found: impl Fn(&Executor) -> Vec<f64>) {
    let exact = distance(&found(&Executor::ReferenceF64), expected);
    assert!(exact < 1e-12, "{name}: {exact:e}");
    let cpus = Isa::available().into_iter().map(|isa| Executor::cpu_with(1, isa).unwrap());
    for executor in cpus.chain([Executor::ReferenceF32]).chain(Executor::cuda_for_tests(Precision::Fp32)) {
        let apart = distance(&found(&executor), expected);
        assert!(apart < 1e-5, "{name}: {apart:e}");
    }
}

#[test]
fn every_optimiser_steps_as_pytorch_does_on_every_backend() {
    let file = SafeTensors::deserialize(FIXTURES).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for (name, tensor) in file.tensors() {
        if name.starts_with("network ") {
            continue;
        }
        let (json, steps) = name.rsplit_once(' ').unwrap();
        let expected: Vec<f64> =
            tensor.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let config = UpdateConfig::from_json(json).unwrap();
        kinds.insert(json.split('"').nth(5).unwrap().to_owned());
        let found = |executor: &Executor| stepped(executor, config.clone(), steps.parse().unwrap());
        assert_found_everywhere(&name, &expected, found);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["adam", "adamw", "lars", "lion", "muon", "rmsprop", "sgd"]);
}

#[test]
fn averages_are_timm_s_on_every_backend() {
    let file = SafeTensors::deserialize(AVERAGES).unwrap();
    assert_eq!(file.len(), 9);
    for (name, tensor) in file.tensors() {
        let (average, update) = name.split_once('|').unwrap();
        let expected: Vec<f64> =
            tensor.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (average, update) = (serde_json::from_str(average).unwrap(), UpdateConfig::from_json(update).unwrap());
        let found = |executor: &Executor| {
            let (weights, ema) = averaged(executor, update.clone(), 20, Some(average));
            let Ema { parameters, running, .. } = ema.unwrap();
            assert_ne!(weights.parameters.read::<f64>(0..9).unwrap(), parameters.read::<f64>(0..9).unwrap());
            [parameters.read::<f64>(0..parameters.len()).unwrap(), running.read(0..12).unwrap()].concat()
        };
        assert_found_everywhere(&name, &expected, found);
    }
}

#[test]
fn averages_of_what_stays_the_same_keep_their_bits_and_change_places_with_the_weights() {
    let json = r#"{"optimizer":{"type":"sgd","lr":1,"momentum":0,"nesterov":false,"weight_decay":0.5},
        "parameters":{"groups":[{"layers":["conv1","bn1"],"frozen":true},{"lr_factor":1e-30}]}}"#;
    let cpu = Executor::cpu(1).unwrap();
    let config = EmaConfig { decay: 0.9999, warmup: false };
    let (mut weights, ema) = averaged(&cpu, UpdateConfig::from_json(json).unwrap(), 20, Some(config));
    let mut ema = ema.unwrap();
    let (version, trained) = (weights.version, weights.running.read::<f32>(0..12).unwrap());
    assert_eq!(ema.parameters.slice::<f32>().unwrap(), weights.parameters.slice::<f32>().unwrap());
    let averages = ema.running.read::<f32>(0..12).unwrap();
    for (averages_in_use, expected) in [(true, &averages), (true, &averages), (false, &trained)] {
        ema.put(averages_in_use, &mut weights).unwrap();
        assert_eq!(weights.running.slice::<f32>().unwrap(), expected);
    }
    assert_eq!(ema.running.slice::<f32>().unwrap(), averages);
    assert_eq!(weights.version, version + 2);
}

#[test]
fn averages_that_are_taken_block_by_block_are_those_of_the_whole() {
    let head = Layer::Linear { out_features: 50_000, bias: true, init: Init::default() };
    let root = Layer::sequential(vec![Child::new("pool", Layer::GlobalAvgPool2d), Child::new("fc", head)]);
    let params = Params::of(&trace_channels(&root, 6).unwrap()).unwrap();
    assert!(params.parameters_len() > 2 * BLOCK && !params.parameters_len().is_multiple_of(BLOCK));
    let json = r#"{"type":"adamw","lr":0.01,"betas":[0.9,0.99],"eps":1e-8,"weight_decay":0.1}"#;
    let steps = |executor: &Executor, mut ema: Option<Ema>| {
        let optimizer = Optimizer::from_json(json).unwrap();
        let mut updater = Updater::new(optimizer, ParameterSettings::default(), None);
        updater.reserve(executor, &params).unwrap();
        let mut weights = Weights::new(executor, &drawn(&params, 1.0, None), &[]).unwrap();
        weights.reserve_gradients(executor).unwrap();
        ema.iter_mut().for_each(|ema| ema.reserve(executor, &weights).unwrap());
        let mut expected = weights.parameters.read::<f32>(0..params.parameters_len()).unwrap();
        for step in 0..3 {
            weights.gradients.write(&drawn(&params, 0.1, Some(step))).unwrap();
            updater.step(executor, &mut weights, update::Clip::default(), ema.as_mut()).unwrap();
            let moved = weights.parameters.slice::<f32>().unwrap();
            expected.iter_mut().zip(moved).for_each(|(to, from)| *to += 0.25 * (from - *to));
        }
        let averages = ema.map(|ema| ema.parameters.read::<f32>(0..params.parameters_len()).unwrap());
        (weights.parameters.read::<f32>(0..params.parameters_len()).unwrap(), averages, expected)
    };
    for executor in [Executor::cpu(1).unwrap(), Executor::cpu(2).unwrap(), Executor::ReferenceF32] {
        let (whole, ..) = steps(&executor, None);
        let (parameters, averages, expected) =
            steps(&executor, Some(Ema::new(EmaConfig { decay: 0.75, warmup: false })));
        assert!(parameters == whole, "an average moves no parameter");
        assert!(averages.unwrap() == expected, "each block is taken once");
    }
}

#[test]
fn json_gives_the_settings_to_the_last_bit() {
    // Sums and products of such numbers have 17 digits.
    for (lr, weight_decay) in
        [(0.1, 0.0), (0.1 + 0.2, 1e-4 * 3.0), (1.0 / 3.0 * 1e-300, 5e-324), (1e22 / 7.0, 0.7 * 0.1)]
    {
        let json = format!(r#"{{"type":"sgd","lr":{lr},"momentum":0,"nesterov":false,"weight_decay":{weight_decay}}}"#);
        let expected = Sgd { lr, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay };
        assert_eq!(Optimizer::from_json(&json).unwrap(), Optimizer::Sgd(expected));
    }
}

#[test]
fn what_is_no_optimiser_is_refused() {
    let jsons = [
        r#"{"type":"adamax","lr":0.1}"#,
        r#"{"type":"adam","lr":0.1}"#,
        r#"{"type":"sgd","lr":0.1}"#,
        r#"{"lr":0.1}"#,
        "sgd",
    ];
    for json in jsons {
        let error = Optimizer::from_json(json).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert!(error.message.starts_with("optimizer: "), "{error}");
    }
}

#[test]
fn frozen_parameters_have_no_part_in_the_norm_and_stay() {
    let json = r#"{"optimizer":{"type":"sgd","lr":1,"momentum":0,"nesterov":false,"weight_decay":0.5},
        "parameters":{"groups":[{"layers":["conv1","bn1"],"frozen":true}]},"clip":{"norm":0.01}}"#;
    let (params, before) = (params(), drawn(&params(), 1.0, None));
    let after = stepped(&Executor::ReferenceF64, UpdateConfig::from_json(json).unwrap(), 1);
    let head = params.parameters.iter().find(|parameter| parameter.name == "fc.weight").unwrap().range.start;
    let gradients = drawn(&params, 0.1, Some(0));
    let norm = gradients[head..].iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    for (i, (&before, &after)) in before.iter().zip(&after).enumerate() {
        let before = f64::from(before);
        let gradient = f64::from(gradients[i]) * (0.01 / (norm + 1e-6)) + 0.5 * before;
        let expected = if i < head { before } else { before - gradient };
        assert!((after - expected).abs() < 1e-12, "element {i}: {after}, not {expected}");
    }
}
