//! What binary cross-entropy means, on every backend.

use crate::support::{activation, assert_close, blank_activation, every_executor, read_activation};
use resnet_ops::{binary_cross_entropy, Executor, Outcome};

fn evaluate(
    executor: &Executor,
    classes: usize,
    logits: &[f64],
    targets: binary_cross_entropy::Targets,
) -> resnet_ops::Result<(Outcome, Vec<f64>)> {
    let shape = [logits.len() / classes, classes, 1, 1];
    let (logits, mut dlogits) = (activation(executor, shape, logits)?, blank_activation(executor, shape));
    let outcome = binary_cross_entropy::evaluate(executor, classes, &logits, targets, Some(&mut dlogits))?;
    Ok((outcome, read_activation(executor, shape, &dlogits)?))
}

#[test]
fn each_class_is_a_decision_and_half_is_for_it() {
    for executor in every_executor() {
        let logits = [0.0, -0.5, 3.0, f64::NAN, 0.0, 7.0];
        let (outcome, _) = evaluate(&executor, 3, &logits, [1, 0, 0, 1, 0, 1][..].into()).unwrap();
        assert_eq!((outcome.correct, outcome.decisions, outcome.weight), (3, 6, 2.0));
        assert!(outcome.loss_sum.is_nan());
        // By the labels with the larger share.
        let mixed = |share| binary_cross_entropy::Targets { mixed: Some((&[1, 1], share)), ..[0, 0][..].into() };
        for (share, expected) in [(0.75, 1), (0.25, 1), (0.5, 1)] {
            assert_eq!(evaluate(&executor, 2, &[-1.0, 1.0], mixed(share)).unwrap().0.correct, expected);
        }
        assert_eq!(evaluate(&executor, 2, &[1.0, 1.0], mixed(0.25)).unwrap().0.correct, 2);
        assert_eq!(evaluate(&executor, 2, &[1.0, 1.0], mixed(0.75)).unwrap().0.correct, 0);
    }
}

#[test]
fn large_logits_have_a_finite_loss_and_infinite_ones_none_where_they_are_right() {
    for executor in every_executor() {
        let (outcome, gradient) = evaluate(&executor, 2, &[1e4, -1e4, 1e4, -1e4], [1, 1, 0, 0][..].into()).unwrap();
        assert_close(&[outcome.loss_sum], &[1e4], 1e-6, &"loss");
        assert_close(&gradient, &[0.0, -0.25, 0.25, 0.0], 1e-6, &"gradient");
        let infinite = [f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(evaluate(&executor, 2, &infinite, [1, 0][..].into()).unwrap().0.loss_sum, 0.0);
        assert_eq!(evaluate(&executor, 2, &infinite, [1, 1][..].into()).unwrap().0.loss_sum, f64::INFINITY);
    }
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    for executor in every_executor() {
        let refused = |labels: &[u8], message: &str| {
            let error = evaluate(&executor, 2, &[0.0; 4], labels.into()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        refused(&[0, 1, 0, 2], "the label of sample 1, class 1 is neither 0 nor 1");
        refused(&[0, 1, 0], "3 and 3 labels are none of samples of 2 classes");
    }
}
