//! Dropout's masks: how many elements they drop, that every backend draws the same, and what a dropped NaN becomes.

use crate::support::every_executor;
use crate::support::ops::{Dropping, Op};
use resnet_ops::dropout::{Dropout, Grain};

fn ones(case: &Dropping) -> Vec<f64> {
    vec![1.0; case.n * case.op.channels * case.op.size[0] * case.op.size[1]]
}

/// What each element of an input of ones becomes, in every backend.
fn outputs(case: &Dropping) -> Vec<Vec<f64>> {
    every_executor().iter().map(|executor| case.forward(executor, &[ones(case)]).unwrap()).collect()
}

fn dropping(n: usize, key: u64, p: f64, channels: usize, size: [usize; 2]) -> Dropping {
    let op = Dropout { p, channels, size, grain: Grain::Element };
    op.check().unwrap();
    Dropping { n, key, op }
}

/// The definition, with the masks of dropout for as many elements as there are images.
#[test]
fn an_image_is_dropped_as_a_whole() {
    for (p, n, channels, size) in
        [(0.5, 40, 17, [3, 5]), (0.2, 9, 3, [1, 1]), (0.0, 4, 16, [2, 2]), (0.9, 64, 24, [4, 1])]
    {
        let drawn = &outputs(&dropping(1, 21, p, n, [1, 1]))[0];
        let op = Dropout { p, channels, size, grain: Grain::Image };
        let case = Dropping { n, key: 21, op };
        let image = channels * size[0] * size[1];
        for (executor, found) in every_executor().iter().zip(outputs(&case)) {
            for (index, value) in found.iter().enumerate() {
                let expected = drawn[index / image];
                assert!((value - expected).abs() < 1e-6, "{case:?}: {value} for {expected} at {index}");
            }
            assert_eq!(case.backward(executor, &[], &ones(&case), false).unwrap()[0], found);
        }
    }
}

#[test]
fn every_backend_and_thread_count_draws_the_same_mask() {
    for (p, channels, size) in [(0.5, 1000, [1, 1]), (0.1, 3, [9, 7]), (0.7, 24, [5, 6]), (0.25, 33, [8, 3])] {
        let case = dropping(3, 9, p, channels, size);
        let found = outputs(&case);
        for values in &found {
            for (value, first) in values.iter().zip(&found[0]) {
                assert_eq!(*value == 0.0, *first == 0.0, "{case:?}");
                assert!(*value == 0.0 || (value * (1.0 - p) - 1.0).abs() < 1e-6, "{case:?}: {value}");
            }
        }
        for executor in every_executor() {
            let forward = case.forward(&executor, &[ones(&case)]).unwrap();
            assert_eq!(case.backward(&executor, &[], &ones(&case), false).unwrap()[0], forward, "{case:?}");
        }
    }
}

/// A run that is repeated after an update of the library must drop the same elements.
#[test]
fn masks_do_not_change() {
    let zero = |found: &[f64]| -> String { found.iter().map(|&value| if value == 0.0 { '.' } else { 'x' }).collect() };
    for (key, expected) in [(42, "x...x...x.xxx..x...x..xx"), (0, "xx.x...x.x.xxxxxxx.xxxx.")] {
        for found in outputs(&dropping(2, key, 0.4, 3, [2, 2])) {
            assert_eq!(zero(&found), expected);
        }
    }
}

#[test]
fn drops_the_share_that_p_says() {
    for (key, p) in [(0, 0.5), (1, 0.2), (2, 0.01), (u64::MAX, 0.9), (7, 0.0)] {
        let case = dropping(4, key, p, 48, [20, 25]);
        let len = ones(&case).len() as f64;
        let found = &outputs(&case)[0];
        let zeros = found.iter().filter(|&&value| value == 0.0).count() as f64;
        assert!((zeros - p * len).abs() <= 5.0 * (p * (1.0 - p) * len).sqrt(), "p {p}: {zeros} of {len}");
    }
}

/// Equal places of two masks of p = 0.5 are half of all, also where keys are near each other or a step of the hash apart,
/// and so are equal neighbours in one mask.
#[test]
fn another_key_gives_another_mask() {
    let mask = |key| outputs(&dropping(2, key, 0.5, 16, [25, 25])).swap_remove(0);
    let first = mask(5);
    let others = [mask(6), mask(4), mask(5u64.wrapping_add(0x9e37_79b9_7f4a_7c15)), mask(5 << 32)];
    for other in others.iter().map(|other| &other[..]).chain([&first[1..], &first[25..], &first[625..]]) {
        let equal = first.iter().zip(other).filter(|(a, b)| a == b).count() as f64;
        let compared = other.len() as f64;
        assert!((equal - compared / 2.0).abs() <= 5.0 * (compared / 4.0).sqrt(), "{equal} of {compared}");
    }
    assert_eq!(first, mask(5));
}

/// As in PyTorch, which multiplies by the mask.
#[test]
fn keeps_nan_where_it_drops() {
    let case = dropping(1, 3, 0.5, 17, [2, 3]);
    for executor in every_executor() {
        let found = case.forward(&executor, &[vec![f64::NAN; 102]]).unwrap();
        assert!(found.iter().all(|value| value.is_nan()));
        let found = case.forward(&executor, &[vec![f64::INFINITY; 102]]).unwrap();
        assert!(found.iter().any(|value| value.is_nan()) && found.contains(&f64::INFINITY));
    }
}

#[test]
fn refuses_what_is_no_probability_below_one() {
    for p in [-0.1, 1.0, 1.5, f64::NAN] {
        let error = Dropout { p, channels: 1, size: [1, 1], grain: Grain::Element }.check().unwrap_err().to_string();
        assert!(error.contains("p must be at least 0 and below 1"), "{error}");
    }
}
