use super::*;
use crate::data::Labels;
use crate::data::Mixed;
use crate::hashed;
use resnet_ops::{layout, Executor, Isa, Precision};
use safetensors::SafeTensors;
use std::collections::HashMap;

const FIXTURES: &[u8] = include_bytes!("../../tests/fixtures/losses.safetensors");
const N: usize = 9;
const K: usize = 19;

fn classes(name: &str) -> Labels {
    Labels::Single(hashed::unit(name).take(N).map(|unit| (K as f64 * unit) as u32).collect())
}

fn sets(name: &str) -> Labels {
    let matrix = hashed::unit(name).take(N * K).map(|unit| u8::from(unit < 0.3)).collect();
    Labels::Multi { classes: K, matrix }
}

/// The mean loss, then its gradient, as the fixture has them.
fn computed(executor: &Executor, loss: &Loss, kind: &str, share: Option<f64>) -> Vec<f64> {
    let (labels, others) = match kind {
        "single" => (classes("labels"), classes("others")),
        _ => (sets("matrix"), sets("other matrix")),
    };
    let mixed = share.map(|share| Mixed { labels: others, share });
    loss.check_labels(K, labels.all()).unwrap();
    let drawn: Vec<f32> = hashed::unit("logits").take(N * K).map(|unit| (4.0 * (2.0 * unit - 1.0)) as f32).collect();
    let (shape, len) = ([N, K, 1, 1], executor.activation_len(N, K, 1, 1));
    let plain = executor.upload(executor.parameter_dtype(), &drawn).unwrap();
    let [mut logits, mut gradient] = [0, 1].map(|_| executor.zeros(executor.dtype(), len).unwrap());
    layout::from_nchw(executor, shape, &plain, &mut logits).unwrap();
    let targets = loss.targets(labels.all(), mixed.as_ref().map(Mixed::other));
    let outcome = targets.evaluate(executor, K, &logits, Some(&mut gradient)).unwrap();
    let mut read = executor.zeros(executor.parameter_dtype(), N * K).unwrap();
    layout::to_nchw(executor, shape, &gradient, &mut read).unwrap();
    let mut found = vec![outcome.loss_sum / outcome.weight];
    found.extend(read.read::<f64>(0..N * K).unwrap());
    found
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let file = SafeTensors::deserialize(FIXTURES).unwrap();
    let fixtures: HashMap<String, Vec<f64>> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
            (name, values)
        })
        .collect();
    let cpu = Isa::available().into_iter().map(|isa| Executor::cpu_with(2, isa).unwrap());
    let single = [Executor::ReferenceF32].into_iter().chain(cpu).chain(Executor::cuda_for_tests(Precision::Fp32));
    let single: Vec<Executor> = single.collect();
    let cases: Vec<&str> = fixtures.keys().filter_map(|name| name.strip_suffix(" f64")).collect();
    assert_eq!(cases.len(), 33);
    for case in cases {
        let [kind, settings, share] = case.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{case}") };
        let loss: Loss = serde_json::from_str(settings).unwrap();
        let share = share.parse().ok();
        let exact = &fixtures[&format!("{case} f64")];
        let found = computed(&Executor::ReferenceF64, &loss, kind, share);
        assert!(apart(&found, exact) < 1e-14, "{case}: {}", apart(&found, exact));
        // PyTorch's own rounding in f32, or that of a number of this size.
        let theirs = apart(&fixtures[&format!("{case} f32")], exact).max(1e-7);
        for executor in &single {
            let found = computed(executor, &loss, kind, share);
            assert!(apart(&found, exact) <= 2.0 * theirs, "{case}: {:e}, PyTorch {theirs:e}", apart(&found, exact));
        }
    }
}

#[test]
fn a_loss_is_for_labels_of_one_kind_and_weights_for_all_classes() {
    let refused = |json: &str, labels: &Labels| {
        let loss: Loss = serde_json::from_str(json).unwrap();
        let checked = loss.check().and_then(|()| loss.check_labels(K, labels.all()));
        checked.unwrap_err().message
    };
    let (one, any) = (&classes("labels"), &sets("matrix"));
    let focal = r#"{"of":{"type":"focal","gamma":2}}"#;
    assert_eq!(
        refused(focal, any),
        "loss: expected binaryCrossEntropy for data with any number of labels for each sample (labels: \"multi\"), got focal"
    );
    let binary = r#"{"of":{"type":"binary_cross_entropy"}}"#;
    let expected =
        "loss: expected crossEntropy or focal for data with one label for each sample, got binaryCrossEntropy";
    assert_eq!(refused(binary, one), expected);
    assert!(refused(r#"{"class_weights":[1,2]}"#, any)
        .starts_with("classWeights: expected a number of at least 0 for each of the network's 19"));
    let zero = format!(r#"{{"class_weights":{:?}}}"#, [0.0; K]);
    assert!(refused(&zero, one).contains("above 0 where there are samples"));
    assert_eq!(refused(r#"{"label_smoothing":1}"#, one), "labelSmoothing: expected a number from 0 to below 1, got 1");
    let negative = refused(r#"{"of":{"type":"focal","gamma":-1}}"#, one);
    assert_eq!(negative, "gamma: expected a finite number of at least 0, got -1");
}
