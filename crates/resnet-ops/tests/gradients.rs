//! The plain definitions' gradients in f64 against central finite differences.

use crate::support::ops::Op;
use crate::support::{assert_close, dot, norm, Random};
use resnet_ops::Executor;

/// Half the distance of a difference's two points: well below the distance to kinks that inputs keep.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;
const DIRECTIONS: usize = 3;

/// The loss is Σ r·output with random r: its derivative along random directions must be theirs with the gradient.
fn check<O: Op>(cases: Vec<O>) {
    let executor = Executor::ReferenceF64;
    assert!(cases.len() >= 20);
    for (seed, case) in cases.iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let inputs = case.inputs(&mut random);
        let r = random.values(case.forward(&executor, &inputs).unwrap().len());
        let gradients = case.backward(&executor, &inputs, &r, false).unwrap();
        for (index, gradient) in gradients.iter().enumerate() {
            for _ in 0..DIRECTIONS {
                let direction = random.values(inputs[index].len());
                let loss = |step: f64| {
                    let mut moved = inputs.clone();
                    moved[index].iter_mut().zip(&direction).for_each(|(value, d)| *value += step * d);
                    dot(&case.forward(&executor, &moved).unwrap(), &r)
                };
                let numeric = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
                let analytic = dot(gradient, &direction);
                let allowed = TOLERANCE * norm(gradient);
                assert!(
                    (numeric - analytic).abs() <= allowed,
                    "{case:?}, input {index}: {numeric} by differences, {analytic} by the gradient, allowed {allowed:e}"
                );
            }
        }
        let accumulated = case.backward(&executor, &inputs, &r, true).unwrap();
        for (index, (accumulated, mut expected)) in accumulated.iter().zip(gradients).enumerate() {
            if case.accumulates(index) {
                expected.iter_mut().zip(&inputs[index]).for_each(|(gradient, start)| *gradient += start);
            }
            assert_close(accumulated, &expected, 1e-12, &format!("{case:?}, input {index}, accumulated"));
        }
    }
}

/// A test for each op of the table.
macro_rules! tests {
    ($($op:ident: $cases:path;)*) => {
        $(#[test]
        fn $op() {
            check($cases());
        })*
    };
}
crate::support::ops::every_op!(tests);
