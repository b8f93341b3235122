//! The training loop: what it reports, what it refuses, how it stops.

use resnet_core::data::{Batch, DataPass, Dataset, Loader, Order, Pixels};
use resnet_core::distributed::Alone;
use resnet_core::model::resnet::{resnet, ResNetOptions, Stage};
use resnet_core::model::Layer;
use resnet_core::session::{Images, Session};
use resnet_core::train::{fit, Control, EpochRow, Event, FitConfig, Flow, Trainer};
use resnet_core::{Code, Result};
use resnet_ops::{Executor, Precision};

fn network(num_classes: usize) -> Layer {
    let arch = vec![Stage { num_residuals: 1, num_channels: 16 }];
    resnet(&ResNetOptions { arch, num_classes, ..Default::default() }).unwrap()
}

fn session() -> Session {
    Session::on(network(2), Executor::cpu(2).unwrap(), 5)
}

/// Two classes of 16x16 images that a glance tells apart: dark and bright.
fn data(len: usize) -> Dataset {
    let labels: Vec<u32> = (0..len as u32).map(|i| i % 2).collect();
    let pixel = |i: usize| (labels[i / 256] * 150) as u8 + (i * 31 % 97) as u8;
    let pixels = (0..len * 256).map(pixel).collect();
    Dataset::from_arrays(Pixels::U8(pixels), [len, 1, 16, 16], labels, None).unwrap()
}

fn config(epochs: usize, batch_size: usize) -> FitConfig {
    let optimizer = r#"{"type":"sgd","lr":0.05,"momentum":0.9,"nesterov":false,"weight_decay":0}"#;
    let sizes = format!(r#""epochs":{epochs},"batch_size":{batch_size}"#);
    FitConfig::from_json(&format!(r#"{{{sizes},"optimizer":{optimizer},"shuffle":true,"drop_last":false}}"#)).unwrap()
}

/// Keeps all events; stops after a number of steps.
#[derive(Default)]
struct Listener {
    events: Vec<Event>,
    stop_after: Option<usize>,
}

impl Control for Listener {
    fn on_event(&mut self, _: &mut Session, event: &Event) -> Flow {
        self.events.push(event.clone());
        match self.stop_after {
            Some(steps) if self.steps() >= steps => Flow::Stop,
            _ => Flow::Continue,
        }
    }
}

impl Listener {
    fn steps(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Step { .. })).count()
    }
}

fn run(session: &mut Session, config: &FitConfig) -> (Result<Vec<EpochRow>>, Listener) {
    let mut listener = Listener::default();
    let rows = fit(session, &data(20), Some(&data(6)), config, &mut listener, &mut Alone);
    (rows, listener)
}

#[test]
fn learns_and_reports_every_step_and_epoch() {
    let mut session = session();
    let (rows, listener) = run(&mut session, &config(4, 8));
    let rows = rows.unwrap();
    assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(rows[3].loss < rows[0].loss / 2.0, "{rows:?}");
    let steps: Vec<(usize, usize, usize)> = listener
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Step { epoch, step, steps, .. } => Some((*epoch, *step, *steps)),
            _ => None,
        })
        .collect();
    let expected = (1..=4).flat_map(|epoch| (1..=3).map(move |step| (epoch, step, 3))).collect::<Vec<_>>();
    assert_eq!(steps, expected);
    let ends: Vec<&EpochRow> = listener
        .events
        .iter()
        .filter_map(|event| match event {
            Event::EpochEnd(row) => Some(row),
            _ => None,
        })
        .collect();
    assert_eq!(ends, rows.iter().collect::<Vec<_>>());
    let metrics = session.evaluate(&data(6), 4).unwrap();
    assert_eq!(rows[3].validation_loss, session.evaluate(&data(6), 8).unwrap().loss().into());
    assert_eq!(rows[3].validation_accuracy, Some(metrics.accuracy()));
}

#[test]
fn a_gpu_takes_its_batches_from_the_pixels_it_holds() {
    let gpu = || Some(Session::on(network(2), Executor::cuda_for_tests(Precision::Fp32)?, 5));
    let (Some(mut session), Some(mut other)) = (gpu(), gpu()) else { return };
    let (rows, listener) = run(&mut session, &config(2, 8));
    let mut trainer = Trainer::new(config(2, 8).optimizer);
    let mut losses = Vec::new();
    for epoch in 1..=2 {
        let pass = DataPass::new(&data(20), 8, Order::Shuffled { seed: 5, epoch }, false).unwrap();
        let mut loader = Loader::new(pass, 1).unwrap();
        while let Some(batch) = loader.next() {
            let Batch { images, labels, shape, .. } = batch.unwrap();
            let images = Images { data: images, shape: *shape };
            losses.push(trainer.step(&mut other, images, labels.all().single().unwrap()).unwrap().loss());
        }
    }
    let told = listener.events.iter().filter_map(|event| match event {
        Event::Step { loss, .. } => Some(*loss),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), losses);
    let validated = other.evaluate(&data(6), 8).unwrap();
    assert_eq!(rows.unwrap()[1].validation_loss, Some(validated.loss()));
}

#[test]
fn an_epoch_s_loss_is_the_mean_over_samples() {
    let (rows, listener) = run(&mut session(), &config(1, 8));
    let sizes = [8.0, 8.0, 4.0];
    let losses = listener.events.iter().filter_map(|event| match event {
        Event::Step { loss, .. } => Some(*loss),
        _ => None,
    });
    let mean = losses.zip(sizes).map(|(loss, size)| loss * size).sum::<f64>() / 20.0;
    assert!((rows.unwrap()[0].loss - mean).abs() < 1e-12);
}

#[test]
fn drop_last_leaves_the_rest_out() {
    let config = FitConfig { drop_last: true, ..config(1, 8) };
    assert_eq!(run(&mut session(), &config).1.steps(), 2);
}

#[test]
fn the_seed_decides_the_order() {
    let weights = |seed, shuffle| {
        let mut session = session();
        run(&mut session, &FitConfig { seed, shuffle, ..config(1, 8) }).0.unwrap();
        session.state_dict::<f32>().unwrap()
    };
    assert_eq!(weights(None, true), weights(Some(5), true), "the session's seed is the default");
    assert_ne!(weights(Some(5), true), weights(Some(6), true));
    assert_eq!(weights(Some(5), false), weights(Some(6), false));
}

#[test]
fn stopping_leaves_the_weights_of_the_last_whole_step() {
    let (mut stopped, mut listener) = (session(), Listener { stop_after: Some(2), ..Listener::default() });
    let error = fit(&mut stopped, &data(20), None, &config(1, 8), &mut listener, &mut Alone).unwrap_err();
    assert_eq!(error.code, Code::Aborted);
    assert_eq!(listener.steps(), 2);
    let mut whole = session();
    let dropped = FitConfig { drop_last: true, ..config(1, 8) };
    fit(&mut whole, &data(20), None, &dropped, &mut Listener::default(), &mut Alone).unwrap();
    assert_eq!(stopped.state_dict::<f32>().unwrap(), whole.state_dict::<f32>().unwrap());
}

#[test]
fn what_a_later_step_would_refuse_is_refused_before_the_first() {
    let refused = |data: &Dataset, validation: Option<&Dataset>, config: &FitConfig| {
        let mut listener = Listener::default();
        let error = fit(&mut session(), data, validation, config, &mut listener, &mut Alone).unwrap_err();
        assert!(listener.events.is_empty());
        error.code
    };
    let labelled = |label: u32, shape: [usize; 4]| {
        let len = shape.iter().product();
        let mut labels = vec![0; shape[0]];
        labels[shape[0] - 1] = label;
        Dataset::from_arrays(Pixels::U8(vec![0; len]), shape, labels, None).unwrap()
    };
    assert_eq!(refused(&labelled(2, [20, 1, 16, 16]), None, &config(1, 8)), Code::Label);
    assert_eq!(refused(&data(20), Some(&labelled(2, [4, 1, 16, 16])), &config(1, 8)), Code::Label);
    assert_eq!(refused(&data(20), Some(&labelled(1, [4, 3, 16, 16])), &config(1, 8)), Code::Shape);
    assert_eq!(refused(&data(20), None, &config(0, 8)), Code::InvalidArgument);
    assert_eq!(refused(&data(20), None, &config(1, 0)), Code::InvalidArgument);
    // 4x4 images are one pixel after the stem, so the single image of a last batch leaves one value per channel.
    assert_eq!(refused(&labelled(1, [9, 1, 4, 4]), None, &config(1, 8)), Code::Shape);
}
