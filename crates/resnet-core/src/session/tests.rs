//! What a GPU does as recorded is what it does step by step.

use super::*;
use crate::model::resnet::{resnet, ResNetOptions, Stage};
use crate::plan::List;
use resnet_ops::Precision;

fn on_gpu() -> Option<Session> {
    let arch = vec![Stage { num_residuals: 1, num_channels: 8 }, Stage { num_residuals: 1, num_channels: 12 }];
    let network = resnet(&ResNetOptions { arch, num_classes: 5, ..ResNetOptions::default() }).unwrap();
    Some(Session::on(network, Executor::cuda_for_tests(Precision::Fp32)?, 1))
}

fn images(n: usize, step: usize) -> Vec<f32> {
    (0..n * 3 * 16 * 16).map(|i| ((i * 7 + step * 13) % 23) as f32 / 23.0).collect()
}

/// Losses and weights of steps of so many images each; `before` is done before each.
fn trained(batches: &[usize], mut before: impl FnMut(&mut Session, usize)) -> Option<(Vec<f64>, Named<f64>)> {
    let mut session = on_gpu()?;
    let mut trainer = Trainer::new(Sgd { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0 });
    let labels = [0, 1, 2, 3, 4, 0];
    let mut step = |(index, &n): (usize, &usize)| {
        before(&mut session, index);
        let data = images(n, index);
        trainer.step(&mut session, Images { data: &data, shape: [n, 3, 16, 16] }, &labels[..n]).unwrap().loss()
    };
    let losses = batches.iter().enumerate().map(&mut step).collect();
    Some((losses, session.state_dict_f64().unwrap()))
}

fn recorded(session: &Session) -> bool {
    let recordings = session.built.as_ref().map(|built| &built.slots.recordings);
    recordings.is_some_and(|recordings| {
        [List::Prepare, List::Forward, List::Backward, List::Update]
            .iter()
            .all(|&list| recordings.has((Mode::Train, list)))
    })
}

#[test]
fn a_gpu_does_recorded_steps_as_it_does_others() {
    let batches = [4, 4, 4, 2, 4, 4, 6, 6, 6];
    let mut seen = Vec::new();
    let Some(repeated) = trained(&batches, |session, _| seen.push(recorded(session))) else { return };
    // Six images want more room, and another plan.
    assert_eq!(seen, [false, false, true, true, true, true, true, false, true]);
    let walked = trained(&batches, |session, _| {
        session.built.iter_mut().for_each(|built| built.slots.forget_recordings());
    });
    assert!(walked.unwrap() == repeated);
}

#[test]
fn recordings_see_what_happens_to_weights_and_room_between_steps() {
    let disturb = |session: &mut Session, step: usize| match step {
        3 => {
            let data = images(6, 0);
            for _ in 0..3 {
                session.forward(Images { data: &data, shape: [6, 3, 16, 16] }, false).unwrap();
            }
        }
        4 => {
            let built = session.built.as_mut().unwrap();
            let (learnt, running) = built.weights.values().unwrap();
            built.weights.set(&learnt.iter().map(|value| value / 2.0).collect::<Vec<_>>(), &running).unwrap();
        }
        5 => {
            // As after a larger plan could not get all its room.
            let (built, input) = (session.built.as_mut().unwrap(), Shape::map(3, 16, 16));
            let larger = Plan::new(&session.executor, &session.network, &built.params, input, 64, Mode::Train);
            larger.unwrap().reserve(&session.executor, &mut built.slots).unwrap();
        }
        _ => {}
    };
    let Some(repeated) = trained(&[4; 8], disturb) else { return };
    let walked = trained(&[4; 8], |session, step| {
        disturb(session, step);
        session.built.iter_mut().for_each(|built| built.slots.forget_recordings());
    });
    assert!(walked.unwrap() == repeated);
}

#[test]
fn a_plan_is_not_done_as_the_one_before_it() {
    let (Some(mut session), Some(mut fresh)) = (on_gpu(), on_gpu()) else { return };
    let forward = |session: &mut Session, size: usize| {
        let data: Vec<f32> = images(4, 0)[..4 * 3 * size * size].to_vec();
        session.forward(Images { data: &data, shape: [4, 3, size, size] }, true).unwrap()
    };
    for _ in 0..3 {
        forward(&mut session, 16);
    }
    assert_eq!(forward(&mut session, 12), forward(&mut fresh, 12));
}
