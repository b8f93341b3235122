//! What a GPU does as captured is what it does step by step; what lives with the weights; groups of parameters; cancelled calls.

use super::*;
use crate::cancel::CancelFlag;
use crate::model::block::basic;
use crate::model::resnet::{resnet, ResNetOptions, Stage};
use crate::model::Child;
use crate::plan::{List, Plan};
use crate::train::{Group, Kind, Optimizer, ParameterSettings, Sgd, Trainer, UpdateConfig};
use resnet_ops::Precision;

fn on(executor: Executor) -> Session {
    let arch = vec![Stage { num_residuals: 1, num_channels: 8 }, Stage { num_residuals: 1, num_channels: 12 }];
    let network = resnet(&ResNetOptions { arch, num_classes: 5, ..ResNetOptions::default() }).unwrap();
    Session::on(network, executor, 1)
}

fn on_gpu() -> Option<Session> {
    Executor::cuda_for_tests(Precision::Fp32).map(on)
}

fn images(n: usize, step: usize) -> Vec<f32> {
    (0..n * 3 * 16 * 16).map(|i| ((i * 7 + step * 13) % 23) as f32 / 23.0).collect()
}

/// Losses and weights of steps of so many images each; `before` is done before each.
fn trained(batches: &[usize], mut before: impl FnMut(&mut Session, usize)) -> Option<(Vec<f64>, Named)> {
    let mut session = on_gpu()?;
    let mut trainer = Trainer::new(Optimizer::Sgd(Sgd {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    }));
    let labels = [0, 1, 2, 3, 4, 0];
    let mut step = |(index, &n): (usize, &usize)| {
        before(&mut session, index);
        let data = images(n, index);
        trainer.step(&mut session, Images { data: &data, shape: [n, 3, 16, 16] }, &labels[..n]).unwrap().loss()
    };
    let losses = batches.iter().enumerate().map(&mut step).collect();
    Some((losses, session.state_dict().unwrap()))
}

fn captured(session: &mut Session) -> bool {
    // The list of preparations is empty where weights change from step to step.
    let captured = &session.engine.slots().captured;
    [List::Forward, List::Backward, List::Statistics].iter().all(|&list| captured.has(&Mode::TRAIN, list))
}

#[test]
fn a_gpu_does_captured_steps_as_it_does_others() {
    let batches = [4, 4, 4, 2, 4, 4, 6, 6, 6];
    let mut seen = Vec::new();
    let Some(repeated) = trained(&batches, |session, _| seen.push(captured(session))) else { return };
    // Six images want more room, and another plan.
    assert_eq!(seen, [false, false, true, true, true, true, true, false, true]);
    let walked = trained(&batches, |session, _| {
        session.engine.slots().forget();
    });
    assert!(walked.unwrap() == repeated);
}

fn plain_sgd() -> Trainer {
    let (lr, momentum, dampening, nesterov, weight_decay) = (0.1, 0.0, 0.0, false, 0.0);
    Trainer::new(Optimizer::Sgd(Sgd { lr, momentum, dampening, nesterov, weight_decay }))
}

#[test]
fn a_list_without_instructions_is_not_captured() {
    let linear = Layer::Linear { out_features: 5, bias: true, init: Default::default() };
    let children = [("pool", Layer::GlobalAvgPool2d), ("fc", linear)].map(|(name, layer)| Child::new(name, layer));
    let Some(gpu) = Executor::cuda_for_tests(Precision::Fp32) else { return };
    let mut session = Session::on(Layer::sequential(children.into()), gpu, 1);
    let mut trainer = plain_sgd();
    for step in 0..3 {
        let data = images(2, step);
        trainer.step(&mut session, Images { data: &data, shape: [2, 3, 16, 16] }, &[1, 2]).unwrap();
    }
    let captured = &session.engine.slots().captured;
    let lists = [List::Forward, List::Backward, List::Statistics, List::Pack];
    assert_eq!(lists.map(|list| captured.has(&Mode::TRAIN, list)), [true, true, false, false]);
}

#[test]
fn captured_graphs_see_what_happens_to_weights_and_room_between_steps() {
    let disturb = |session: &mut Session, step: usize| match step {
        3 => {
            let data = images(6, 0);
            for _ in 0..3 {
                session.forward::<f32>(Images { data: &data, shape: [6, 3, 16, 16] }, false).unwrap();
            }
        }
        4 => {
            let built = session.built.as_mut().unwrap();
            let [parameters, running] = built.weights.values().unwrap();
            let (halved, running) =
                (parameters.iter().map(|value| value / 2.0).collect::<Vec<_>>(), running.into_owned());
            built.weights.set(&halved, &running).unwrap();
        }
        5 => {
            // As after a larger plan could not get all its room.
            let (params, input) = (&session.built.as_ref().unwrap().params, Shape::map(3, 16, 16));
            let larger =
                Plan::new(session.engine.executor(), &session.network, params, input, 64, Mode::TRAIN).unwrap();
            session.engine.reserve(&larger).unwrap();
        }
        _ => {}
    };
    let Some(repeated) = trained(&[4; 8], disturb) else { return };
    let walked = trained(&[4; 8], |session, step| {
        disturb(session, step);
        session.engine.slots().forget();
    });
    assert!(walked.unwrap() == repeated);
}

#[test]
fn a_plan_is_not_done_as_the_one_before_it() {
    let (Some(mut session), Some(mut fresh)) = (on_gpu(), on_gpu()) else { return };
    let forward = |session: &mut Session, size: usize| {
        let data: Vec<f32> = images(4, 0)[..4 * 3 * size * size].to_vec();
        session.forward::<f32>(Images { data: &data, shape: [4, 3, size, size] }, true).unwrap()
    };
    for _ in 0..3 {
        forward(&mut session, 16);
    }
    assert_eq!(forward(&mut session, 12), forward(&mut fresh, 12));
}

/// The counter of updates is the weights': dropout goes on from it, with batch norms or without.
#[test]
fn updates_are_counted_on_from_a_file() {
    let linear = || Layer::Linear { out_features: 5, bias: true, init: Default::default() };
    let norm = Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init: false };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let step = |session: &mut Session, step: usize| {
        let mut trainer = plain_sgd();
        let data = images(4, step);
        trainer.step(session, Images { data: &data, shape: [4, 3, 16, 16] }, &[0, 1, 2, 3]).unwrap().loss()
    };
    for first in [norm, Layer::Relu] {
        let layers = [first, Layer::GlobalAvgPool2d, Layer::Dropout { p: 0.5 }, linear()];
        let children = (0..).zip(layers).map(|(i, layer): (i32, _)| Child::new(i.to_string(), layer)).collect();
        let network = Layer::sequential(children);
        let mut whole = Session::on(network.clone(), Executor::cpu(1).unwrap(), 7);
        for number in 0..2 {
            step(&mut whole, number);
        }
        whole.save(&path).unwrap();
        let cpu = Compute { device: Device::Cpu, ..Compute::default() };
        let mut loaded = Session::load(&path, cpu, &Cancel::default()).unwrap();
        let mut taken = Session::on(network, Executor::cpu(1).unwrap(), 7);
        taken.load_weights(&path, &LoadOptions::default()).unwrap();
        let expected = step(&mut whole, 2);
        assert_eq!([step(&mut loaded, 2), step(&mut taken, 2)], [expected; 2]);
        // Weights that lose the count would drop what the first step dropped.
        taken.built_mut().unwrap().weights.updates = 0;
        assert_ne!(step(&mut taken, 3), step(&mut whole, 3));
        loaded.save(&path).unwrap();
        assert_eq!(state_dict::read(&path, &Cancel::default()).unwrap().updates, 3);
    }
}

/// Or each step would look through all weights.
#[test]
fn other_weights_take_back_what_an_update_has_noted() {
    let network = Layer::sequential(vec![Child::new("pool", Layer::GlobalAvgPool2d)]);
    let mut session = Session::on(network, Executor::cpu(1).unwrap(), 1);
    session.build(3).unwrap();
    let weights = &mut session.built_mut().unwrap().weights;
    weights.non_finite.write(&[1f32]).unwrap();
    weights.set(&[], &[]).unwrap();
    assert_eq!(weights.non_finite.read::<f32>(0..1).unwrap(), [0.0]);
}

#[test]
fn groups_have_settings_of_their_own() {
    let trained = |groups| {
        let network =
            Layer::sequential(vec![Child::new("block", basic(3, true, 1)), Child::new("pool", Layer::GlobalAvgPool2d)]);
        let mut session = Session::on(network, Executor::cpu(1).unwrap(), 1);
        session.build(3).unwrap();
        let before = session.state_dict::<f32>().unwrap();
        let optimizer =
            Optimizer::Sgd(Sgd { lr: 0.1, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 0.5 });
        let parameters = ParameterSettings { groups, ..Default::default() };
        let mut trainer = Trainer::new(UpdateConfig { parameters, ..optimizer.into() });
        for number in 0..3 {
            let data = images(4, number);
            trainer.step(&mut session, Images { data: &data, shape: [4, 3, 16, 16] }, &[0, 1, 2, 0]).unwrap();
        }
        (before, session.state_dict::<f32>().unwrap())
    };
    let (_, plain) = trained(vec![]);
    let (before, grouped) = trained(vec![
        Group { layers: vec!["block.conv1".into()], frozen: true, ..Default::default() },
        Group { layers: vec!["*.bn1".into()], roles: vec![Kind::Norm], weight_decay: Some(0.0), ..Default::default() },
    ]);
    let (_, same) = trained(vec![Group { roles: vec![Kind::Bias], weight_decay: Some(0.5), ..Default::default() }]);
    assert_eq!(same, plain, "a group with the optimiser's settings changes nothing");
    for ((name, before), ((_, plain), (_, grouped))) in before.iter().zip(plain.iter().zip(&grouped)) {
        match name.as_str() {
            "block.conv1.weight" | "block.conv1.bias" => assert_eq!(grouped, before, "{name} is frozen"),
            // Decay alone pulls γ from 1 towards 0 by a tenth and more.
            "block.bn1.weight" => assert!(grouped.data[0] > plain.data[0] + 0.05, "{name} does not decay"),
            _ => assert_ne!(grouped, before, "{name} is trained"),
        }
    }
}

#[test]
fn a_call_that_is_cancelled_leaves_whole_steps() {
    let on_cpu = || Some(on(Executor::cpu(2).unwrap()));
    let (data, labels) = (images(6, 0), [0, 1, 2, 3, 4, 0]);
    let batch = || Images { data: &data, shape: [6, 3, 16, 16] };
    for make in [&on_cpu as &dyn Fn() -> Option<Session>, &on_gpu] {
        let Some(mut session) = make() else { continue };
        let mut trainer = Trainer::new(Optimizer::Sgd(Sgd {
            lr: 0.1,
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }));
        trainer.step(&mut session, batch(), &labels).unwrap();
        let mut cancelled = [0; 2];
        // At each place where the calls look, until they look at no more.
        for looks in 0.. {
            let before = session.state_dict::<f32>().unwrap();
            session.cancelled_by(Cancel::after_looks(looks));
            let results = [
                session.forward::<f32>(batch(), false).map(drop),
                trainer.step(&mut session, batch(), &labels).map(drop),
            ];
            session.cancelled_by(Cancel::default());
            let after = session.state_dict::<f32>().unwrap();
            match &results[1] {
                Ok(()) => assert_ne!(after, before),
                Err(error) => assert_eq!((error.code, &after), (Code::Aborted, &before)),
            }
            for (cancelled, result) in cancelled.iter_mut().zip(&results) {
                *cancelled += usize::from(result.is_err());
            }
            let mut same = make().unwrap();
            same.build(3).unwrap();
            let [parameters, running] = session.built().unwrap().weights.values().unwrap();
            same.built_mut().unwrap().weights.set(&parameters, &running).unwrap();
            assert_eq!(session.forward::<f32>(batch(), false).unwrap(), same.forward::<f32>(batch(), false).unwrap());
            if results.iter().all(Result::is_ok) {
                break;
            }
        }
        let [forwards, steps] = cancelled;
        assert!(forwards > 5 && steps > forwards + 5, "{forwards} passes and {steps} steps were cancelled");
    }
}

#[test]
fn what_is_cancelled_before_it_begins_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let network = Layer::sequential(vec![Child::new("block", basic(3, true, 1))]);
    let mut session = Session::on(network, Executor::cpu(1).unwrap(), 1);
    session.build(3).unwrap();
    session.save(&path).unwrap();
    let (saved, weights) = (std::fs::read(&path).unwrap(), session.state_dict::<f32>().unwrap());
    let flag = CancelFlag::default();
    flag.raise();
    let cancel = Cancel::by([CancelFlag::default(), flag]);
    session.cancelled_by(cancel.clone());
    let cpu = Compute { device: Device::Cpu, ..Compute::default() };
    let codes = [
        session.save(&path).unwrap_err().code,
        session.load_weights(&path, &LoadOptions::default()).unwrap_err().code,
        Session::load(&path, cpu, &cancel).err().unwrap().code,
    ];
    assert_eq!(codes, [Code::Aborted; 3]);
    assert_eq!((std::fs::read(&path).unwrap(), session.state_dict().unwrap()), (saved, weights));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}
