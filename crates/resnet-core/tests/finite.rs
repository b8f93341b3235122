//! NaN and infinity in whole networks, on every backend: which step says so, what becomes of the weights, and what is refused at the
//! door.

use resnet_core::data::{Augment, Dataset, Pixels};
use resnet_core::device::{Compute, Device};
use resnet_core::distributed::Alone;
use resnet_core::model::layer::{Child, Init, Layer};
use resnet_core::model::resnet::{resnet, ResNetOptions, Stage};
use resnet_core::session::{Images, LoadOptions, Session};
use resnet_core::train::{fit, move_to, Control, Event, FitConfig, Flow, Loss, Optimizer, Sgd, Trainer};
use resnet_core::{Code, Error};
use resnet_ops::{Executor, Precision};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

const SGD: Sgd = Sgd { lr: 0.05, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };

/// Hands on what makes a session of a network, for each backend.
fn on_each(check: impl Fn(&dyn Fn(Layer) -> Session)) {
    let gpu = |precision| move || Executor::cuda_for_tests(precision);
    let (fp32, bf16) = (gpu(Precision::Fp32), gpu(Precision::Bf16));
    let backends: [&dyn Fn() -> Option<Executor>; 5] = [
        &|| Some(Executor::ReferenceF32),
        &|| Some(Executor::cpu(1).unwrap()),
        &|| Some(Executor::cpu(2).unwrap()),
        &fp32,
        &bf16,
    ];
    for backend in backends.into_iter().filter(|backend| backend().is_some()) {
        check(&|network| Session::on(network, backend().unwrap(), 0));
    }
}

fn normed() -> Layer {
    let arch = vec![Stage { num_residuals: 1, num_channels: 8 }];
    resnet(&ResNetOptions { arch, num_classes: 2, ..Default::default() }).unwrap()
}

/// Without norms, which take large values back.
fn plain() -> Layer {
    let linear = |out_features| Layer::Linear { out_features, bias: true, init: Init::default() };
    Layer::sequential(vec![
        Child::new("pool", Layer::GlobalAvgPool2d),
        Child::new("fc1", linear(3)),
        Child::new("fc2", linear(2)),
    ])
}

/// Writes a file of weights for it.
fn write(path: &Path, dtype: Dtype, value: impl Fn(&str, usize) -> f64) {
    let shapes: [(&str, &[usize]); 4] =
        [("fc1.weight", &[3, 1]), ("fc1.bias", &[3]), ("fc2.weight", &[2, 3]), ("fc2.bias", &[2])];
    let tensors = shapes.map(|(name, shape)| {
        let values = (0..shape.iter().product()).map(|i| value(name, i));
        let bytes: Vec<u8> = match dtype == Dtype::F64 {
            true => values.flat_map(f64::to_le_bytes).collect(),
            false => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
        };
        (name, shape.to_vec(), bytes)
    });
    let views =
        tensors.iter().map(|(name, shape, bytes)| (*name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Images of 8x8 pixels, the last one with another number in each.
fn pixels(count: usize, last: f32) -> Vec<f32> {
    let pixel = |i: usize| if i / 64 + 1 == count { last } else { (i * 7 % 23) as f32 / 23.0 };
    (0..count * 64).map(pixel).collect()
}

fn data(count: usize, last: f32) -> Dataset {
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 2).collect();
    Dataset::from_arrays(Pixels::F32(pixels(count, last)), [count, 1, 8, 8], labels, None).unwrap()
}

fn step(trainer: &mut Trainer, session: &mut Session, last: f32) -> Result<f64, Error> {
    let (data, labels) = (pixels(4, last), [0, 1, 0, 1]);
    trainer.step(session, Images { data: &data, shape: [4, 1, 8, 8] }, &labels).map(|metrics| metrics.loss())
}

/// The error of a step. On a GPU that of the next, which says that it was the one before.
fn lost(trainer: &mut Trainer, session: &mut Session, last: f32) -> Error {
    let error = match session.device() {
        Device::Cpu => step(trainer, session, last).unwrap_err(),
        Device::Auto | Device::Cuda(_) => {
            step(trainer, session, last).unwrap();
            let mut error = step(trainer, session, 0.5).unwrap_err();
            assert!(error.message.contains(" before this step; "), "{error}");
            error.message = error.message.replace("before this step", "after this step");
            error
        }
    };
    assert_eq!(error.code, Code::NonFiniteWeights, "{error}");
    error
}

struct Listener<'a>(Vec<(usize, usize)>, Option<&'a Path>);

impl Control for Listener<'_> {
    fn on_event(&mut self, session: &mut Session, event: &Event) -> Flow {
        match event {
            Event::Step { epoch, step, loss, .. } => {
                assert!(loss.is_finite());
                self.0.push((*epoch, *step));
            }
            Event::EpochEnd(_) => self.1.iter().for_each(|path| session.save(path).unwrap()),
            Event::EpochBegin { .. } | Event::Validation { .. } | Event::Evaluated { .. } => {}
            Event::Best(_) | Event::StoppedEarly | Event::Checkpoint { .. } | Event::Resumed { .. } => {}
        }
        Flow::Continue
    }
}

fn config(sgd: Sgd, epochs: usize) -> FitConfig {
    let optimizer = Optimizer::Sgd(sgd);
    let parameters = Default::default();
    let (batch_size, seed, shuffle, drop_last) = (2, None, false, false);
    FitConfig {
        epochs,
        batch_size,
        optimizer,
        parameters,
        clip: None,
        accumulate: 1,
        schedule: None,
        seed,
        shuffle,
        drop_last,
        augment: Augment::default(),
        balance: None,
        loader_threads: None,
        loss: Loss::default(),
        course: Default::default(),
        checkpoint: None,
        shards: None,
        sync_batch_norm: true,
        resume: None,
    }
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    on_each(|session| {
        let (mut session, mut trainer) = (session(normed()), Trainer::new(Optimizer::Sgd(SGD)));
        session.build(1).unwrap();
        let before = session.state_dict::<f32>().unwrap();
        for pixel in [f32::NAN, f32::INFINITY] {
            let error = step(&mut trainer, &mut session, pixel).unwrap_err();
            let message = "loss: expected a finite number, got NaN";
            assert_eq!((error.code, error.message.as_str()), (Code::NonFiniteLoss, message));
            assert_eq!(session.state_dict::<f32>().unwrap(), before);
        }
        assert!(step(&mut trainer, &mut session, 0.5).unwrap().is_finite());
    });
}

#[test]
fn a_fit_names_the_step_of_such_a_loss() {
    on_each(|session| {
        // The sum of such pixels is beyond f32.
        let (data, listener) = (data(6, 3e38), &mut Listener(vec![], None));
        let error = fit(&mut session(plain()), &data, None, &config(SGD, 2), listener, &mut Alone).unwrap_err();
        assert_eq!(error.code, Code::NonFiniteLoss);
        assert!(error.message.ends_with(" at epoch 1, step 3"), "{error}");
        assert_eq!(listener.0, [(1, 1), (1, 2)]);
    });
}

#[test]
fn statistics_beyond_f32_are_noticed_in_the_step_that_makes_them() {
    on_each(|session| {
        let (mut session, mut trainer) = (session(normed()), Trainer::new(Optimizer::Sgd(SGD)));
        step(&mut trainer, &mut session, 0.5).unwrap();
        let error = lost(&mut trainer, &mut session, 1e20);
        let message = "bn1.running_var: expected finite numbers, got Infinity after this step; these weights are lost";
        assert_eq!(error.message, message);
        // They stay lost, whoever tries.
        let error = step(&mut Trainer::new(Optimizer::Sgd(SGD)), &mut session, 0.5).unwrap_err();
        assert_eq!(error.message, message.replace("after", "before"));
        let listener = &mut Listener(vec![], None);
        let error = fit(&mut session, &data(6, 0.5), None, &config(SGD, 1), listener, &mut Alone).unwrap_err();
        assert_eq!(error.message, "bn1.running_var: expected finite numbers, got Infinity");
        assert!(listener.0.is_empty());
    });
}

#[test]
fn a_fit_names_the_step_and_a_good_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good.safetensors");
    on_each(|session| {
        let mut session = session(normed());
        let listener = &mut Listener(vec![], Some(&path));
        fit(&mut session, &data(6, 0.5), None, &config(SGD, 1), listener, &mut Alone).unwrap();
        let good = std::fs::read(&path).unwrap();
        // In the last step of an epoch, and in the middle of one.
        let first = [pixels(2, 1e20), pixels(4, 0.5)].concat();
        let first = Dataset::from_arrays(Pixels::F32(first), [6, 1, 8, 8], vec![0, 1, 0, 1, 0, 1], None).unwrap();
        for (data, step) in [(data(6, 1e20), 3), (first, 1)] {
            let error = fit(&mut session, &data, None, &config(SGD, 2), listener, &mut Alone).unwrap_err();
            let message = "bn1.running_var: expected finite numbers, got Infinity";
            let expected = format!("{message} after epoch 1, step {step}; these weights are lost");
            assert_eq!((error.code, error.message), (Code::NonFiniteWeights, expected));
            let error = session.save(&path).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::NonFiniteWeights, message));
            assert!(std::fs::read(&path).unwrap() == good);
            // From which the session goes on.
            session.load_weights(&path, &LoadOptions::default()).unwrap();
        }
        fit(&mut session, &data(6, 0.5), None, &config(SGD, 1), listener, &mut Alone).unwrap();
    });
}

#[test]
fn an_infinite_gradient_of_a_finite_loss_is_noticed_in_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("steep.safetensors");
    // Logits are 0 whatever the image; the gradient of fc1.weight is the pixels' mean times that of fc1's output, some 1e19.
    write(&path, Dtype::F32, |name, i| if name == "fc2.weight" { [1e20, -1e20][i / 3] } else { 0.0 });
    on_each(|session| {
        let (mut session, mut trainer) = (session(plain()), Trainer::new(Optimizer::Sgd(SGD)));
        session.load_weights(&path, &LoadOptions::default()).unwrap();
        let error = lost(&mut trainer, &mut session, 1e20);
        assert!(error.message.starts_with("fc1.weight: expected finite numbers, got "), "{error}");
        // They are there to be looked at; on a GPU the next step has not got as far.
        let gradients = trainer.gradients::<f32>(&session).unwrap();
        let finite = |name: &str| {
            let (_, tensor) = gradients.iter().find(|(found, _)| found == name).unwrap();
            tensor.data.iter().all(|value| value.is_finite())
        };
        assert_eq!(["fc1.weight", "fc1.bias", "fc2.bias"].map(finite), [false, true, true]);
    });
}

#[test]
fn rates_beyond_reason_are_noticed_in_the_step() {
    on_each(|session| {
        // A rate that f32 does not hold, which only Rust can ask for, and one that decay multiplies.
        for sgd in [Sgd { lr: 1e300, ..SGD }, Sgd { lr: 1e38, weight_decay: 1e38, ..SGD }] {
            for momentum in [0.0, 0.9] {
                let (mut session, sgd) = (session(normed()), Sgd { momentum, ..sgd });
                let error = lost(&mut Trainer::new(Optimizer::Sgd(sgd)), &mut session, 0.5);
                assert!(error.message.starts_with("conv1.weight: expected finite numbers, got "), "{error}");
            }
        }
    });
}

#[test]
fn a_trainer_goes_on_with_weights_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    on_each(|session| {
        // A step whose gradients are infinite, and with them what the optimiser keeps.
        let (mut session, sgd) = (session(plain()), Sgd { momentum: 0.9, ..SGD });
        let mut trainer = Trainer::new(Optimizer::Sgd(sgd));
        write(&path, Dtype::F32, |name, i| if name == "fc2.weight" { [1e20, -1e20][i / 3] } else { 0.0 });
        session.load_weights(&path, &LoadOptions::default()).unwrap();
        lost(&mut trainer, &mut session, 1e20);
        write(&path, Dtype::F32, |_, i| i as f64 / 10.0);
        session.load_weights(&path, &LoadOptions::default()).unwrap();
        for _ in 0..2 {
            step(&mut trainer, &mut session, 0.5).unwrap();
        }
        session.save(&path).unwrap();
    });
}

#[test]
fn weights_that_are_finite_and_useless_are_told_by_the_next_loss() {
    on_each(|session| {
        let sgd = Sgd { lr: 1e25, ..SGD };
        let (mut stepped, mut trainer) = (session(normed()), Trainer::new(Optimizer::Sgd(sgd)));
        step(&mut trainer, &mut stepped, 0.5).unwrap();
        let before = stepped.state_dict::<f32>().unwrap();
        assert_eq!(step(&mut trainer, &mut stepped, 0.5).unwrap_err().code, Code::NonFiniteLoss);
        assert_eq!(stepped.state_dict::<f32>().unwrap(), before);
        // After the last step of an epoch that is the validation's; without an epoch's end nobody saves.
        let (mut fitted, listener) = (session(normed()), &mut Listener(vec![], None));
        let validation = data(2, 0.5);
        let error =
            fit(&mut fitted, &data(2, 0.5), Some(&validation), &config(sgd, 3), listener, &mut Alone).unwrap_err();
        assert_eq!(error.code, Code::NonFiniteLoss);
        let [parameter, place] = ["validation loss: expected a finite number, got ", " after epoch 1"];
        assert!(error.message.starts_with(parameter) && error.message.ends_with(place), "{error}");
        assert_eq!(listener.0, [(1, 1)]);
        // An evaluation tells what it finds.
        let metrics = fitted.evaluate(&validation, 2).unwrap();
        assert!(!metrics.loss().is_finite());
    });
}

#[test]
fn what_is_lost_stays_lost_on_another_device() {
    on_each(|session| {
        let (mut session, mut trainer) = (session(normed()), Trainer::new(Optimizer::Sgd(SGD)));
        // A GPU does not tell before the next step.
        drop(step(&mut trainer, &mut session, 1e20));
        let cpu = Compute { device: Device::Cpu, ..Compute::default() };
        move_to(&mut session, cpu, [&mut trainer]).unwrap();
        let error = step(&mut trainer, &mut session, 0.5).unwrap_err();
        assert_eq!(error.code, Code::NonFiniteWeights);
        assert!(error.message.contains(" before this step; "), "{error}");
    });
}

#[test]
fn a_file_of_such_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let file =
        |weight: f64, dtype| write(&path, dtype, |name, i| if (name, i) == ("fc2.weight", 5) { weight } else { 1.0 });
    on_each(|session| {
        let mut session = session(plain());
        for (weight, dtype, got) in [
            (f64::NAN, Dtype::F32, "NaN"),
            (f64::INFINITY, Dtype::F32, "Infinity"),
            (f64::NAN, Dtype::F64, "NaN"),
            (-1e39, Dtype::F64, "-Infinity"),
        ] {
            file(weight, dtype);
            let before = session.state_dict::<f32>().ok();
            let error = session.load_weights(&path, &LoadOptions::default()).unwrap_err();
            let message = format!("fc2.weight: expected finite numbers, got {got}");
            assert_eq!((error.code, error.message), (Code::NonFiniteWeights, message));
            assert_eq!(session.state_dict::<f32>().ok(), before);
            // Of a tensor that is not taken nobody asks.
            file(1.0, dtype);
            session.load_weights(&path, &LoadOptions::default()).unwrap();
        }
    });
}
