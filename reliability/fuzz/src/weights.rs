//! What is done with weights of any format.

use crate::{file, refused, within, MIB};
use resnet_core::cancel::Cancel;
use resnet_core::device::{Compute, Device};
use resnet_core::model::layer::Init;
use resnet_core::model::{Child, Layer};
use resnet_core::session::{LoadOptions, Session};
use resnet_core::state_dict::read;
use resnet_core::Code;
use resnet_ops::Executor;
use std::path::Path;

/// A network with the layers that files have weights of.
pub fn network() -> Layer {
    let conv = Layer::Conv2d {
        out_channels: 2,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        groups: 1,
        bias: false,
        init: Init::default(),
    };
    let norm = Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init: false };
    let head = Layer::Linear { out_features: 4, bias: true, init: Init::default() };
    Layer::sequential(vec![
        Child::new("conv1", conv),
        Child::new("bn1", norm),
        Child::new("pool", Layer::GlobalAvgPool2d),
        Child::new("fc", head),
    ])
}

/// Reads a file of weights, which holds no more values than bytes; what fits a network is taken by it and comes back out of a file of ours.
pub fn weights(bytes: &[u8]) {
    let path = file("weights", bytes);
    within(4 * MIB + 200 * bytes.len(), || {
        let contents = match read(&path, &Cancel::default()) {
            Ok(contents) => contents,
            Err(error) => return refused(&error, &[Code::ModelFile]),
        };
        let entries = || contents.entries.iter().chain(&contents.beside);
        for entry in entries() {
            assert_eq!(entry.shape.iter().product::<usize>(), entry.data.len(), "{}", entry.name);
        }
        assert!(entries().map(|entry| entry.data.len()).sum::<usize>() <= bytes.len());
        let mut session = Session::on(network(), Executor::cpu(1).expect("a processor"), 0);
        let options = LoadOptions { strict: false, ..LoadOptions::default() };
        match session.load_weights(&path, &options) {
            Ok(_) => drop(comes_back(&session)),
            Err(error) => refused(&error, &[Code::StateDict, Code::NonFiniteWeights, Code::Shape]),
        }
    });
}

/// Saves a model and asserts that the same is loaded.
pub fn comes_back(session: &Session) -> Session {
    let path = Path::new("saved");
    session.save(path).expect("a model that can be saved");
    let compute = Compute { device: Device::Cpu, threads: Some(1), ..Compute::default() };
    let loaded = Session::load(path, compute, &Cancel::default()).expect("what was saved");
    assert!(loaded.network() == session.network() && loaded.interface() == session.interface());
    assert_eq!(loaded.state_dict::<f32>().unwrap(), session.state_dict::<f32>().unwrap());
    loaded
}
