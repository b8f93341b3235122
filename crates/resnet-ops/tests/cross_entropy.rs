//! What cross-entropy means, on every backend.

use crate::support::{activation, assert_close, blank_activation, every_executor, read_activation, Random};
use candle_core::{Device, Tensor};
use resnet_ops::{cross_entropy, Executor};

const NAN: f64 = f64::NAN;

fn evaluate(
    executor: &Executor,
    classes: usize,
    logits: &[f64],
    labels: &[u32],
) -> resnet_ops::Result<(cross_entropy::Outcome, Vec<f64>)> {
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
fn cross_entropy_of_weights_and_mixed_classes_is_pytorchs() {
    // torch.nn.functional.cross_entropy in f64, of probabilities and with weights.
    let logits = [0.5, -1.0, 2.0, 1.5, 0.25, -0.75];
    let weights = [0.5, 2.0, 3.0];
    let cases = [
        (
            None,
            false,
            0.9109919530321906,
            [
                0.08764519607001835,
                0.019556286635343725,
                -0.10720148270536206,
                0.35922017057553246,
                -0.3970816980011742,
                0.03786152742564176,
            ],
            1,
        ),
        (
            None,
            true,
            0.7770558217571839,
            [
                0.10517423528402203,
                0.023467543962412473,
                -0.1286417792464345,
                0.287376136460426,
                -0.3176653584009394,
                0.03028922194051341,
            ],
            1,
        ),
        (
            Some(0.75),
            false,
            1.1297419530321906,
            [
                0.08764519607001835,
                -0.10544371336465627,
                0.01779851729463794,
                0.23422017057553246,
                -0.2720816980011742,
                0.03786152742564176,
            ],
            1,
        ),
        (
            Some(0.75),
            true,
            2.2879745280469606,
            [
                0.24102428919255045,
                -0.19622021175280477,
                -0.04480407743974567,
                0.5212327771852403,
                -0.5827577592519081,
                0.06152498206666786,
            ],
            1,
        ),
        (
            Some(0.3),
            false,
            1.5234919530321906,
            [
                0.08764519607001835,
                -0.3304437133646563,
                0.24279851729463794,
                0.009220170575532483,
                -0.04708169800117422,
                0.03786152742564176,
            ],
            1,
        ),
        (
            Some(0.3),
            true,
            2.909577480624162,
            [
                0.20158395096104217,
                -0.6550205407387094,
                0.4534365897776672,
                0.16625916204675584,
                -0.2022276131011155,
                0.03596845105435967,
            ],
            1,
        ),
    ];
    for (mixed, class_weights, loss, gradient, correct) in cases {
        let mixed = mixed.map(|share| (&[1u32, 0][..], share));
        let class_weights = class_weights.then_some(&weights[..]);
        let targets = cross_entropy::Targets { labels: &[2, 1], mixed, class_weights };
        for executor in every_executor() {
            let shape = [2, 3, 1, 1];
            let values = activation(&executor, shape, &logits).unwrap();
            let mut dlogits = blank_activation(&executor, shape);
            let found = cross_entropy::evaluate(&executor, 3, &values, targets, Some(&mut dlogits)).unwrap();
            assert_close(&[found.loss_sum / found.weight], &[loss], 1e-6, &"loss");
            assert_close(&read_activation(&executor, shape, &dlogits).unwrap(), &gradient, 1e-6, &"gradient");
            assert_eq!(found.correct, correct);
        }
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
