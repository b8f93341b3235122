//! Every network against PyTorch: gradients, losses, running statistics and logits, over a step or two of SGD.
//!
//! One network: `cargo test -p resnet-ops -p resnet-core --test networks resnet50d`. `tools/pytorch_fixtures.py` wrote the fixtures, and says
//! what the quantities and distances are.

mod fixture;
mod networks;

use crate::hashed;
use crate::tell::tell;
use fixture::{Fixture, Quantities, Rows};
use resnet_core::model::graph::trace_channels;
use resnet_core::model::layer::Layer;
use resnet_core::model::params::{Parameter, Params, Role};
use resnet_core::session::{Images, LoadOptions};
use resnet_core::train::{Optimizer, Sgd, Trainer};
use resnet_core::Session;
use resnet_ops::{Algorithm, Executor, Isa, Precision, Real};
use safetensors::tensor::{Dtype, TensorView};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use tempfile::TempDir;

const CLASSES: f64 = 10.0;
/// Parameters that may be computed with at a time: in f64 one takes some 30 bytes.
const MOST_PARAMETERS: usize = 130_000_000;

/// The values that a parameter or a running statistic starts from, as bytes.
fn hashed_values(parameter: &Parameter) -> Vec<u8> {
    let fans = (parameter.fan_in + parameter.fan_out) as f64;
    let value = |u: f64| match parameter.role {
        Role::Weight => (6.0 / fans).sqrt() * u,
        Role::Bias | Role::RunningMean => 0.1 * u,
        Role::NormWeight => 0.5 + 0.1 * u,
        Role::NormBias => 0.9f64.copysign(u) + 0.4 * u,
        Role::RunningVar => 1.0 + 0.3 * u,
    };
    let mut bytes = vec![0; 4 * parameter.range.len()];
    for (bytes, unit) in bytes.chunks_exact_mut(4).zip(hashed::unit(&parameter.name)) {
        bytes.copy_from_slice(&(value(2.0 * unit - 1.0) as f32).to_le_bytes());
    }
    bytes
}

/// A network and a file of the weights that it starts from.
struct Subject {
    network: Layer,
    fixture: Fixture,
    folder: TempDir,
}

impl Subject {
    fn new(name: &str, network: Layer) -> Self {
        let fixture = Fixture::read(name);
        let params = Params::of(&trace_channels(&network, fixture.shape[1]).unwrap()).unwrap();
        assert_eq!(params.parameters_len(), fixture.parameters, "parameters");
        let list = || params.parameters.iter().chain(&params.running);
        let values: Vec<_> = list().map(hashed_values).collect();
        let views = list().zip(&values).map(|(parameter, values)| {
            (&parameter.name, TensorView::new(Dtype::F32, parameter.shape.clone(), values).unwrap())
        });
        let subject = Self { network, fixture, folder: tempfile::tempdir().unwrap() };
        safetensors::serialize_to_file(views, None, &subject.weights()).unwrap();
        subject
    }

    fn weights(&self) -> PathBuf {
        self.folder.path().join("hashed.safetensors")
    }

    /// Everything that the fixture has, computed on a backend and read as `V`.
    fn compute<V: Real>(&self, executor: Executor) -> Quantities {
        let Fixture { shape, lr, ref batches, .. } = self.fixture;
        let images = |batch: u64| -> Vec<f32> {
            let pixels = hashed::unit(&format!("images.{batch}")).take(shape.iter().product());
            pixels.map(|unit| unit as f32).collect()
        };
        let labels = |batch: u64| -> Vec<u32> {
            hashed::unit(&format!("labels.{batch}")).take(shape[0]).map(|unit| (CLASSES * unit) as u32).collect()
        };
        let mut session = Session::on(self.network.clone(), executor, 0);
        session.load_weights(&self.weights(), &LoadOptions::default()).unwrap();
        let mut trainer = Trainer::new(Optimizer::Sgd(Sgd {
            lr,
            // The first step's is none.
            momentum: if batches.len() > 1 { 0.9 } else { 0.0 },
            dampening: 0.0,
            nesterov: false,
            weight_decay: 1e-4,
        }));
        let mut found = Quantities::default();
        for (step, &batch) in batches.iter().enumerate() {
            let images = Images { data: &images(batch), shape };
            found.losses.push(trainer.step(&mut session, images, &labels(batch)).unwrap().loss());
            if step == 0 {
                found.gradients = Rows::of(trainer.gradients::<V>(&session).unwrap());
            }
        }
        found.logits = session.forward::<f64>(Images { data: &images(0), shape }, false).unwrap().data;
        let mut running = session.state_dict::<V>().unwrap();
        running.retain(|(name, _)| name.contains(".running_"));
        found.running = Rows::of(running);
        found
    }

    fn computes_in_f64_what_pytorch_does(&self) {
        for distances in self.fixture.distances(&self.compute::<f64>(Executor::ReferenceF64)) {
            let Some((part, distance)) = distances.worst() else { continue };
            assert!(*distance <= 1e-8, "reference f64, {} {part}: {distance:.2e}", distances.quantity);
        }
    }

    /// Fails if a backend rounds worse than four times what PyTorch does in f32; what it has computed.
    fn rounds_as_pytorch_does(&self, backend: &str, executor: Executor) -> Quantities {
        let found = self.compute::<f32>(executor);
        for (distances, own) in self.fixture.distances(&found).iter().zip(self.fixture.own) {
            let (quantity, distance, bound) = (distances.quantity, distances.overall(), 4.0 * own);
            tell(|| format!("distance {:.2e} of what is allowed: {backend}, {quantity}", distance / bound));
            assert!(distance <= bound, "{backend}, {quantity}: {distance:.2e} > {bound:.2e}");
        }
        found
    }
}

/// The plain definitions in f64, the fastest kernels of this machine's processor, and the GPU's kernels where tests are built
/// with them.
fn on_every_backend(name: &str, network: Layer) {
    in_turn(name, network, |subject| {
        // A GPU's time is short, and the others run elsewhere.
        if std::env::var("RESNET_NATIVE_TESTS_GPU").is_ok_and(|value| value == "1") {
            let gpu = Executor::cuda_for_tests(Precision::Fp32).unwrap();
            subject.rounds_as_pytorch_does("GPU", gpu);
            return;
        }
        subject.computes_in_f64_what_pytorch_does();
        subject.rounds_as_pytorch_does("CPU", Executor::cpu(1).unwrap());
        if let Some(executor) = Executor::cuda_for_tests(Precision::Fp32) {
            subject.rounds_as_pytorch_does("GPU's kernels", executor);
        }
    });
}

/// Up to this many parameters a network runs on every instruction set, beyond on the widest.
const SMALL: usize = 12_000_000;

/// Every instruction set, with and without Winograd's convolutions if it has any that are theirs.
fn with_every_kernel(name: &str, network: Layer) {
    in_turn(name, network, |subject| {
        let available = Isa::available();
        let first = if subject.fixture.parameters <= SMALL { 0 } else { available.len() - 1 };
        let mut algorithms = vec![Algorithm::Auto, Algorithm::Direct];
        for &isa in available[first..].iter().rev() {
            let found = algorithms.iter().map(|&algorithm| {
                let executor = Executor::cpu_with(1, isa).unwrap().with_convolution(algorithm);
                subject.rounds_as_pytorch_does(&format!("{isa:?}, {algorithm:?}"), executor)
            });
            let found: Vec<Quantities> = found.collect();
            // Which it is goes by sizes, not by instruction sets: the same bits here are the same kernels everywhere.
            if found.iter().all(|other| *other == found[0]) {
                algorithms.truncate(1);
            }
        }
    });
}

/// Waits until there is memory for a network, and tests it.
fn in_turn(name: &str, network: Layer, test: impl FnOnce(&Subject)) {
    static TAKEN: Mutex<usize> = Mutex::new(0);
    static GIVEN_BACK: Condvar = Condvar::new();
    /// Gives its parameters' memory back, also when a test fails.
    struct Turn(usize);
    impl Drop for Turn {
        fn drop(&mut self) {
            *TAKEN.lock().unwrap() -= self.0;
            GIVEN_BACK.notify_all();
        }
    }
    let parameters = Fixture::read(name).parameters;
    let crowded = |taken: &mut usize| *taken > 0 && *taken + parameters > MOST_PARAMETERS;
    *GIVEN_BACK.wait_while(TAKEN.lock().unwrap(), crowded).unwrap() += parameters;
    let _turn = Turn(parameters);
    test(&Subject::new(name, network));
}

#[test]
fn reference_in_f32_rounds_no_worse_either() {
    let subject = Subject::new("d2l_cifar_resnet20", networks::cifar(20, false));
    subject.rounds_as_pytorch_does("reference f32", Executor::ReferenceF32);
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
