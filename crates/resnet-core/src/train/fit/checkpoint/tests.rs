use super::super::run::tests::{config, data, session, timeless};
use super::*;
use crate::cancel::CancelFlag;
use crate::data::{Augment, Dataset, LabelsRef, Pixels};
use crate::distributed::Alone;
use crate::model::graph::trace_channels;
use crate::model::layer::{Child, Layer};
use crate::model::params::Params;
use crate::model::resnet::{resnet, ResNetOptions, Stage};
use crate::state_dict::{write, Values};
use crate::train::{
    fit, BestPlace, Clip, Control, CourseConfig, EmaConfig, EpochRow, Event, FitConfig, Flow, Monitor, Optimizer,
    SkippedCheckpoint, ValidateEvery, Watch,
};
use resnet_ops::Executor;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use tempfile::TempDir;

/// Notes the events about checkpoints.
#[derive(Default)]
struct Notes {
    written: Vec<PathBuf>,
    resumed: Option<(PathBuf, Vec<EpochRow>)>,
    skipped: Vec<SkippedCheckpoint>,
    best: Option<BestPlace>,
    /// What ends the run.
    ended: CancelFlag,
}

impl Control for Notes {
    fn on_event(&mut self, _: &mut Session, event: &Event) -> Flow {
        match event {
            Event::Checkpoint { path, .. } => self.written.push(path.clone()),
            Event::Best(place) => self.best = Some(*place),
            Event::Resumed { path, rows, skipped, .. } => {
                (self.resumed, self.skipped) = (Some((path.clone(), rows.clone())), skipped.clone());
            }
            Event::Step { .. }
            | Event::EpochBegin { .. }
            | Event::Validation { .. }
            | Event::Evaluated { .. }
            | Event::StoppedEarly
            | Event::EpochEnd(_) => {}
        }
        if self.ended.is_raised() {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

fn on_abort(dir: &Path) -> CheckpointConfig {
    let dir = dir.to_owned();
    CheckpointConfig { dir, every_steps: None, every_epochs: None, every_minutes: None, on_abort: true, keep: 1000 }
}

fn every_step(dir: &Path) -> Option<CheckpointConfig> {
    Some(CheckpointConfig { every_steps: Some(1), ..on_abort(dir) })
}

/// A run with all that a checkpoint has to keep.
fn full() -> FitConfig {
    let optimizer = r#"{"type":"adamw","lr":0.01,"betas":[0.9,0.999],"eps":1e-8,"weight_decay":0.01}"#;
    let augment = r#"[{"type":"flip","p":0.5,"vertical":false,"alternating":false},{"type":"mixup","alpha":1}]"#;
    let watch = Watch { monitor: Monitor::ValidationAccuracy, min_delta: 0.0 };
    let course = CourseConfig {
        ema: Some(EmaConfig { decay: 0.9, warmup: true }),
        restore_best: Some(watch),
        validate_every: Some(ValidateEvery::Steps(2)),
        ..CourseConfig::default()
    };
    let optimizer = Optimizer::from_json(optimizer).unwrap();
    let augment = Augment::from_json(augment).unwrap();
    FitConfig { optimizer, augment, accumulate: 2, clip: Some(Clip::Norm(1.0)), ..config(course) }
}

fn run(session: &mut Session, config: &FitConfig) -> Result<(Vec<EpochRow>, Notes)> {
    let mut notes = Notes::default();
    fit(session, &data(22), Some(&data(6)), config, &mut notes, &mut Alone).map(|rows| (timeless(&rows), notes))
}

fn refused(config: &FitConfig) -> Error {
    run(&mut session(), config).map(drop).unwrap_err()
}

#[test]
fn a_run_goes_on_from_each_of_its_checkpoints_to_the_same_bits() {
    for config in [config(CourseConfig::default()), full()] {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = session();
        let (rows, _) = run(&mut whole, &config).unwrap();
        let weights = whole.state_dict::<f32>().unwrap();
        let written = FitConfig { checkpoint: every_step(folder.path()), ..config.clone() };
        let (again, Notes { written, resumed, best, .. }) = run(&mut session(), &written).unwrap();
        assert_eq!((&again, resumed), (&rows, None), "checkpoints change nothing");
        // An update each, and one when all is over, whose file is that of the last update.
        assert_eq!(checkpoints_in(folder.path()).unwrap().len() + 1, written.len());
        for path in checkpoints_in(folder.path()).unwrap() {
            let mut session = session();
            let resume = Some(path.clone());
            let (ended, notes) = run(&mut session, &FitConfig { resume, ..config.clone() }).unwrap();
            assert_eq!(ended, rows, "{path:?}");
            assert_eq!(notes.best, best, "{path:?}");
            let (from, before) = notes.resumed.unwrap();
            assert_eq!((from, timeless(&before)), (path.clone(), rows[..before.len()].to_vec()));
            assert_eq!(session.state_dict::<f32>().unwrap(), weights, "{path:?}");
        }
    }
}

#[test]
fn a_folder_is_begun_gone_on_from_and_never_mixed() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    let own = FitConfig { checkpoint: every_step(&dir), resume: Some(dir.clone()), ..full() };
    let (rows, notes) = run(&mut session(), &own).unwrap();
    assert!(notes.resumed.is_none(), "it begins");
    assert!(Session::load(&dir.join("best.safetensors"), Default::default(), &Cancel::default()).is_ok());
    let mut session = session();
    let (again, notes) = run(&mut session, &own).unwrap();
    assert_eq!(again, rows, "a run that is over says what it came to");
    assert_eq!(notes.resumed.unwrap().0, checkpoints_in(&dir).unwrap().pop().unwrap());
    let error = refused(&FitConfig { resume: None, ..own.clone() });
    assert_eq!(error.code, Code::Checkpoint);
    assert!(error.message.starts_with("checkpoint.dir: expected a folder without checkpoints, or resume"), "{error}");
    let error = refused(&FitConfig { resume: checkpoints_in(&dir).unwrap().first().cloned(), ..own.clone() });
    assert_eq!(error.code, Code::Checkpoint, "those that came later would get lost: {error}");
    let other = FitConfig { checkpoint: every_step(&parent.path().join("other")), ..own.clone() };
    run(&mut super::super::run::tests::session(), &other).unwrap();
    let error = refused(&FitConfig { resume: Some(parent.path().join("none")), ..full() });
    assert_eq!(error.code, Code::Io, "{error}");
    fs::create_dir(parent.path().join("empty")).unwrap();
    let error = refused(&FitConfig { resume: Some(parent.path().join("empty")), ..full() });
    assert_eq!(error.code, Code::Io, "{error}");
}

#[test]
fn only_the_last_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = every_step(folder.path()).map(|config| CheckpointConfig { keep: 2, ..config });
    run(&mut session(), &FitConfig { checkpoint, ..full() }).unwrap();
    let names: Vec<_> = checkpoints_in(folder.path()).unwrap();
    assert_eq!(names, ["step-00000011.safetensors", "step-00000012.safetensors"].map(|name| folder.path().join(name)));
}

#[test]
fn another_run_s_checkpoint_is_refused_before_anything_changes() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut session(), &FitConfig { checkpoint: every_step(folder.path()), ..full() }).unwrap();
    let own = FitConfig { resume: checkpoints_in(folder.path()).unwrap().into_iter().nth(4), ..full() };
    let refused = |config: &FitConfig, train: &Dataset, mut session: Session| {
        session.build(1).unwrap();
        let before = session.state_dict::<f32>().unwrap();
        let error = fit(&mut session, train, Some(&data(6)), config, &mut Notes::default(), &mut Alone).unwrap_err();
        assert_eq!((error.code, session.state_dict::<f32>().unwrap()), (Code::Checkpoint, before), "{error}");
        error.message
    };
    let message = refused(&FitConfig { batch_size: 5, ..own.clone() }, &data(22), session());
    assert!(
        message.contains("expected a checkpoint of a run with batchSize 5, got") && message.ends_with("with 4"),
        "{message}"
    );
    let message = refused(&FitConfig { clip: None, ..own.clone() }, &data(22), session());
    assert!(message.contains("clipNorm or clipValue none"), "{message}");
    let message = refused(&own, &data(24), session());
    assert!(message.contains("data.train with 24 images of 1x8x8"), "{message}");
    let own_data = data(22);
    let LabelsRef::Single(labels) = own_data.labels() else { panic!() };
    let pixels = || Pixels::U8(vec![7; 22 * 64]);
    let named = |names: [&str; 2]| Some(names.map(str::to_owned).to_vec());
    let set = |names| Dataset::from_arrays(pixels(), [22, 1, 8, 8], labels.to_vec(), names).unwrap();
    assert!(refused(&own, &set(None), session()).contains("contents whose digest"));
    assert!(refused(&own, &set(named(["a", "b"])), session()).contains("the classes a, b"));
    let on = |network, seed| Session::on(network, Executor::cpu(1).unwrap(), seed);
    let seeded = on(session().network().clone(), 6);
    let arch = vec![Stage { num_residuals: 2, num_channels: 8 }];
    let deeper = resnet(&ResNetOptions { arch, num_classes: 2, ..Default::default() }).unwrap();
    assert!(refused(&own, &data(22), on(deeper, 5)).contains("the network of this run"));
    assert!(refused(&own, &data(22), seeded).contains("the seed of this run's model"));
    let message = refused(&FitConfig { schedule: None, ..own.clone() }, &data(22), session());
    assert!(message.contains("a run with schedule none"), "{message}");
    // How long it is may change, with that its schedule, and how it is prepared.
    let longer = FitConfig { epochs: 5, loader_threads: Some(0), ..own };
    run(&mut session(), &longer).unwrap();
    run(&mut session(), &FitConfig { schedule: None, ..longer }).unwrap();
}

/// Of a network with so few weights that a checkpoint has few bytes.
fn tiny() -> Session {
    let conv =
        r#"{"type":"conv2d","out_channels":2,"kernel":[3,3],"stride":[4,4],"padding":[0,0],"groups":1,"bias":false}"#;
    let norm = r#"{"type":"batch_norm2d","eps":1e-5,"momentum":0.1}"#;
    let linear = r#"{"type":"linear","out_features":2,"bias":true}"#;
    let layers =
        [conv, norm, r#"{"type":"global_avg_pool2d"}"#, linear].map(|json| serde_json::from_str(json).unwrap());
    let children = layers.into_iter().enumerate().map(|(i, layer): (usize, Layer)| Child::new(i.to_string(), layer));
    Session::on(Layer::sequential(children.collect()), Executor::cpu(1).unwrap(), 5)
}

#[test]
fn a_checkpoint_for_other_ranks_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut tiny(), &FitConfig { checkpoint: every_step(folder.path()), ..full() }).unwrap();
    let path = checkpoints_in(folder.path()).unwrap().remove(7);
    let cancel = Cancel::default();
    let mut read = Checkpoint::read(&path, true, &cancel).unwrap();
    fs::remove_file(&path).unwrap();
    let given = Checkpoint::from_bytes(&read.take_bytes().unwrap(), &cancel).unwrap();
    assert!(given.file.entries == read.file.entries && given.origin.path == path);
}

#[test]
fn epochs_count_from_one() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut tiny(), &FitConfig { checkpoint: every_step(folder.path()), ..full() }).unwrap();
    let path = checkpoints_in(folder.path()).unwrap().remove(0);
    let json = Checkpoint::read(&path, false, &Cancel::default()).unwrap().described.to_json().unwrap();
    let wrong = json.replacen(r#""progress":{"epoch":1,"#, r#""progress":{"epoch":0,"#, 1);
    assert_ne!(wrong, json);
    let reason = Described::from_json(&wrong).map(drop).unwrap_err();
    assert!(reason.ends_with("expected epochs that count from 1, got 0"), "{reason}");
}

/// Every byte is changed at least once, and the file cut to every length.
#[test]
fn damaged_checkpoints_are_refused_nothing_is_loaded_and_the_one_beside_stays() {
    const FLIPS: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    run(&mut tiny(), &FitConfig { checkpoint: every_step(folder.path()), ..full() }).unwrap();
    let path = checkpoints_in(folder.path()).unwrap().remove(7);
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() < FLIPS, "{} bytes", whole.len());
    let damaged = folder.path().join("damaged.safetensors");
    let config = FitConfig { resume: Some(damaged.clone()), ..full() };
    let mut session = tiny();
    session.build(1).unwrap();
    let before = session.state_dict::<f32>().unwrap();
    let mut count = 0;
    let mut refused = |what: std::fmt::Arguments| {
        count += 1;
        // A run looks at nothing else of it; a sample of them is enough to see that it does.
        let error = match count % 100 {
            0 => run(&mut session, &config).map(drop).unwrap_err(),
            _ => Checkpoint::read(&damaged, count % 2 == 0, &Cancel::default()).map(drop).unwrap_err(),
        };
        assert_eq!(error.code, Code::ModelFile, "{what}: {error}");
        assert!(error.message.contains("damaged.safetensors: "), "{what}: {error}");
    };
    // One file that is changed in place: to write it anew each time would take ten times as long.
    let mut file = File::create(&damaged).unwrap();
    let mut put = |at: usize, bytes: &[u8]| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(bytes).unwrap();
    };
    put(0, &whole);
    for i in 0..FLIPS {
        let (at, bits) = (i % whole.len(), (1 + i * 37 % 255) as u8);
        put(at, &[whole[at] ^ bits]);
        refused(format_args!("byte {at} with {bits:#x} changed"));
        put(at, &[whole[at]]);
    }
    assert_eq!(fs::read(&damaged).unwrap(), whole);
    for len in (0..whole.len()).rev() {
        file.set_len(len as u64).unwrap();
        refused(format_args!("cut to {len}"));
    }
    assert_eq!(session.state_dict::<f32>().unwrap(), before);
    assert_eq!(fs::read(&path).unwrap(), whole);
    fs::write(&damaged, &whole).unwrap();
    assert_eq!(run(&mut session, &config).unwrap().1.resumed.unwrap().0, damaged);
}

#[test]
fn a_folder_goes_on_from_the_last_one_that_is_whole_and_tells_of_those_that_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (mut whole, dir) = (session(), folder.path());
    let (rows, _) = run(&mut whole, &FitConfig { checkpoint: every_step(dir), ..full() }).unwrap();
    let last: Vec<PathBuf> = checkpoints_in(dir).unwrap().split_off(7);
    fs::write(&last[4], "no checkpoint at all").unwrap();
    let mut bytes = fs::read(&last[3]).unwrap();
    bytes[2000] ^= 1;
    fs::write(&last[3], &bytes).unwrap();
    // Where the run writes none there, nothing in the folder changes.
    let own = FitConfig { resume: Some(dir.to_owned()), ..full() };
    let other = tempfile::tempdir().unwrap();
    run(&mut session(), &FitConfig { checkpoint: every_step(other.path()), ..own.clone() }).unwrap();
    let (_, notes) = run(&mut session(), &own).unwrap();
    assert_eq!(notes.resumed.unwrap().0, last[2]);
    assert_eq!(notes.skipped.iter().map(|skipped| &skipped.path).collect::<Vec<_>>(), [&last[4], &last[3]]);
    assert!(notes.skipped[1].reason.contains("its digest differs"), "{:?}", notes.skipped);
    assert_eq!(checkpoints_in(dir).unwrap().len(), 12);
    // Where it does, they are none any more: of the one that stays it must be possible to go on.
    let keep = every_step(dir).map(|config| CheckpointConfig { keep: 1, ..config });
    let ended = CancelFlag::default();
    ended.raise();
    let mut notes = Notes { ended, ..Notes::default() };
    let config = FitConfig { checkpoint: keep.clone(), ..own.clone() };
    let error = fit(&mut session(), &data(22), Some(&data(6)), &config, &mut notes, &mut Alone).unwrap_err();
    assert_eq!(error.code, Code::Aborted);
    let aside = |path: &PathBuf| dir.join(format!("damaged-{}", path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(
        notes.skipped.iter().map(|skipped| skipped.path.clone()).collect::<Vec<_>>(),
        [&last[4], &last[3]].map(aside)
    );
    assert_eq!(fs::read(aside(&last[3])).unwrap(), bytes);
    assert_eq!(checkpoints_in(dir).unwrap().last(), Some(&last[2]));
    let mut session = session();
    let (again, notes) = run(&mut session, &config).unwrap();
    assert_eq!((again, notes.skipped), (rows, Vec::new()));
    assert_eq!(session.state_dict::<f32>().unwrap(), whole.state_dict::<f32>().unwrap());
    assert_eq!(checkpoints_in(dir).unwrap(), [dir.join("step-00000012.safetensors")]);
}

/// A run whose best model is harmed at the path given, and which is then gone on with: to the same rows and a whole best model, with the
/// same weights if the run `restores` them, else those that are evaluated next. The run's folder, and what it set aside.
fn best_is_made_anew(restores: bool, harm: impl FnOnce(&Path, &FitConfig)) -> (TempDir, Vec<SkippedCheckpoint>) {
    let course = CourseConfig { restore_best: restores.then_some(Watch::VALIDATION_LOSS), ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    let (dir, path) = (folder.path(), folder.path().join("best.safetensors"));
    let config = FitConfig { checkpoint: every_step(dir), ..config(course) };
    let (rows, before) = run(&mut session(), &config).unwrap();
    let weights = || Session::load(&path, Default::default(), &Cancel::default()).unwrap().state_dict::<f32>().unwrap();
    let best = weights();
    let config = FitConfig { resume: Some(dir.to_owned()), ..config };
    harm(&path, &config);
    let (again, notes) = run(&mut session(), &config).unwrap();
    assert_eq!(again, rows);
    let made = weights();
    if restores {
        assert_eq!((made, notes.best), (best, before.best));
    } else {
        assert_eq!(notes.best.unwrap().epoch, rows.len());
    }
    (folder, notes.skipped)
}

#[test]
fn a_best_model_that_is_damaged_is_set_aside_and_made_anew() {
    for restores in [true, false] {
        let mut bytes = Vec::new();
        let (folder, skipped) = best_is_made_anew(restores, |path, _| {
            if !restores {
                fs::remove_file(checkpoints_in(path.parent().unwrap()).unwrap().pop().unwrap()).unwrap();
            }
            bytes = fs::read(path).unwrap();
            bytes[2000] ^= 1;
            fs::write(path, &bytes).unwrap();
        });
        let [skipped] = &skipped[..] else { panic!("{skipped:?}") };
        let aside = folder.path().join("damaged-best.safetensors");
        assert_eq!((&skipped.path, fs::read(&aside).unwrap()), (&aside, bytes));
        assert!(skipped.reason.contains("its digest differs"), "{}", skipped.reason);
    }
}

#[test]
fn a_best_model_that_is_gone_is_made_anew() {
    for restores in [true, false] {
        let (_, skipped) = best_is_made_anew(restores, |path, config| {
            if restores {
                return fs::remove_file(path).unwrap();
            }
            // A run that set it aside, and was ended before it evaluated anything.
            fs::remove_file(checkpoints_in(path.parent().unwrap()).unwrap().pop().unwrap()).unwrap();
            let best = fs::read(path).unwrap();
            fs::write(path, &best[..best.len() - 1]).unwrap();
            let ended = CancelFlag::default();
            ended.raise();
            let mut notes = Notes { ended, ..Notes::default() };
            let error = fit(&mut session(), &data(22), Some(&data(6)), config, &mut notes, &mut Alone).unwrap_err();
            assert_eq!((error.code, notes.skipped.len(), path.exists()), (Code::Aborted, 1, false), "{error}");
        });
        assert_eq!(skipped, Vec::new());
    }
}

#[test]
fn what_is_whole_but_cannot_be_gone_on_from_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut tiny(), &FitConfig { checkpoint: every_step(folder.path()), ..full() }).unwrap();
    let own = FitConfig { resume: Some(folder.path().to_owned()), ..full() };
    let newest = folder.path().join("step-00000099.safetensors");
    let refused = || run(&mut tiny(), &own).map(drop).unwrap_err();
    let mut model = tiny();
    model.build(1).unwrap();
    model.save(&newest).unwrap();
    let error = refused();
    assert_eq!((error.code, error.message.ends_with("no checkpoint")), (Code::ModelFile, true), "{error}");
    // Of a version that is not known yet.
    let params = Params::of(&trace_channels(tiny().network(), 1).unwrap()).unwrap();
    let (parameters, running) = (vec![0.0; params.parameters_len()], vec![1.0; params.running_len()]);
    let values = Values { params: &params, parameters: &parameters, running: &running, updates: 1, beside: &[] };
    let metadata = BTreeMap::from([("resnet_native".to_owned(), r#"{"version":4}"#.to_owned())]);
    write(&newest, &values, metadata, &Cancel::default()).unwrap();
    let error = refused();
    assert_eq!((error.code, error.message.contains("version 3, got 4")), (Code::ModelFile, true), "{error}");
    // None is whole.
    let all = checkpoints_in(folder.path()).unwrap();
    all.iter().for_each(|path| fs::write(path, "").unwrap());
    let error = refused();
    assert_eq!((error.code, error.message.ends_with(" is whole")), (Code::ModelFile, true), "{error}");
    assert_eq!(checkpoints_in(folder.path()).unwrap(), all);
}

#[test]
fn an_abort_at_any_moment_leaves_a_checkpoint_from_which_the_run_ends_in_the_same_bits() {
    for config in [full(), FitConfig { accumulate: 4, ..full() }] {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = session();
        let (rows, _) = run(&mut whole, &config).unwrap();
        let resume = Some(folder.path().to_owned());
        let config = FitConfig { checkpoint: Some(on_abort(folder.path())), resume, ..config };
        let (mut attempts, mut written) = (0, 0);
        loop {
            let (mut session, mut notes) = (session(), Notes::default());
            attempts += 1;
            session.cancelled_by(Cancel::after_looks(40 * attempts));
            match fit(&mut session, &data(22), Some(&data(6)), &config, &mut notes, &mut Alone) {
                Ok(again) => {
                    assert_eq!(timeless(&again), rows);
                    assert_eq!(session.state_dict::<f32>().unwrap(), whole.state_dict::<f32>().unwrap());
                    break;
                }
                Err(error) => assert_eq!(error.code, Code::Aborted, "{error}"),
            }
            written += notes.written.len();
            assert!(notes.written.last().is_none_or(|path| path.exists()));
        }
        assert!(written > 1, "{written} of {attempts}");
    }
}

/// Takes the folder away, then ends the run.
struct Removing<'a>(&'a Path);

impl Control for Removing<'_> {
    fn on_event(&mut self, _: &mut Session, event: &Event) -> Flow {
        if !matches!(event, Event::Step { .. }) {
            return Flow::Continue;
        }
        fs::remove_dir_all(self.0).unwrap();
        Flow::Stop
    }
}

#[test]
fn a_checkpoint_that_an_abort_cannot_leave_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let config = FitConfig { checkpoint: Some(on_abort(&dir)), ..full() };
    let error = fit(
        &mut session(),
        &data(22),
        None,
        &FitConfig { course: CourseConfig::default(), ..config },
        &mut Removing(&dir),
        &mut Alone,
    );
    assert_eq!(error.unwrap_err().code, Code::Io);
}

#[test]
fn a_model_without_a_run_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let mut plain = session();
    plain.build(1).unwrap();
    plain.save(&model).unwrap();
    let error = refused(&FitConfig { resume: Some(model), ..full() });
    assert_eq!((error.code, error.message.ends_with("no checkpoint")), (Code::ModelFile, true), "{error}");
}
