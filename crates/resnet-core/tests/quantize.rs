//! Quantised networks: near the ones they were made of, the same after a file, and never trained.

use resnet_core::cancel::{Cancel, CancelFlag};
use resnet_core::data::{Dataset, Pixels};
use resnet_core::device::Compute;
use resnet_core::model::layer::{Child, Init, Layer};
use resnet_core::model::resnet::resnet;
use resnet_core::model::zoo::preset;
use resnet_core::session::{Images, LoadOptions, NewHead};
use resnet_core::train::{Optimizer, Sgd, Trainer};
use resnet_core::{Code, Session};
use resnet_ops::{Algorithm, Executor, Int8Products, Precision};

const SIZE: usize = 16;
const SGD: Sgd = Sgd { lr: 0.02, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 };

/// Bytes are multiplied on every machine, by the model where there is nothing faster.
fn cpu(threads: usize) -> Executor {
    let products = Int8Products::available().pop().expect("the model");
    Executor::cpu(threads).unwrap().with_convolution(Algorithm::Int8(products))
}

fn pixels(n: usize) -> Vec<f32> {
    (0..n * SIZE * SIZE).map(|i| ((i * 37 + i / 251 * 11) % 256) as f32 / 255.0).collect()
}

fn data(n: usize) -> Dataset {
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 10).collect();
    Dataset::from_arrays(Pixels::F32(pixels(n)), [n, 1, SIZE, SIZE], labels, None).unwrap()
}

/// A network after some steps, so that its norms have statistics.
fn trained(executor: Executor) -> Session {
    let mut session = Session::on(resnet(&preset("resnet18").unwrap()).unwrap(), executor, 3);
    let mut trainer = Trainer::new(Optimizer::Sgd(SGD));
    let (pixels, labels) = (pixels(8), [0, 1, 2, 3, 4, 5, 6, 7]);
    for _ in 0..6 {
        trainer.step(&mut session, Images { data: &pixels, shape: [8, 1, SIZE, SIZE] }, &labels).unwrap();
    }
    session
}

fn logits(session: &mut Session) -> Vec<f32> {
    session.forward(Images { data: &pixels(6), shape: [6, 1, SIZE, SIZE] }, false).unwrap().data
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    (difference / square(&mut expected.iter().copied())).sqrt()
}

#[test]
fn a_quantised_network_is_near_and_a_file_keeps_it_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, bytes] = ["whole", "bytes"].map(|name| folder.path().join(name));
    let mut session = trained(cpu(1));
    let before = logits(&mut session);
    session.save(&whole).unwrap();
    let quantized = session.quantize(&data(40), 64).unwrap();
    // All but the first, which reads the images.
    assert_eq!((quantized.convolutions, quantized.images), (19, 40));
    let after = logits(&mut session);
    let far = distance(&after, &before);
    assert!(far > 0.0 && far < 0.05, "{far}");

    session.save(&bytes).unwrap();
    let sizes = [&whole, &bytes].map(|path| path.metadata().unwrap().len());
    assert!(sizes[1] * 39 < sizes[0] * 10, "{sizes:?}");
    for threads in [1, 2] {
        let compute = Compute { threads: Some(threads), ..Compute::default() };
        let mut loaded = Session::load(&bytes, compute, &Cancel::default()).unwrap();
        assert!(loaded.is_quantized());
        assert_eq!(loaded.state_dict::<f32>().unwrap(), session.state_dict::<f32>().unwrap());
        if Executor::cpu(1).unwrap().int8_products().is_none() {
            let far = distance(&logits(&mut loaded), &before);
            assert!(far > 0.0 && far < 0.03, "weights alone are rounded: {far}");
        }
        loaded.save(&folder.path().join("again")).unwrap();
        assert_eq!(std::fs::read(&bytes).unwrap(), std::fs::read(folder.path().join("again")).unwrap());
    }
    let mut other = Session::on(session.network().clone(), cpu(2), 4);
    other.load_weights(&bytes, &LoadOptions::default()).unwrap();
    assert_eq!(
        other.state_dict::<f32>().unwrap(),
        session.state_dict::<f32>().unwrap(),
        "weights of bytes are weights"
    );
    assert!(!other.is_quantized());
    other.load_weights(&whole, &LoadOptions::default()).unwrap();
    other.quantize(&data(40), 64).unwrap();
    assert_eq!(logits(&mut other), after, "the same on another number of threads");
}

#[test]
fn weights_of_a_quantised_network_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let mut session = trained(cpu(1));
    session.save(&path).unwrap();
    session.quantize(&data(8), 8).unwrap();
    let expected = logits(&mut session);
    let mut trainer = Trainer::new(Optimizer::Sgd(SGD));
    let pixels = pixels(2);
    let step = trainer.step(&mut session, Images { data: &pixels, shape: [2, 1, SIZE, SIZE] }, &[0, 1]);
    let errors = [
        step.unwrap_err(),
        session.quantize(&data(8), 8).unwrap_err(),
        session.load_weights(&path, &LoadOptions::default()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code, Code::InvalidArgument);
        assert!(error.message.contains("expected one that is not quantised"), "{error}");
    }
    assert_eq!(logits(&mut session), expected);
    session.save(&path).unwrap();
    // With another head it is a network as any other, which goes on from rounded weights.
    let head = NewHead { num_classes: 3, seed: None };
    let mut tuned = Session::load_with_head(&path, Compute::default(), head, &Cancel::default()).unwrap();
    assert!(!tuned.is_quantized());
    let mut trainer = Trainer::new(Optimizer::Sgd(SGD));
    trainer.step(&mut tuned, Images { data: &pixels, shape: [2, 1, SIZE, SIZE] }, &[0, 1]).unwrap();
}

#[test]
fn what_fails_changes_nothing() {
    let mut session = trained(cpu(1));
    let expected = logits(&mut session);
    let mut spoiled = pixels(8);
    spoiled[3 * SIZE * SIZE..4 * SIZE * SIZE].fill(f32::MAX);
    let spoiled = Dataset::from_arrays(Pixels::F32(spoiled), [8, 1, SIZE, SIZE], vec![0; 8], None).unwrap();
    assert_eq!(session.quantize(&spoiled, 8).unwrap_err().code, Code::NonFiniteLoss);
    let flag = CancelFlag::default();
    flag.raise();
    let before = session.cancelled_by(Cancel::by([flag]));
    assert_eq!(session.quantize(&data(64), 64).unwrap_err().code, Code::Aborted);
    session.cancelled_by(before);
    let colours = Dataset::from_arrays(Pixels::F32(vec![0.0; 2 * 3 * 64]), [2, 3, 8, 8], vec![0; 2], None).unwrap();
    assert_eq!(session.quantize(&colours, 8).unwrap_err().code, Code::Shape);
    assert_eq!(session.quantize(&data(8), 0).unwrap_err().code, Code::InvalidArgument);
    assert!(!session.is_quantized());
    assert_eq!(logits(&mut session), expected);
    assert_eq!(session.quantize(&data(40), 35).unwrap().images, 35);
    let mut wrong = pixels(2);
    wrong[7] = f32::NAN;
    let error = session.forward::<f32>(Images { data: &wrong, shape: [2, 1, SIZE, SIZE] }, false).unwrap_err();
    assert_eq!(error.message, "images[7]: expected a finite number, got NaN", "bytes would hide it");
}

#[test]
fn weights_that_are_not_finite_do_not_become_bytes() {
    let mut session = trained(cpu(1));
    let mut trainer = Trainer::new(Optimizer::Sgd(Sgd { lr: 1e38, ..SGD }));
    let pixels = pixels(8);
    for _ in 0..3 {
        let _ = trainer.step(&mut session, Images { data: &pixels, shape: [8, 1, SIZE, SIZE] }, &[0; 8]);
    }
    assert_eq!(session.quantize(&data(8), 8).unwrap_err().code, Code::NonFiniteWeights);
    assert!(!session.is_quantized());
}

/// Backends that multiply no bytes compute with the rounded weights.
#[test]
fn every_backend_can_be_quantised() {
    let values: Vec<f32> = (0..4 * 8 * 36).map(|i| (i as f32 * 0.37).sin()).collect();
    let data = Dataset::from_arrays(Pixels::F32(values.clone()), [4, 8, 6, 6], vec![0; 4], None).unwrap();
    let head = Layer::Linear { out_features: 3, bias: true, init: Init::default() };
    let conv = |out_channels: usize, size: usize, stride: usize| {
        let (kernel, stride, padding) = ([size; 2], [stride; 2], [size / 2; 2]);
        Layer::Conv2d { out_channels, kernel, stride, padding, groups: 1, bias: true, init: Init::default() }
    };
    let layers =
        [conv(16, 3, 1), Layer::Relu, conv(24, 3, 2), Layer::Silu, conv(8, 1, 1), Layer::GlobalAvgPool2d, head];
    let children = layers.into_iter().enumerate().map(|(index, layer)| Child::new(index.to_string(), layer));
    let network = Layer::sequential(children.collect());
    let quantised = |executor: Executor| {
        let mut session = Session::on(network.clone(), executor, 1);
        assert_eq!(session.quantize(&data, 4).unwrap().convolutions, 3);
        let images = Images { data: &values, shape: [4, 8, 6, 6] };
        (session.forward::<f32>(images, false).unwrap().data, session.state_dict::<f32>().unwrap())
    };
    let (expected, weights) = quantised(Executor::ReferenceF64);
    for executor in [Some(Executor::ReferenceF32), Some(cpu(1)), Executor::cuda_for_tests(Precision::Fp32)] {
        let Some(executor) = executor else { continue };
        let (found, same) = quantised(executor);
        assert_eq!(same, weights);
        assert!(distance(&found, &expected) < 0.03, "{}", distance(&found, &expected));
    }
}

/// Outputs of a picture alone are those of it among others, but for the rounding of what is left in f32.
#[test]
fn batches_of_any_size_follow_each_other() {
    let mut session = trained(Executor::cpu(2).unwrap());
    let pixels = pixels(40);
    let images = |n: usize| Images { data: &pixels[..n * SIZE * SIZE], shape: [n, 1, SIZE, SIZE] };
    session.quantize(&data(40), 40).unwrap();
    let expected = session.forward::<f32>(images(40), false).unwrap().data;
    for n in [1, 40, 2, 3, 1, 8, 5, 33] {
        let found = session.forward::<f32>(images(n), false).unwrap().data;
        assert!(distance(&found, &expected[..found.len()]) < 1e-5, "{n} images");
    }
}

#[test]
fn gradients_of_values_are_those_of_rounded_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let mut session = trained(cpu(1));
    session.quantize(&data(8), 8).unwrap();
    session.save(&path).unwrap();
    let mut plain = Session::on(session.network().clone(), cpu(1), 0);
    plain.load_weights(&path, &LoadOptions::default()).unwrap();
    let of = |session: &mut Session| {
        session.sensitivity::<f32>(Images { data: &pixels(2), shape: [2, 1, SIZE, SIZE] }, "layer4", &[1, 2]).unwrap()
    };
    assert_eq!(of(&mut session), of(&mut plain));
}
