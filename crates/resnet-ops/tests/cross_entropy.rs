//! What cross-entropy means, on every backend.

use crate::support::{activation, assert_close, blank_activation, every_executor, read_activation, Random};
use candle_core::{Device, Tensor};
use resnet_ops::{cross_entropy, Executor, Outcome};

const NAN: f64 = f64::NAN;

fn evaluate(
    executor: &Executor,
    classes: usize,
    logits: &[f64],
    labels: &[u32],
) -> resnet_ops::Result<(Outcome, Vec<f64>)> {
    let shape = [labels.len(), classes, 1, 1];
    let (logits, mut dlogits) = (activation(executor, shape, logits)?, blank_activation(executor, shape));
    let outcome = cross_entropy::evaluate(executor, classes, &logits, labels.into(), Some(&mut dlogits))?;
    Ok((outcome, read_activation(executor, shape, &dlogits)?))
}

#[test]
fn cross_entropy_is_candles_log_sum_exp() {
    let (n, classes) = (9, 21);
    let mut random = Random::new(3);
    let logits = random.values(n * classes);
    let labels: Vec<u32> = (0..n).map(|_| random.below(classes) as u32).collect();
    let tensor = Tensor::from_slice(&logits, (n, classes), &Device::Cpu).unwrap();
    let sums = tensor.log_sum_exp(1).unwrap().to_vec1::<f64>().unwrap();
    let expected: f64 = (0..n).map(|i| sums[i] - logits[i * classes + labels[i] as usize]).sum();
    let best = tensor.argmax(1).unwrap().to_vec1::<u32>().unwrap();
    let correct = best.iter().zip(&labels).filter(|(best, label)| best == label).count();
    for executor in every_executor() {
        let (outcome, _) = evaluate(&executor, classes, &logits, &labels).unwrap();
        assert_close(&[outcome.loss_sum], &[expected], 1e-6, &"loss");
        assert_eq!(outcome.correct, correct);
    }
}

#[test]
fn cross_entropy_counts_the_first_of_equal_logits() {
    let mut logits = vec![0.0; 2 * 18];
    (logits[1], logits[17]) = (2.0, 2.0);
    for executor in every_executor() {
        let correct = |labels: [u32; 2]| evaluate(&executor, 18, &logits, &labels).unwrap().0.correct;
        assert_eq!([correct([1, 0]), correct([17, 0]), correct([17, 17])], [2, 1, 0]);
    }
}

#[test]
fn cross_entropy_of_large_logits_is_finite() {
    for executor in every_executor() {
        let logits = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4];
        let (outcome, dlogits) = evaluate(&executor, 3, &logits, &[1, 2]).unwrap();
        assert_close(&[outcome.loss_sum], &[2e4 + 2f64.ln()], 1e-6, &"loss");
        assert_close(&dlogits, &[0.5, -0.5, 0.0, 0.0, 0.25, -0.25], 1e-6, &"gradient");
        // Logits below any that the empty lanes of a block could hold.
        let (outcome, _) = evaluate(&executor, 2, &[-1e4, -1e4], &[0]).unwrap();
        assert_close(&[outcome.loss_sum], &[2f64.ln()], 1e-4, &"loss of negative logits");
        assert_eq!(outcome.correct, 1);
    }
}

#[test]
fn cross_entropy_of_nan_is_nan() {
    for executor in every_executor() {
        assert!(evaluate(&executor, 3, &[1.0, NAN, 0.0], &[0]).unwrap().0.loss_sum.is_nan());
        assert!(evaluate(&executor, 3, &[NAN, 1.0, 0.0], &[1]).unwrap().0.loss_sum.is_nan());
    }
}

#[test]
fn cross_entropy_refuses_a_label_beyond_the_classes() {
    for executor in every_executor() {
        let error = evaluate(&executor, 3, &[0.0; 6], &[2, 3]).unwrap_err().to_string();
        assert!(error.contains("label 3 of sample 1 is not one of 3 classes"), "{error}");
    }
}

#[test]
fn a_focused_loss_of_what_is_sure_is_finite() {
    for executor in every_executor() {
        for gamma in [0.5, 2.0] {
            let shape = [2, 3, 1, 1];
            let logits = activation(&executor, shape, &[1e4, 0.0, -1e4, 1e4, 0.0, -1e4]).unwrap();
            let mut dlogits = blank_activation(&executor, shape);
            let targets = cross_entropy::Targets { gamma, ..[0, 1][..].into() };
            let outcome = cross_entropy::evaluate(&executor, 3, &logits, targets, Some(&mut dlogits)).unwrap();
            assert_close(&[outcome.loss_sum], &[1e4], 1e-6, &"loss");
            let gradient = read_activation(&executor, shape, &dlogits).unwrap();
            assert_close(&gradient, &[0.0, 0.0, 0.0, 0.5, -0.5, 0.0], 1e-6, &"gradient");
        }
    }
}
