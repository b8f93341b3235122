//! What ranks come to together: the bits of one process with as many shards, the gradients of the joined batch; what is refused, and how
//! one rank's end is that of all. Ranks are threads.

use super::super::fit;
use super::super::run::tests::{config, data, session, timeless};
use super::*;
use crate::data::{Augment, Batch, Dataset, Input};
use crate::distributed::threads::{self, ThreadRank};
use crate::distributed::Alone;
use crate::model::recipe::layer;
use crate::tensor::{Images, Named};
use crate::train::{Control, CourseConfig, EmaConfig, EpochRow, Event, Flow, Monitor, Optimizer, Trainer, Watch};
use resnet_ops::{Bf16Products, Executor, Precision};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// Counts events, and stops after so many if it is to.
struct Listener {
    left: Option<usize>,
}

impl Control for Listener {
    fn on_event(&mut self, _: &mut Session, _: &Event) -> Flow {
        let Some(left) = &mut self.left else { return Flow::Continue };
        *left = left.saturating_sub(1);
        if *left == 0 {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

/// The same, which says why.
struct Explaining(Listener);

impl Control for Explaining {
    fn on_event(&mut self, session: &mut Session, event: &Event) -> Flow {
        self.0.on_event(session, event)
    }

    fn reason(&self) -> Option<String> {
        Some("TypeError: it is none".to_owned())
    }
}

/// Runs something on as many ranks.
fn on_ranks<R: Send>(size: usize, limit: Duration, run: impl Fn(ThreadRank) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let run = &run;
        let ranks = threads::ranks(size, limit);
        let threads: Vec<_> = ranks.into_iter().map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A stem with pooling, stochastic depth, dropout, a shortcut with its own norm.
fn network() -> Session {
    network_on(Executor::cpu(1).unwrap())
}

fn network_on(executor: Executor) -> Session {
    let layers = [
        r#""type":"conv2d","out_channels":24,"kernel":[3,3],"stride":[1,1],"padding":[1,1],"groups":1,"bias":true"#,
        r#""type":"batch_norm2d","eps":1e-5,"momentum":0.1"#,
        r#""type":"relu""#,
        r#""type":"max_pool2d","kernel":[3,3],"stride":[2,2],"padding":[1,1]"#,
        r#""type":"residual_block","num_channels":24,"stochastic_depth":0.3"#,
        r#""type":"residual_block","num_channels":32,"strides":2,"use1x1_conv":true"#,
        r#""type":"global_avg_pool2d""#,
        r#""type":"dropout","p":0.25"#,
        r#""type":"linear","out_features":2,"bias":true"#,
    ];
    let children = layers.iter().enumerate();
    let children: Vec<_> =
        children.map(|(index, layer)| format!(r#"{{"name":"{index}","layer":{{{layer}}}}}"#)).collect();
    let json = &format!(r#"{{"type":"sequential","children":[{}]}}"#, children.join(","));
    Session::on(layer(json).unwrap(), executor, 5)
}

type Ended = (Vec<EpochRow>, Named, Named);

/// A run on so many ranks; what each has in the end.
fn runs(ranks: usize, make: fn() -> Session, config: &FitConfig, len: usize) -> Vec<Ended> {
    on_ranks(ranks, LIMIT, |mut rank| {
        let (mut session, mut listener) = (make(), Listener { left: None });
        let (train, validation) = (data(len), data(38));
        let rows = fit(&mut session, &train, Some(&validation), config, &mut listener, &mut rank).unwrap();
        let gradients = session.gradients(&Default::default()).unwrap();
        (timeless(&rows), session.state_dict().unwrap(), gradients)
    })
}

fn sharded(shards: usize) -> FitConfig {
    FitConfig { shards: Some(shards), batch_size: 8, epochs: 2, ..config(CourseConfig::default()) }
}

#[test]
fn the_number_of_ranks_changes_no_bit() {
    let ema = Some(EmaConfig { decay: 0.9, warmup: true });
    let restore_best = Some(Watch { monitor: Monitor::ValidationLoss, min_delta: 0.0 });
    let augment = |json| Augment::from_json(json).unwrap();
    let plain = sharded(4);
    let configs = [
        plain.clone(),
        FitConfig {
            accumulate: 2,
            course: CourseConfig { ema, restore_best, ..CourseConfig::default() },
            ..plain.clone()
        },
        FitConfig {
            augment: augment(
                r#"[{"type":"random_crop","padding":1,"reflect":false,"fill":0},{"type":"mixup","alpha":0.4},
                    {"type":"flip","p":0.5,"vertical":false,"alternating":false}]"#,
            ),
            ..plain.clone()
        },
        FitConfig { sync_batch_norm: false, ..plain.clone() },
        FitConfig { balance: Some(1.0), shards: Some(7), ..plain },
    ];
    for config in configs {
        // The last batch has three images: some shards, and all of some ranks, have none.
        let alone = runs(1, network, &config, 19).remove(0);
        for ranks in [2, 3, 4] {
            for (rank, found) in runs(ranks, network, &config, 19).into_iter().enumerate() {
                assert!(found == alone, "rank {rank} of {ranks}: {config:?}");
            }
        }
    }
}

/// A GPU's kernels on this processor, whose ranks exchange gradients by an imitation of NCCL.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_number_of_gpus_changes_no_bit() {
    resnet_ops::imitate_nccl_for_tests();
    let gpu = || network_on(Executor::refusing_for_tests(0));
    let plain = FitConfig { epochs: 1, ..sharded(5) };
    for config in [plain.clone(), FitConfig { accumulate: 2, sync_batch_norm: false, ..plain }] {
        // The last batch has three images: some shards have none.
        let alone = runs(1, gpu, &config, 11).remove(0);
        for ranks in [2, 4] {
            for (rank, found) in runs(ranks, gpu, &config, 11).into_iter().enumerate() {
                assert!(found == alone, "rank {rank} of {ranks}: {config:?}");
            }
        }
    }
}

/// Gradients of a whole batch after others, and after one in shards, with so many captures refused.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn after_shards(refused: usize) -> Named {
    let mut session = Session::on(session().network().clone(), Executor::refusing_for_tests(refused), 5);
    let mut trainer = Trainer::new(config(CourseConfig::default()).update());
    let (n, sharding) = (6, Sharding { shards: 2, ranks: 1, rank: 0 });
    let images: Vec<f32> = (0..n * 64).map(|i| ((i * i * 7 + i / 64 * 31) % 97) as f32 / 50.0 - 1.0).collect();
    let (shape, input) = ([n, 1, 8, 8], || Input::from(Images { data: &images, shape: [n, 1, 8, 8] }));
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let mut batch = Batch { labels: labels.into(), shape, ..Batch::default() };
    for step in 0..5 {
        if step == 3 {
            batch.shards = vec![3, 3];
            let mut ranks =
                Ranks { communicator: &mut Alone, sharding: Some(sharding), synced: true, all_reduce: None };
            let shards = ranks.prepared_for(shape).unwrap();
            trainer.step_on_shards(&mut session, shards, input(), &batch, true).unwrap().unwrap();
        } else {
            trainer.step_on(&mut session, input(), &batch, true).unwrap();
        }
    }
    trainer.gradients(&session).unwrap()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn what_was_captured_before_shards_holds_after_them() {
    assert!(after_shards(0) == after_shards(usize::MAX));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn gpus_join_gpus_alone() {
    resnet_ops::imitate_nccl_for_tests();
    let errors = failed(2, |rank| {
        let executor = if rank == 0 { Executor::refusing_for_tests(0) } else { Executor::cpu(1).unwrap() };
        (network_on(executor), data(22), sharded(2), None)
    });
    for error in errors {
        assert_eq!(error.code, Code::Distributed);
        assert!(error.message.ends_with("of rank 0, got a CPU instead of a GPU on rank 1"), "{error}");
    }
}

/// Ranks of which the second one fails, or stands still, where the others wait for it in NCCL: behind the exchange of one byte that gradients begin with.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
struct Failing {
    rank: ThreadRank,
    stands_still: bool,
    /// Whether it has come there.
    is_there: bool,
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn failing(stands_still: bool) -> Vec<Error> {
    resnet_ops::imitate_nccl_for_tests();
    on_ranks(3, LIMIT, |rank| {
        let (mut session, mut listener) = (network_on(Executor::refusing_for_tests(0)), Listener { left: None });
        let mut rank = Failing { rank, stands_still, is_there: false };
        fit(&mut session, &data(11), None, &sharded(3), &mut listener, &mut rank).unwrap_err()
    })
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
impl Communicator for Failing {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn size(&self) -> usize {
        self.rank.size()
    }

    fn limit(&self) -> Duration {
        self.rank.limit()
    }

    fn all_gather(&mut self, mine: &[u8], part: usize, all: &mut [u8]) -> Result<()> {
        self.rank.all_gather(mine, part, all)?;
        self.is_there |= part == 1;
        match self.stands_still {
            _ if !self.is_there || self.rank() != 1 => Ok(()),
            // Nobody else comes to this one.
            true => self.rank.all_gather(mine, part, all),
            false => Err(Error::new(Code::OutOfMemory, "an imaginary error")),
        }
    }

    fn all_to_all(&mut self, mine: &[u8], part: usize, theirs: &mut [u8]) -> Result<()> {
        self.rank.all_to_all(mine, part, theirs)
    }

    fn heard(&mut self, waited: Duration) -> Option<Error> {
        // As if the time were over.
        self.rank.heard(if self.stands_still && self.is_there { LIMIT } else { waited })
    }

    fn fail(&mut self, error: &Error) {
        self.rank.fail(error);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_rank_that_fails_while_gpus_exchange_is_named_by_all() {
    let errors = failing(false);
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages, ["rank 1: an imaginary error", "an imaginary error", "rank 1: an imaginary error"]);
    assert!(errors.iter().all(|error| error.code == Code::OutOfMemory));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_rank_that_stands_still_while_gpus_exchange_is_named_by_the_others() {
    for error in failing(true) {
        assert!(error.message.ends_with("distributed: expected every rank within 20 s, got none of rank 1"), "{error}");
        assert_eq!(error.code, Code::Distributed);
    }
}

/// Gradients and weights after a step on a batch, cut into so many shards by ourselves; in f64 by definition or by kernels.
fn stepped<V: resnet_ops::Real>(executor: Executor, shards: Option<usize>, synced: bool, n: usize) -> [Named<V>; 2] {
    let mut session = Session::on(network().network().clone(), executor, 5);
    let mut trainer = Trainer::new(config(CourseConfig::default()).update());
    let images: Vec<f32> = (0..n * 64).map(|i| ((i * i * 7 + i / 64 * 31) % 97) as f32 / 50.0 - 1.0).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let (shape, images) = ([n, 1, 8, 8], Input::from(Images { data: &images, shape: [n, 1, 8, 8] }));
    for _ in 0..2 {
        let mut batch = Batch { labels: labels.clone().into(), shape, ..Batch::default() };
        match shards {
            None => drop(trainer.step_on(&mut session, images, &batch, true).unwrap()),
            Some(shards) => {
                let sharding = Sharding { shards, ranks: 1, rank: 0 };
                batch.shards = sharding.own().map(|shard| sharding.images(n, shard).len()).collect();
                let mut ranks = Ranks { communicator: &mut Alone, sharding: Some(sharding), synced, all_reduce: None };
                let shards = ranks.prepared_for(shape).unwrap();
                trainer.step_on_shards(&mut session, shards, images, &batch, true).unwrap().unwrap();
            }
        }
    }
    [trainer.gradients(&session).unwrap(), session.state_dict().unwrap()]
}

/// The largest difference, in shares of the largest value of each tensor.
fn distance(found: &[Named<f64>; 2], expected: &[Named<f64>; 2]) -> f64 {
    let all = found.iter().flatten().zip(expected.iter().flatten());
    all.fold(0.0, |most, ((name, found), (other, expected))| {
        assert_eq!(name, other);
        let largest = expected.data.iter().fold(1e-3f64, |largest, value| largest.max(value.abs()));
        let distances = found.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs() / largest);
        distances.fold(most, f64::max)
    })
}

#[test]
fn shards_give_the_joined_batch_s_gradients_and_statistics() {
    // Unequal shards, and some without an image; dropout drops the same.
    for (n, shards) in [(11, 2), (11, 4), (3, 5)] {
        let joined = stepped::<f64>(Executor::ReferenceF64, None, true, n);
        let found = distance(&stepped(Executor::ReferenceF64, Some(shards), true, n), &joined);
        assert!(found < 1e-10, "{n} images in {shards} shards: {found}");
        let apart = distance(&stepped(Executor::ReferenceF64, Some(shards), false, n), &joined);
        assert!(apart > 1e-3, "{n} images in {shards} shards with statistics of their own: {apart}");
        let kernels = distance(&stepped(Executor::cpu(2).unwrap(), Some(shards), true, n), &joined);
        assert!(kernels < 2e-3, "{n} images in {shards} shards by kernels: {kernels}");
        if let Some(gpu) = Executor::cuda_for_tests(Precision::Fp32) {
            let gpu = distance(&stepped(gpu, Some(shards), true, n), &joined);
            assert!(gpu < 2e-3, "{n} images in {shards} shards on a GPU: {gpu}");
        }
    }
}

#[test]
fn one_shard_has_the_bits_of_a_whole_batch() {
    let whole = stepped::<f32>(Executor::cpu(1).unwrap(), None, true, 11);
    for synced in [true, false] {
        assert!(stepped::<f32>(Executor::cpu(2).unwrap(), Some(1), synced, 11) == whole, "synced: {synced}");
    }
}

/// Errors of ranks, each of which is given what `given` says, and stops after so many events.
fn failed(ranks: usize, given: impl Fn(usize) -> (Session, Dataset, FitConfig, Option<usize>) + Sync) -> Vec<Error> {
    on_ranks(ranks, LIMIT, |mut rank| {
        let (mut session, train, config, left) = given(rank.rank());
        fit(&mut session, &train, None, &config, &mut Listener { left }, &mut rank).unwrap_err()
    })
}

#[test]
fn ranks_that_differ_are_refused_before_the_first_step() {
    let same = || (session(), data(22), sharded(3), None);
    type Change = fn(&mut (Session, Dataset, FitConfig, Option<usize>));
    let changes: [(&str, &str, Change); 6] = [
        ("precision", "bf16 by model instead of F32", |given| {
            let rounding = Executor::cpu(2).unwrap().with_bf16_for_tests(Bf16Products::Model);
            given.0 = Session::on(given.0.network().clone(), rounding, 5);
        }),
        ("model's seed", "6 instead of 5", |given| {
            given.0 = Session::on(given.0.network().clone(), Executor::cpu(2).unwrap(), 6);
        }),
        ("network", "children [", |given| given.0 = network()),
        ("options", "seed 1 instead of none", |given| given.2.seed = Some(1)),
        ("options", "batchSize 6 instead of 8, schedule none instead of ", |given| {
            (given.2.batch_size, given.2.schedule) = (6, None);
        }),
        ("training data", "digest of the contents ", |given| given.1 = data(24)),
    ];
    for (name, got, change) in changes {
        let errors = failed(3, |rank| {
            let mut given = same();
            if rank == 2 {
                change(&mut given);
            }
            given
        });
        let expected = format!("distributed: expected every rank to have the {name} of rank 0, got {got}");
        for error in &errors {
            assert!(error.message.starts_with(&expected) && error.message.ends_with(" on rank 2"), "{error}");
            assert_eq!(*error, errors[0]);
            assert_eq!(error.code, Code::Distributed);
        }
    }
    // Several that have the same are named together.
    let errors = failed(3, |rank| {
        let (session, data, config, left) = same();
        (session, data, FitConfig { shuffle: config.shuffle ^ (rank > 0), ..config }, left)
    });
    assert!(errors.iter().all(|error| error.message.ends_with(" on ranks 1, 2")), "{}", errors[0]);
    let errors = failed(3, |_| (session(), data(22), sharded(2), None));
    assert!(errors.iter().all(|error| error.message == "shards: expected at least the number of ranks, 3, got 2"));
}

#[test]
fn all_go_on_from_a_checkpoint_that_the_first_rank_alone_sees() {
    let folder = tempfile::tempdir().unwrap();
    let at = |place: &str, epochs, resumes: bool| {
        let dir = folder.path().join(place);
        let resume = resumes.then(|| dir.clone());
        let checkpoint = serde_json::from_value(serde_json::json!({ "dir": dir, "keep": 1 })).unwrap();
        FitConfig { epochs, checkpoint: Some(checkpoint), resume, accumulate: 2, ..sharded(3) }
    };
    let ends = |config: FitConfig, rank: &mut ThreadRank| {
        let mut session = network();
        let rows = fit(&mut session, &data(22), Some(&data(9)), &config, &mut Listener { left: None }, rank).unwrap();
        (timeless(&rows), session.state_dict::<f32>().unwrap())
    };
    let whole = on_ranks(2, LIMIT, |mut rank| ends(FitConfig { checkpoint: None, ..at("", 2, false) }, &mut rank));
    on_ranks(2, LIMIT, |mut rank| ends(at("of the first", 1, false), &mut rank));
    let place = |rank: &ThreadRank| if rank.rank() == 0 { "of the first" } else { "nowhere" };
    let resumed = on_ranks(3, LIMIT, |mut rank| ends(at(place(&rank), 2, true), &mut rank));
    assert!(resumed.iter().all(|ended| *ended == whole[0]));
    assert!(!folder.path().join("nowhere").exists());
    // A folder without checkpoints begins the run on all.
    let begun = on_ranks(2, LIMIT, |mut rank| ends(at(&format!("new {}", rank.rank()), 2, true), &mut rank));
    assert!(begun.iter().all(|ended| *ended == whole[0]));
    // One is told to go on, the other is not.
    let errors = failed(2, |rank| (session(), data(22), at(&format!("else {rank}"), 2, rank == 1), None));
    let message = "distributed: expected every rank to have the resume of rank 0, got one instead of none on rank 1";
    assert!(errors.iter().all(|error| error.message == message), "{errors:?}");
}

#[test]
fn what_ends_one_rank_ends_all() {
    // Stopped by its listener.
    let errors = failed(3, |rank| (session(), data(22), sharded(3), (rank == 1).then_some(4)));
    let expected = [
        "rank 1: the training run was cancelled",
        "the training run was cancelled",
        "rank 1: the training run was cancelled",
    ];
    assert_eq!(errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>(), expected);
    assert!(errors.iter().all(|error| error.code == Code::Aborted));

    // The others are told why, where that is known.
    let errors = on_ranks(2, LIMIT, |mut rank| {
        let left = (rank.rank() == 1).then_some(4);
        fit(&mut session(), &data(22), None, &sharded(2), &mut Explaining(Listener { left }), &mut rank).unwrap_err()
    });
    assert_eq!(errors[0], Error::new(Code::Aborted, "rank 1: TypeError: it is none"));

    // Refused by it alone, before the others know of anything.
    let errors = failed(2, |rank| (session(), data(22), FitConfig { epochs: rank, ..sharded(2) }, None));
    assert_eq!(errors[1].message, "rank 0: epochs: expected at least 1, got 0");

    // A loss that is not finite is so on all.
    let hot = || {
        let mut config = sharded(2);
        config.schedule = None;
        config.optimizer =
            Optimizer::from_json(r#"{"type":"sgd","lr":1e30,"momentum":0,"nesterov":false,"weight_decay":0}"#).unwrap();
        config
    };
    let errors = failed(2, |_| (session(), data(22), hot(), None));
    assert_eq!(errors[0], errors[1]);
    assert!(matches!(errors[0].code, Code::NonFiniteLoss | Code::NonFiniteWeights), "{}", errors[0]);
}

/// Changes a weight after so many events.
struct Drifting(usize);

impl Control for Drifting {
    fn on_event(&mut self, session: &mut Session, _: &Event) -> Flow {
        self.0 = self.0.wrapping_sub(1);
        if self.0 == 0 {
            session.weights_mut().unwrap().1.running.slice_mut::<f32>().unwrap()[0] += 1.0;
        }
        Flow::Continue
    }
}

#[test]
fn a_rank_that_drifts_is_named() {
    for drifting in 0..3 {
        let errors = on_ranks(3, LIMIT, |mut rank| {
            let mut control = Drifting(if rank.rank() == drifting { 3 } else { 0 });
            fit(&mut session(), &data(22), None, &sharded(3), &mut control, &mut rank).unwrap_err()
        });
        let message = "distributed: expected the same weights on every rank after 3 updates, got others on rank";
        for error in errors {
            assert_eq!((error.code, error.message), (Code::Distributed, format!("{message} {drifting}")));
        }
    }
}

#[test]
fn a_rank_that_does_not_come_is_named_in_time() {
    let began = Instant::now();
    let errors = on_ranks(3, Duration::from_millis(300), |mut rank| {
        if rank.rank() == 1 {
            return None;
        }
        let (mut session, mut listener) = (session(), Listener { left: None });
        fit(&mut session, &data(22), None, &sharded(3), &mut listener, &mut rank).err()
    });
    assert!(began.elapsed() < Duration::from_secs(10));
    let message = "distributed: expected every rank within 0.3 s, got none of rank 1";
    for error in errors.into_iter().flatten() {
        assert_eq!(error.code, Code::Distributed);
        assert!(error.message.ends_with(message), "{error}");
    }
}
