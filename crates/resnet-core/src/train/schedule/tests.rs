use super::*;
use safetensors::SafeTensors;

const FIXTURES: &[u8] = include_bytes!("../../../tests/fixtures/schedules.safetensors");
const BASE: f64 = 0.1;

fn schedule(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn every_schedule_is_pytorch_s() {
    let file = SafeTensors::deserialize(FIXTURES).unwrap();
    let values = |name: &str| -> Vec<f64> {
        let data = file.tensor(name).unwrap().data();
        data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    };
    let losses = values("losses");
    let mut kinds = std::collections::BTreeSet::new();
    for name in file.names().into_iter().filter(|name| *name != "losses") {
        let (epoch_steps, json) = name.split_once(' ').unwrap();
        let (epoch_steps, schedule) = (epoch_steps.parse().unwrap(), schedule(json));
        kinds.insert(json.split('"').nth(3).unwrap());
        let expected = values(name);
        for (step, expected) in expected.iter().enumerate() {
            let losses = &losses[..step / epoch_steps];
            let found = schedule.lr(BASE, &Clock { step, epoch_steps, total: 240, losses });
            // Of rates near 0 PyTorch, which works from one to the next, has only so many digits.
            let allowed = 1e-12 * expected.abs().max(1e-3 * BASE);
            assert!((found - expected).abs() <= allowed, "{name}, step {step}: {found:e} for {expected:e}");
        }
    }
    let all = [
        "constant",
        "cosine",
        "exponential",
        "multi_step",
        "one_cycle",
        "polynomial",
        "reduce_on_plateau",
        "step_decay",
        "warmup",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

/// The rates of a run.
fn rates(json: &str, epochs: usize, epoch_steps: usize) -> Vec<f64> {
    let total = epochs * epoch_steps;
    let clock = |step| Clock { step, epoch_steps, total, losses: &[] };
    (0..total).map(|step| schedule(json).lr(BASE, &clock(step))).collect()
}

#[test]
fn epochs_count_whatever_their_steps() {
    let json = r#"{"type":"step_decay","every":2,"gamma":0.5}"#;
    assert_eq!(rates(json, 4, 3), [vec![BASE; 6], vec![BASE / 2.0; 6]].concat());
    // A part of an epoch is so many of its steps, at least one.
    assert_eq!(rates(&json.replace("2", "0.5"), 1, 4), [BASE, BASE, BASE / 2.0, BASE / 2.0]);
    assert_eq!(rates(&json.replace("2", "0.01"), 1, 2), [BASE, BASE / 2.0]);
}

#[test]
fn short_runs_have_rates_too() {
    let rest = r#""rise":0.3,"div_factor":25,"final_div_factor":10000,"anneal":"linear""#;
    let one_cycle = format!(r#"{{"type":"one_cycle",{rest}}}"#);
    assert_eq!(rates(&one_cycle, 1, 1), [BASE]);
    let two = rates(&one_cycle, 1, 2);
    assert_eq!(two[0], BASE);
    assert!((two[1] - BASE / 250_000.0).abs() < 1e-15);
    assert_eq!(rates(r#"{"type":"polynomial","power":1}"#, 1, 1), [BASE]);
    assert_eq!(rates(r#"{"type":"cosine","min_lr":0,"cycle_factor":1}"#, 1, 1), [BASE]);
}

#[test]
fn a_warm_up_longer_than_the_run_is_refused() {
    let json = r#"{"type":"warmup","epochs":2,"start_factor":0.1,"followed_by":{"type":"constant"}}"#;
    assert!(schedule(json).check(3).is_ok());
    let error = schedule(json).check(2).unwrap_err();
    assert_eq!(error.message, "schedule: expected a warm-up of less than the run's 2 epochs, got 2");
}
