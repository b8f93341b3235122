//! Whole networks on the CPU backend, and on the GPU's kernels, against the plain definitions in f64.

use resnet_core::model::block::{residual, Block, BlockOptions, Flavor, Shortcut};
use resnet_core::model::googlenet::{inception, Inception};
use resnet_core::model::layer::{Child, Init, Layer};
use resnet_core::model::resnet;
use resnet_core::session::{Images, LoadOptions, Session};
use resnet_core::train::{Optimizer, Sgd, Trainer};
use resnet_core::Code;
use resnet_ops::Algorithm;
use resnet_ops::{Bf16Products, Executor, Isa, Precision};

const SGD: Optimizer =
    Optimizer::Sgd(Sgd { lr: 0.05, momentum: 0.9, dampening: 0.0, nesterov: false, weight_decay: 1e-4 });

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let draw = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(draw).collect()
}

pub fn small_resnet() -> Layer {
    let stage = |num_residuals, num_channels| resnet::Stage { num_residuals, num_channels };
    let arch = vec![stage(2, 64), stage(1, 24), stage(1, 40)];
    resnet::resnet(&resnet::ResNetOptions { arch, num_classes: 7, ..Default::default() }).unwrap()
}

/// Every kind of layer, at channels that do not fill blocks; the images go to two branches and a shortcut.
pub fn every_kind() -> Layer {
    let conv = |out_channels, kernel: usize, groups| Layer::Conv2d {
        out_channels,
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: [kernel / 2; 2],
        groups,
        bias: true,
        init: Init::KaimingNormal,
    };
    let pool = |size, stride, ceil_mode| Layer::AvgPool2d {
        kernel: [size; 2],
        stride: [stride; 2],
        padding: [size / 2; 2],
        ceil_mode,
        count_include_pad: !ceil_mode,
    };
    let numbered = |layers: Vec<Layer>| -> Vec<Child> {
        layers.into_iter().enumerate().map(|(i, layer)| Child::new(i.to_string(), layer)).collect()
    };
    let identity = Layer::sequential(vec![]);
    let plain = BlockOptions::new(Block::Basic, 23);
    let bottleneck = Block::Bottleneck { groups: 3, width_per_group: 64 };
    let deeper = BlockOptions { strides: 2, shortcut: Some(Shortcut::AvgPool), ..plain };
    let options = [
        BlockOptions { pre_activation: true, ..plain },
        deeper,
        BlockOptions { pre_activation: true, flavor: Flavor::Torchvision, ..deeper },
        BlockOptions { block: bottleneck, num_channels: 5, ..deeper },
        BlockOptions {
            block: Block::ResNeXt { groups: 4, bot_mul: 0.6 },
            num_channels: 20,
            shortcut: Some(Shortcut::Conv),
            ..plain
        },
        BlockOptions { num_channels: 29, shortcut: Some(Shortcut::Pad), stochastic_depth: 0.3, ..plain },
    ];
    let concat = Layer::Concat { branches: numbered(vec![conv(20, 3, 1), identity.clone()]) };
    let mut layers = vec![concat, Layer::BatchNorm2d { eps: 1e-5, momentum: 0.1, zero_init: false }];
    layers.extend(options.iter().map(|options| residual(options).unwrap()));
    let sum = |body| Layer::Residual {
        preactivation: None,
        body: Box::new(body),
        shortcut: None,
        relu: false,
        stochastic_depth: 0.4,
    };
    layers.extend([
        inception(Inception { c1: 3, c2: [4, 17], c3: [2, 5], c4: 7 }).unwrap(),
        pool(3, 2, true),
        Layer::Silu,
        Layer::Dropout { p: 0.3 },
        sum(Layer::Concat { branches: numbered(vec![conv(20, 1, 2), conv(12, 3, 4)]) }),
        pool(3, 1, false),
        Layer::GlobalAvgPool2d,
        sum(Layer::Linear { out_features: 32, bias: false, init: Init::TorchDefault }),
        Layer::Dropout { p: 0.5 },
        Layer::Linear { out_features: 7, bias: true, init: Init::XavierUniform },
    ]);
    Layer::sequential(numbered(layers))
}

/// Logits before, losses of three steps, and all weights after them.
pub fn train(network: Layer, executor: Executor, channels: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut session = Session::on(network, executor, 3);
    let mut trainer = Trainer::new(SGD);
    let shape = [5, channels, 40, 36];
    let images = |step| numbers(shape.iter().product(), step);
    let before = session.forward::<f64>(Images { data: &images(9), shape }, false).unwrap().data;
    let losses = (0..3).map(|step| {
        trainer.step(&mut session, Images { data: &images(step), shape }, &[0, 6, 3, 2, 1]).unwrap().loss()
    });
    let losses = losses.collect();
    let after = session.state_dict::<f64>().unwrap().into_iter().flat_map(|(_, tensor)| tensor.data).collect();
    (before, losses, after)
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// The GPU's kernels, where tests are built with them.
fn gpu(precision: Precision) -> Option<Executor> {
    let executor = Executor::cuda_for_tests(precision);
    assert_eq!(executor.is_some(), cfg!(all(target_os = "linux", target_env = "gnu")));
    executor
}

/// The network trains alike on the plain definitions and on every kernel, and threads do not matter.
fn agrees(network: &Layer, channels: usize) {
    let expected = train(network.clone(), Executor::ReferenceF64, channels);
    // bf16 has 8 bits: logits are near, and the training goes the same way.
    for (precision, [logits, losses, weights]) in
        [(Precision::Fp32, [1e-5, 1e-4, 1e-4]), (Precision::Bf16, [3e-2, 0.3, 0.3])]
    {
        let Some(executor) = gpu(precision) else { continue };
        let found = train(network.clone(), executor, channels);
        let distances =
            [distance(&found.0, &expected.0), distance(&found.1, &expected.1), distance(&found.2, &expected.2)];
        assert!(
            distances[0] < logits && distances[1] < losses && distances[2] < weights,
            "GPU's kernels, {precision:?}: {distances:?}"
        );
    }
    for products in Bf16Products::available() {
        let on = |threads| Executor::cpu(threads).unwrap().with_convolution(Algorithm::Bf16(products));
        let found = train(network.clone(), on(1), channels);
        let distances =
            [distance(&found.0, &expected.0), distance(&found.1, &expected.1), distance(&found.2, &expected.2)];
        let near = distances.iter().zip([3e-2, 0.3, 0.3]).all(|(distance, most)| *distance < most);
        assert!(near, "bf16 by {}: {distances:?}", products.name());
        assert_ne!(found.1, train(network.clone(), Executor::cpu(1).unwrap(), channels).1, "nothing was rounded");
        assert_eq!(found, train(network.clone(), on(3), channels), "bf16 by {}, 3 threads", products.name());
    }
    // Where a ReLU's input is as good as zero, another rounding may pass it or not, and one weight in many moves otherwise.
    // The ops' own tests have the direct kernels on two threads, and Winograd's on three.
    for (algorithm, most, threads) in [(Algorithm::Direct, 1e-4, 3), (Algorithm::Auto, 1e-2, 2)] {
        for isa in Isa::available() {
            let on = |threads| Executor::cpu_with(threads, isa).unwrap().with_convolution(algorithm);
            let one = train(network.clone(), on(1), channels);
            assert!(distance(&one.0, &expected.0) < 1e-5, "{isa:?} logits: {}", distance(&one.0, &expected.0));
            assert!(distance(&one.1, &expected.1) < most, "{isa:?} losses: {:?} {:?}", one.1, expected.1);
            assert!(distance(&one.2, &expected.2) < most, "{isa:?} weights: {}", distance(&one.2, &expected.2));
            assert_eq!(one, train(network.clone(), on(threads), channels), "{isa:?}, {threads} threads");
        }
    }
}

#[test]
fn training_agrees_with_the_plain_definitions_and_threads_do_not_matter() {
    // One input channel is read as it comes, five are brought to blocks first.
    for channels in [1, 5] {
        agrees(&small_resnet(), channels);
    }
}

#[test]
fn so_does_a_network_of_every_kind_of_layer() {
    agrees(&every_kind(), 3);
}

#[test]
fn a_smaller_batch_runs_on_the_plan_of_a_larger_one() {
    let data = numbers(4 * 32 * 32, 1);
    let forward = |algorithm| {
        let executor = Executor::cpu(2).unwrap().with_convolution(algorithm);
        let mut session = Session::on(small_resnet(), executor, 0);
        let mut run = |n: usize| {
            session.forward::<f64>(Images { data: &data[..n * 32 * 32], shape: [n, 1, 32, 32] }, false).unwrap().data
        };
        (run(4), run(1))
    };
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        let (all, one) = forward(algorithm);
        assert_eq!(all[..7], one);
    }
    // Here the kernels depend on the batch.
    let (all, one) = forward(Algorithm::Auto);
    assert!(distance(&all[..7], &one) < 1e-6);
}

/// Evaluation goes by parts and keeps what it packed: neither the parts nor the kernels that suit a batch may show, and new
/// weights must.
#[test]
fn evaluation_follows_batches_and_weights() {
    let shape = [70, 1, 24, 24];
    let (pixels, labels) = (numbers(shape.iter().product(), 3), vec![1; 8]);
    let image = shape[2] * shape[3];
    let mut session = Session::on(small_resnet(), Executor::cpu(2).unwrap(), 1);
    let mut trainer = Trainer::new(SGD);
    let mut before = Vec::new();
    for _ in 0..2 {
        let all = session.forward::<f64>(Images { data: &pixels, shape }, false).unwrap().data;
        assert_eq!(all.len(), 70 * 7);
        for (n, first) in [(1, 69), (33, 20), (1, 0), (5, 64)] {
            let images = Images { data: &pixels[first * image..][..n * image], shape: [n, 1, 24, 24] };
            let part = session.forward::<f64>(images, false).unwrap().data;
            assert!(distance(&part, &all[first * 7..][..n * 7]) < 1e-5, "{n} images from {first}");
        }
        assert!(before.is_empty() || distance(&all, &before) > 1e-3);
        before = all;
        trainer.step(&mut session, Images { data: &pixels[..8 * image], shape: [8, 1, 24, 24] }, &labels).unwrap();
    }
}

#[test]
fn a_block_with_its_last_weights_at_zero_is_the_identity_on_what_a_relu_gave() {
    let network = residual(&BlockOptions::new(Block::Basic, 6)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zero.safetensors");
    let zeros = [0u8; 6 * 4];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![6], &zeros).unwrap();
    safetensors::serialize_to_file([("bn2.weight", view)], None, &path).unwrap();
    let x: Vec<f32> = numbers(2 * 6 * 5 * 7, 4).into_iter().map(|x| (x - 0.5).max(0.0)).collect();
    for executor in [Executor::ReferenceF64, Executor::cpu(2).unwrap()] {
        let mut session = Session::on(network.clone(), executor, 1);
        session.build(6).unwrap();
        session.load_weights(&path, &LoadOptions { strict: false, ..LoadOptions::default() }).unwrap();
        for training in [false, true] {
            let y = session.forward::<f32>(Images { data: &x, shape: [2, 6, 5, 7] }, training).unwrap();
            assert_eq!(y.data, x);
        }
    }
}

#[test]
fn the_same_value_may_be_added_to_itself() {
    let body = Layer::Sequential { children: vec![] };
    let twice = Layer::Residual {
        preactivation: None,
        body: Box::new(body),
        shortcut: None,
        relu: true,
        stochastic_depth: 0.0,
    };
    let layers = vec![
        Child::new(
            "conv",
            Layer::Conv2d {
                out_channels: 4,
                kernel: [1, 1],
                stride: [1, 1],
                padding: [0, 0],
                groups: 1,
                bias: true,
                init: Init::default(),
            },
        ),
        Child::new("twice", twice),
        Child::new("pool", Layer::GlobalAvgPool2d),
    ];
    let network = Layer::sequential(layers);
    let gradients = |executor| {
        let mut session = Session::on(network.clone(), executor, 1);
        let mut trainer = Trainer::new(SGD);
        let data = numbers(2 * 3 * 4 * 4, 2);
        trainer.step(&mut session, Images { data: &data, shape: [2, 3, 4, 4] }, &[0, 3]).unwrap();
        trainer.gradients::<f64>(&session).unwrap().into_iter().flat_map(|(_, tensor)| tensor.data).collect::<Vec<_>>()
    };
    let expected = gradients(Executor::ReferenceF64);
    assert!(expected.iter().any(|&gradient| gradient != 0.0));
    assert!(distance(&gradients(Executor::cpu(2).unwrap()), &expected) < 1e-5);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut session = Session::on(small_resnet(), Executor::cpu(2).unwrap(), 0);
    let mut trainer = Trainer::new(SGD);
    let data = numbers(2 * 32 * 32, 1);
    let mut step = |shape: [usize; 4], labels: &[u32]| {
        let error = trainer.step(&mut session, Images { data: &data, shape }, labels).unwrap_err();
        (error.code, error.message)
    };
    let (code, message) = step([2, 1, 32, 32], &[0, 7]);
    assert_eq!(
        (code, message.as_str()),
        (Code::Label, "labels: expected labels below the network's 7 classes, got 7 at index 1")
    );
    assert_eq!(step([2, 1, 32, 32], &[0]).0, Code::Shape);
    assert_eq!(step([2, 1, 32, 33], &[0, 1]).0, Code::Shape);
    assert_eq!(step([usize::MAX, 4, 32, 32], &[0, 1]).0, Code::Shape);
    // At 16x16 the last stage's maps are one pixel, so a single image leaves one value per channel.
    let single = trainer.step(&mut session, Images { data: &data[..256], shape: [1, 1, 16, 16] }, &[0]);
    assert_eq!(single.unwrap_err().code, Code::Shape);
    // Now it has been built for one channel.
    let other = session.forward::<f32>(Images { data: &data, shape: [1, 2, 32, 32] }, false);
    assert_eq!(other.unwrap_err().message, "images: expected 1 channels, got 2");
}

/// Logits in training of a block that stochastic depth may pass by are those of the block, scaled, or of its shortcut, image by image.
#[test]
fn stochastic_depth_leaves_a_body_out_image_by_image() {
    let head = || vec![Child::new("pool", Layer::GlobalAvgPool2d)];
    let network = |stochastic_depth| {
        let options = BlockOptions { stochastic_depth, ..BlockOptions::new(Block::Basic, 6) };
        let block = Child::new("block", residual(&options).unwrap());
        Layer::sequential([vec![block], head()].concat())
    };
    let (n, p) = (64, 0.4);
    let data = numbers(n * 6 * 5 * 5, 8);
    let images = Images { data: &data, shape: [n, 6, 5, 5] };
    let run = |stochastic_depth, executor, training| {
        Session::on(network(stochastic_depth), executor, 3).forward::<f64>(images, training).unwrap().data
    };
    // All that is positive passes the ReLU at the end: what the shortcut gives.
    let pooled: Vec<f64> = data.chunks(25).map(|map| map.iter().map(|&x| f64::from(x)).sum::<f64>() / 25.0).collect();
    let whole = run(0.0, Executor::ReferenceF64, true);
    let expected = run(p, Executor::ReferenceF64, true);
    let left_out = |i: usize| (0..6).all(|c| (expected[i * 6 + c] - pooled[i * 6 + c]).abs() < 1e-9);
    let count = (0..n).filter(|&i| left_out(i)).count();
    assert!((16..36).contains(&count), "{count} of {n}");
    assert!((0..n).any(|i| !left_out(i) && distance(&expected[i * 6..][..6], &whole[i * 6..][..6]) > 1e-3));
    for executor in [Executor::cpu(1).unwrap(), Executor::cpu(2).unwrap()].into_iter().chain(gpu(Precision::Fp32)) {
        assert!(distance(&run(p, executor, true), &expected) < 1e-5);
    }
    // Evaluation leaves nothing out and scales nothing.
    for executor in [Executor::ReferenceF64, Executor::cpu(2).unwrap()] {
        let again = if executor.is_reference() { Executor::ReferenceF64 } else { Executor::cpu(2).unwrap() };
        assert_eq!(run(p, executor, false), run(0.0, again, false));
    }
}
