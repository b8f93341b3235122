use super::super::{fit, go_on};
use super::*;
use crate::data::{Dataset, Pixels};
use crate::distributed::Alone;
use crate::model::resnet::{resnet, ResNetOptions, Stage};
use crate::train::{CourseConfig, EarlyStopping, EmaConfig, Monitor, ValidateEvery, Watch};
use resnet_ops::Executor;

pub(in crate::train) fn session() -> Session {
    let arch = vec![Stage { num_residuals: 1, num_channels: 8 }];
    let network = resnet(&ResNetOptions { arch, num_classes: 2, ..Default::default() }).unwrap();
    Session::on(network, Executor::cpu(2).unwrap(), 5)
}

/// Two classes of 8x8 images, one brighter, with labels of which some are wrong.
pub(in crate::train) fn data(len: usize) -> Dataset {
    let labels: Vec<u32> = (0..len as u32).map(|i| u32::from(i % 2 == 0) ^ u32::from(i % 7 == 3)).collect();
    let pixels = (0..len * 64).map(|i| ((i / 64 % 2) * 90) as u8 + (i * 31 % 97) as u8).collect();
    Dataset::from_arrays(Pixels::U8(pixels), [len, 1, 8, 8], labels, None).unwrap()
}

pub(in crate::train) fn config(course: CourseConfig) -> FitConfig {
    let optimizer = r#"{"type":"sgd","lr":0.02,"momentum":0.9,"nesterov":false,"weight_decay":0}"#;
    let schedule = r#"{"type":"reduce_on_plateau","factor":0.5,"patience":0,"threshold":0.2,"cooldown":0,"min_lr":0}"#;
    let sizes = r#""epochs":4,"batch_size":4,"shuffle":true,"drop_last":false"#;
    let json = format!(r#"{{{sizes},"optimizer":{optimizer},"schedule":{schedule}}}"#);
    FitConfig { course, ..FitConfig::from_json(&json).unwrap() }
}

/// Stops after so many events.
struct Stopping(usize);

impl Control for Stopping {
    fn on_event(&mut self, _: &mut Session, _: &Event) -> Flow {
        match self.0 {
            0 => Flow::Stop,
            _ => {
                self.0 -= 1;
                Flow::Continue
            }
        }
    }
}

pub(in crate::train) fn timeless(rows: &[EpochRow]) -> Vec<EpochRow> {
    rows.iter().map(|row| EpochRow { seconds: 0.0, waiting: 0.0, ..row.clone() }).collect()
}

/// Runs to the end, stopped after every so many events and begun again from its parts alone, in another session.
fn interrupted(config: &FitConfig, every: usize) -> (Session, Progress, usize) {
    let (mut at, mut state, mut stops) = (session(), RunState::new(config), 0);
    loop {
        let stopped = go_on(&mut at, &data(22), Some(&data(6)), config, &mut Stopping(every), &mut Alone, &mut state);
        match stopped {
            Ok(()) => return (at, state.progress, stops),
            Err(error) => assert_eq!(error.code, Code::Aborted, "{error}"),
        }
        stops += 1;
        let json = serde_json::to_string(&state.progress).unwrap();
        let progress: Progress = serde_json::from_str(&json).unwrap();
        assert_eq!(progress, state.progress, "numbers are exact");
        let weights = at.snapshot().unwrap();
        at = session();
        at.build(1).unwrap();
        at.restore(weights);
        state = RunState { progress, trainer: state.trainer, best: state.best };
    }
}

#[test]
fn a_run_that_is_stopped_anywhere_goes_on_to_the_same_bits() {
    let watch = Watch { monitor: Monitor::ValidationAccuracy, min_delta: 0.0 };
    let ema = Some(EmaConfig { decay: 0.9, warmup: true });
    let course = CourseConfig::default();
    let courses = [
        course.clone(),
        CourseConfig { ema, restore_best: Some(watch), ..course.clone() },
        CourseConfig {
            ema,
            early_stopping: Some(EarlyStopping {
                watch: Watch { monitor: Monitor::ValidationLoss, ..watch },
                patience: 3,
            }),
            restore_best: Some(watch),
            validate_every: Some(ValidateEvery::Steps(2)),
            gradient_norm: true,
            ..course.clone()
        },
        CourseConfig { validate_every: Some(ValidateEvery::Epochs(2)), initial_epoch: 1, ..course.clone() },
        CourseConfig { fast_dev_run: Some(3), ema, ..course.clone() },
        CourseConfig { overfit_batches: Some(2), ..course },
    ];
    for course in courses {
        for accumulate in [1, 4] {
            let config = FitConfig { accumulate, ..config(course.clone()) };
            let mut whole = session();
            let rows =
                fit(&mut whole, &data(22), Some(&data(6)), &config, &mut Stopping(usize::MAX), &mut Alone).unwrap();
            // Fewer events than an evaluation has would never see its end.
            for every in [2, 3, 7] {
                let (ended, progress, stops) = interrupted(&config, every);
                assert!(stops > 0 || every == 7);
                assert_eq!(timeless(&progress.rows), timeless(&rows), "{config:?}, every {every}");
                assert_eq!(
                    ended.state_dict::<f32>().unwrap(),
                    whole.state_dict::<f32>().unwrap(),
                    "{config:?}, {every}"
                );
            }
        }
    }
}
