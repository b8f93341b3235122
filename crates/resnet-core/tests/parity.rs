//! The chapter's ResNet-18 against PyTorch: logits, gradients, losses and running statistics over five steps of SGD.
//!
//! `tools/pytorch_fixtures.py` wrote the fixture, and says what the quantities and distances are.

mod hashed;

use resnet_core::model::params::Params;
use resnet_core::model::resnet::resnet;
use resnet_core::model::shape::{trace, Shape};
use resnet_core::model::zoo::preset;
use resnet_core::session::{Images, LoadOptions};
use resnet_core::state_dict::{write, Values};
use resnet_core::train::{Sgd, Trainer};
use resnet_core::Session;
use resnet_ops::{Executor, Isa};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};

const SHAPE: [usize; 4] = [8, 1, 40, 32];
const CLASSES: usize = 10;

/// Values by the names that the fixture gives them.
type Quantities = BTreeMap<String, Vec<f64>>;

/// What PyTorch computed.
struct Fixture {
    /// Its results in f64.
    exact: Quantities,
    /// The distance of its results in f32 from those.
    own: BTreeMap<String, f64>,
    /// The numbers of the steps' batches.
    batches: Vec<u64>,
}

impl Fixture {
    fn read() -> Self {
        let file = SafeTensors::deserialize(include_bytes!("fixtures/resnet18.safetensors")).unwrap();
        let mut fixture = Self { exact: BTreeMap::new(), own: BTreeMap::new(), batches: Vec::new() };
        for (name, tensor) in file.tensors() {
            let words = tensor.data().chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
            if name == "batches" {
                assert_eq!(tensor.dtype(), Dtype::I64);
                fixture.batches = words.collect();
                continue;
            }
            assert_eq!(tensor.dtype(), Dtype::F64, "{name}");
            let values: Vec<f64> = words.map(f64::from_bits).collect();
            match name.strip_prefix("distance.") {
                Some(quantity) => drop(fixture.own.insert(quantity.to_owned(), values[0])),
                None => drop(fixture.exact.insert(name, values)),
            }
        }
        fixture
    }

    /// The distance of each quantity from PyTorch's in f64.
    fn distances(&self, found: &Quantities) -> BTreeMap<String, f64> {
        assert!(found.keys().eq(self.exact.keys()), "{:?} against {:?}", found.keys(), self.exact.keys());
        let distance = |(name, a): (&String, &Vec<f64>)| {
            let b = &self.exact[name];
            assert_eq!(a.len(), b.len(), "{name}");
            let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            let scale = match vanishes(name) {
                true => self.exact["gradient_scale"][0] * (b.len() as f64).sqrt(),
                false => norm(b),
            };
            (name.clone(), norm(&difference) / scale)
        };
        found.iter().map(distance).collect()
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Whether a gradient is zero in exact arithmetic: that of a convolution's bias before a batch norm.
fn vanishes(name: &str) -> bool {
    name.ends_with("conv1.bias") || name.ends_with("conv2.bias")
}

/// The chapter's ResNet-18 on a backend, with hashed weights.
fn session(executor: Executor) -> Session {
    let network = resnet(&preset("resnet18").unwrap()).unwrap();
    let params = Params::of(&trace(&network, Shape::Map { channels: 1, size: None }).unwrap()).unwrap();
    let flat = |list| Vec::from_iter(Iterator::flat_map(<[_]>::iter(list), hashed::values));
    let (learnt, running) = (flat(&params.learnt), flat(&params.running));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashed.safetensors");
    let values = Values { params: &params, learnt: &learnt, running: &running, updates: 0 };
    write(&path, &values, HashMap::new()).unwrap();
    let mut session = Session::on(network, executor, 0);
    session.load_weights(&path, &LoadOptions::default()).unwrap();
    session
}

fn images(batch: u64) -> Vec<f32> {
    hashed::unit(&format!("images.{batch}")).take(SHAPE.iter().product()).map(|unit| unit as f32).collect()
}

fn labels(batch: u64) -> Vec<u32> {
    hashed::unit(&format!("labels.{batch}")).take(SHAPE[0]).map(|unit| (CLASSES as f64 * unit) as u32).collect()
}

/// Everything that the fixture has, computed on a backend.
fn compute(executor: Executor, fixture: &Fixture) -> Quantities {
    let mut session = session(executor);
    let mut trainer = Trainer::new(Sgd { lr: 0.001, momentum: 0.9, nesterov: false, weight_decay: 1e-4 });
    let mut found = BTreeMap::new();
    let logits =
        |session: &mut Session| session.forward_f64(Images { data: &images(0), shape: SHAPE }, false).unwrap().data;
    found.insert("logits.before".to_owned(), logits(&mut session));
    let mut losses = Vec::new();
    for (step, &batch) in fixture.batches.iter().enumerate() {
        let images = Images { data: &images(batch), shape: SHAPE };
        losses.push(trainer.step(&mut session, images, &labels(batch)).unwrap().loss());
        if step == 0 {
            found.extend(gradients(&session, &trainer));
        }
    }
    found.insert("losses".to_owned(), losses);
    found.insert("logits.after".to_owned(), logits(&mut session));
    for (name, tensor) in session.state_dict_f64().unwrap() {
        let key = format!("running.{name}");
        if fixture.exact.contains_key(&key) {
            found.insert(key, hashed::sample(&name, &tensor.data));
        }
    }
    found
}

fn gradients(session: &Session, trainer: &Trainer) -> Quantities {
    let gradients = trainer.gradients_f64(session).unwrap();
    let all: Vec<f64> = gradients.iter().flat_map(|(_, gradient)| gradient.data.iter().copied()).collect();
    let lasting = gradients.iter().filter(|(name, _)| !vanishes(name));
    let mut found = BTreeMap::from([
        ("gradient_scale".to_owned(), vec![norm(&all) / (all.len() as f64).sqrt()]),
        ("gradient_norms".to_owned(), lasting.map(|(_, gradient)| norm(&gradient.data)).collect()),
    ]);
    found.extend(
        gradients.iter().map(|(name, gradient)| (format!("gradient.{name}"), hashed::sample(name, &gradient.data))),
    );
    found
}

/// Asserts that every distance is within its bound, and names those that are not.
fn assert_within(backend: &str, distances: &BTreeMap<String, f64>, bound: impl Fn(&str) -> f64) {
    let beyond = distances.iter().filter(|(name, &distance)| distance.is_nan() || distance > bound(name));
    let list: Vec<String> =
        beyond.map(|(name, distance)| format!("{name}: {distance:.2e} > {:.2e}", bound(name))).collect();
    assert!(list.is_empty(), "{backend}, {} of {} beyond:\n{}", list.len(), distances.len(), list.join("\n"));
}

#[test]
fn the_hash_is_that_of_the_script() {
    // First entries as tools/pytorch_fixtures.py draws them.
    assert_eq!(hashed::bits("fc.weight").take(2).collect::<Vec<_>>(), [0x7c11_bf81_bc00_4eca, 0xdf4d_10f6_a2a6_cf39]);
    assert_eq!(hashed::unit("images.0").next(), Some(0.6517858458379355));
}

#[test]
fn the_reference_in_f64_computes_what_pytorch_does() {
    let fixture = Fixture::read();
    let distances = fixture.distances(&compute(Executor::ReferenceF64, &fixture));
    assert_within("reference f64", &distances, |_| 1e-10);
}

#[test]
fn the_reference_rounds_no_worse_than_four_times_pytorch_f32() {
    let fixture = Fixture::read();
    let distances = fixture.distances(&compute(Executor::ReferenceF32, &fixture));
    assert_within("reference f32", &distances, |name| 4.0 * fixture.own[name]);
}

#[test]
fn the_cpu_rounds_no_worse_than_four_times_pytorch_f32() {
    let fixture = Fixture::read();
    for isa in Isa::available() {
        let distances = fixture.distances(&compute(Executor::cpu_with(2, isa).unwrap(), &fixture));
        assert_within(isa.name(), &distances, |name| 4.0 * fixture.own[name]);
        assert!(distances["logits.before"] <= 1e-4, "{}: {}", isa.name(), distances["logits.before"]);
    }
}
