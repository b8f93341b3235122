//! Every network against PyTorch: logits, gradients, losses and running statistics over five steps of SGD.
//!
//! One network: `cargo test -p resnet-core --test parity resnet50d`. `tools/pytorch_fixtures.py` wrote the fixtures, and says
//! what the quantities and distances are.

mod fixture;
#[path = "../hashed/mod.rs"]
mod hashed;
mod networks;

use fixture::{Fixture, Quantities, Rows};
use resnet_core::model::graph::trace_channels;
use resnet_core::model::layer::Layer;
use resnet_core::model::params::{Parameter, Params, Role};
use resnet_core::session::{Images, LoadOptions};
use resnet_core::state_dict::{write, Values};
use resnet_core::train::{Optimizer, Sgd, Trainer};
use resnet_core::Session;
use resnet_ops::Algorithm;
use resnet_ops::{Executor, Isa, Precision};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

const CLASSES: f64 = 10.0;
/// Up to this many parameters a network runs on every instruction set, beyond on the widest.
const SMALL: usize = 12_000_000;
/// From this many parameters on it needs gigabytes, and runs alone.
const LARGE: usize = 30_000_000;

/// The values that a parameter or a running statistic starts from.
fn hashed_values(parameter: &Parameter) -> Vec<f32> {
    let fans = (parameter.fan_in + parameter.fan_out) as f64;
    let value = |u: f64| match parameter.role {
        Role::Weight => (6.0 / fans).sqrt() * u,
        Role::Bias | Role::RunningMean => 0.1 * u,
        Role::NormWeight => 0.5 + 0.1 * u,
        Role::NormBias => 0.9f64.copysign(u) + 0.4 * u,
        Role::RunningVar => 1.0 + 0.3 * u,
    };
    hashed::unit(&parameter.name).take(parameter.range.len()).map(|unit| value(2.0 * unit - 1.0) as f32).collect()
}

/// A session on a backend, with hashed weights.
fn session(network: Layer, executor: Executor, fixture: &Fixture) -> Session {
    let params = Params::of(&trace_channels(&network, fixture.shape[1]).unwrap()).unwrap();
    assert_eq!(params.parameters_len(), fixture.parameters, "parameters");
    let flat = |list: &[Parameter]| list.iter().flat_map(hashed_values).collect::<Vec<f32>>();
    let (parameters, running) = (flat(&params.parameters), flat(&params.running));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashed.safetensors");
    write(&path, &Values { params: &params, parameters: &parameters, running: &running, updates: 0 }, HashMap::new())
        .unwrap();
    drop((parameters, running));
    let mut session = Session::on(network, executor, 0);
    session.load_weights(&path, &LoadOptions::default()).unwrap();
    session
}

/// Everything that the fixture has, computed on a backend.
fn compute(network: Layer, executor: Executor, fixture: &Fixture) -> Quantities {
    let shape = fixture.shape;
    let images = |batch: u64| -> Vec<f32> {
        let pixels = hashed::unit(&format!("images.{batch}")).take(shape.iter().product());
        pixels.map(|unit| unit as f32).collect()
    };
    let labels = |batch: u64| -> Vec<u32> {
        hashed::unit(&format!("labels.{batch}")).take(shape[0]).map(|unit| (CLASSES * unit) as u32).collect()
    };
    let logits =
        |session: &mut Session| session.forward::<f64>(Images { data: &images(0), shape }, false).unwrap().data;

    let mut session = session(network, executor, fixture);
    let mut trainer =
        Trainer::new(Optimizer::Sgd(Sgd { lr: fixture.lr, momentum: 0.9, nesterov: false, weight_decay: 1e-4 }));
    let mut found = Quantities { logits_before: logits(&mut session), ..Quantities::default() };
    for (step, &batch) in fixture.batches.iter().enumerate() {
        let images = Images { data: &images(batch), shape };
        found.losses.push(trainer.step(&mut session, images, &labels(batch)).unwrap().loss());
        if step == 0 {
            found.gradients = Rows::of(trainer.gradients::<f64>(&session).unwrap());
        }
    }
    found.logits_after = logits(&mut session);
    let mut running = session.state_dict::<f64>().unwrap();
    running.retain(|(name, _)| name.contains(".running_"));
    found.running = Rows::of(running);
    found
}

/// Runs one large network at a time.
fn in_turn<T>(fixture: &Fixture, task: impl FnOnce() -> T) -> T {
    static LARGE_ONE: Mutex<()> = Mutex::new(());
    let _turn = (fixture.parameters >= LARGE).then(|| LARGE_ONE.lock().unwrap_or_else(PoisonError::into_inner));
    task()
}

fn reference_in_f64_computes_what_pytorch_does(name: &str, network: Layer) {
    let fixture = Fixture::read(name);
    let found = in_turn(&fixture, || compute(network, Executor::ReferenceF64, &fixture));
    for distances in fixture.distances(&found) {
        let Some((part, distance)) = distances.worst() else { continue };
        assert!(*distance <= 1e-8, "reference f64, {} {part}: {distance:.2e}", distances.quantity);
    }
}

fn cpu_rounds_no_worse_than_four_times_pytorch_f32(name: &str, network: Layer) {
    let fixture = Fixture::read(name);
    let available = Isa::available();
    let first = if fixture.parameters <= SMALL { 0 } else { available.len() - 1 };
    for &isa in &available[first..] {
        for algorithm in [Algorithm::Direct, Algorithm::Auto] {
            let executor = Executor::cpu_with(1, isa).unwrap().with_convolution(algorithm);
            assert_rounding(&fixture, &format!("{isa:?}, {algorithm:?}"), network.clone(), executor);
        }
    }
}

/// Where tests are built with the GPU's kernels, which this machine's processor runs slowly.
fn gpu_kernels_round_no_worse_either(name: &str, network: Layer) {
    let fixture = Fixture::read(name);
    if let Some(executor) = Executor::cuda_for_tests(Precision::Fp32).filter(|_| fixture.parameters <= SMALL || all()) {
        assert_rounding(&fixture, "GPU's kernels", network, executor);
    }
}

/// Whether everything is wanted, not one network of each kind.
fn all() -> bool {
    std::env::var("RESNET_NATIVE_TESTS").is_ok_and(|set| set == "all")
}

fn assert_rounding(fixture: &Fixture, backend: &str, network: Layer, executor: Executor) {
    let found = in_turn(fixture, || compute(network, executor, fixture));
    for (distances, own) in fixture.distances(&found).iter().zip(fixture.own) {
        let (quantity, distance, bound) = (distances.quantity, distances.overall(), 4.0 * own);
        assert!(distance <= bound, "{backend}, {quantity}: {distance:.2e} > {bound:.2e}");
    }
}

#[test]
fn reference_in_f32_rounds_no_worse_either() {
    let fixture = Fixture::read("d2l_cifar_resnet20");
    assert_rounding(&fixture, "reference f32", networks::cifar(20, false), Executor::ReferenceF32);
}

#[test]
fn the_hash_is_that_of_the_script() {
    // First entries as tools/pytorch_fixtures.py draws them.
    assert_eq!(hashed::bits("fc.weight").take(2).collect::<Vec<_>>(), [0x7c11_bf81_bc00_4eca, 0xdf4d_10f6_a2a6_cf39]);
    assert_eq!(hashed::unit("images.0").next(), Some(0.6517858458379355));
}

#[test]
fn every_fixture_has_its_tests() {
    let files = std::fs::read_dir(Fixture::folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = files.map(|file| file.to_string_lossy().replace(".safetensors", "")).collect();
    files.sort();
    let mut fixtures = networks::FIXTURES.to_vec();
    fixtures.sort();
    assert_eq!(files, fixtures);
}
