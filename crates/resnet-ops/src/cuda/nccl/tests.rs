use super::imitated::{built, remove};
use super::library::{c_path, Library};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;

const LIMIT: Duration = Duration::from_secs(20);

fn opened(properties: &[&str]) -> std::result::Result<Library, String> {
    let path = built(properties);
    let library = Library::open(&c_path(&path));
    remove(&path);
    library
}

#[test]
fn what_is_wrong_with_a_library_is_told_with_its_fix() {
    let fix = ": install NCCL 2.14 or newer (the package libnccl2, or nvidia-nccl-cu13 of Python's), its folder on LD_LIBRARY_PATH";
    let missing = Library::open(c"libnccl-of-nobody.so.2").err().unwrap();
    assert!(missing.starts_with("there is no NCCL (libnccl-of-nobody.so.2), by which the GPUs"), "{missing}");
    let broken = Library::open(c"/dev/null").err().unwrap();
    assert!(broken.starts_with("NCCL does not load (/dev/null: "), "{broken}");
    let old = opened(&["-DVERSION=2804"]).err().unwrap();
    assert!(old.starts_with("the NCCL found first is too old (its number is 2804): "), "{old}");
    assert!(opened(&["-DVERSION=21307"]).err().unwrap().contains("too old (its number is 21307)"));
    let lacking = opened(&["-DLACKS_FINALIZE"]).err().unwrap();
    assert!(lacking.starts_with("the NCCL found first has no ncclCommFinalize: "), "{lacking}");
    for message in [missing, broken, old, lacking] {
        assert!(message.ends_with(fix), "{message}");
    }
    assert_eq!(opened(&[]).ok().unwrap().version, [2, 28, 3]);
}

/// What becomes of so many ranks that join, and scatter and gather `len` numbers each, with an imitation of these properties; they wait so
/// long to join, and for each exchange, and hear of one that fails if they are `told`.
fn exchanged(
    properties: &[&str],
    ranks: usize,
    len: usize,
    limits: [Duration; 2],
    told: bool,
) -> Vec<Result<Vec<f32>>> {
    let has_failed = &AtomicBool::new(false);
    let library: &Library = Box::leak(Box::new(opened(properties).unwrap()));
    let mut id = UniqueId([0; 128]);
    // SAFETY: writes the id.
    assert_eq!(unsafe { (library.get_unique_id)(&mut id) }, SUCCESS);
    scope(|scope| {
        let run = |rank: usize| {
            let executor = Executor::refusing_for_tests(0);
            let Executor::Cuda(cuda) = &executor else { panic!("expected kernels of a GPU") };
            let mut hears = || told && has_failed.load(Ordering::Acquire);
            let hears = &mut hears;
            let mut nccl = NcclCommunicator::join_by(library, cuda, id.0, ranks, rank, limits[0], hears)?;
            nccl.limit = limits[1];
            // Of the first rank two, of all others one.
            let counts: Vec<usize> = (0..ranks).map(|rank| if rank == 0 { 2 } else { 1 }).collect();
            let from: Vec<usize> = (0..ranks).flat_map(|rank| vec![rank; counts[rank]]).collect();
            let number = |rank: usize, index: usize, place: usize| (rank * 10_000 + index * 1000 + place) as f32;
            let own: Vec<Buffer> = (0..counts[rank])
                .map(|index| {
                    let values: Vec<f32> = (0..len).map(|place| number(rank, index, place)).collect();
                    executor.upload(DType::F32, &values).unwrap()
                })
                .collect();
            let slice = len.div_ceil(ranks);
            let mut theirs: Vec<Buffer> = from.iter().map(|_| executor.zeros(DType::F32, slice).unwrap()).collect();
            nccl.scatter(&own.iter().collect::<Vec<_>>(), &mut theirs, &from, hears)?;
            let mine = (rank * slice).min(len)..((rank + 1) * slice).min(len);
            let mut place = (0, 0);
            for (found, &peer) in theirs.iter().zip(&from) {
                place = if place.0 == peer { (peer, place.1) } else { (peer, 0) };
                let expected: Vec<f32> = mine.clone().map(|at| number(peer, place.1, at)).collect();
                assert_eq!(found.read::<f32>(0..mine.len()).unwrap(), expected);
                place.1 += 1;
            }
            let mut whole = executor.zeros(DType::F32, slice * ranks).unwrap();
            let mut target = executor.upload(DType::F32, &vec![9f32; len]).unwrap();
            nccl.all_gather(&executor, &theirs[0], &mut whole, &mut target, hears)?;
            target.read(0..len)
        };
        let run = move |rank: usize| run(rank).inspect_err(|_| has_failed.store(true, Ordering::Release));
        let threads: Vec<_> = (0..ranks).map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_rank_gets_its_slices_and_all_get_the_whole() {
    // Slices of one length, a short last one, and ranks without any.
    for (ranks, len) in [(2, 10), (4, 10), (4, 5), (3, 1)] {
        let expected: Vec<f32> = (0..len).map(|place| place as f32).collect();
        for found in exchanged(&[], ranks, len, [LIMIT; 2], false) {
            assert_eq!(found.unwrap(), expected, "{len} numbers, {ranks} ranks");
        }
    }
}

fn messages(properties: &[&str], limits: [Duration; 2], told: bool) -> Vec<String> {
    let failed = exchanged(properties, 2, 10, limits, told).into_iter().map(Result::unwrap_err);
    failed
        .map(|error| match DeviceError::of(&error) {
            Some(DeviceError::Nccl(message)) => message.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn what_fails_is_told_in_nccl_s_words() {
    for (properties, what) in [
        (["-DFAILS_START"], "start"),
        (["-DFAILS_SEND"], "exchange of gradients"),
        (["-DFAILS_LATER"], "exchange of gradients"),
    ] {
        for message in messages(&properties, [LIMIT; 2], false) {
            assert_eq!(message, format!("NCCL failed ({what}): an imaginary error, an imaginary reason"));
        }
    }
}

#[test]
fn what_does_not_end_is_given_up() {
    let short = Duration::from_millis(200);
    let cases =
        [("-DHANGS_START", "start", [short, LIMIT]), ("-DHANGS_LATER", "exchange of gradients", [LIMIT, short])];
    for (property, what, limits) in cases {
        for message in messages(&[property], limits, false) {
            let expected =
                format!("distributed: expected NCCL to end its {what} on every rank within 0.2 s, it did not");
            assert_eq!(message, expected);
        }
    }
}

#[test]
fn a_rank_that_fails_is_waited_for_no_longer() {
    let (given_up, failed) = ("was given up, as another rank has failed", "an imaginary error, an imaginary reason");
    for property in ["-DFAILS_START", "-DFAILS_SEND", "-DFAILS_LATER"] {
        let found = messages(&[property, "-DFAILS_OF=1"], [LIMIT; 2], true);
        assert!(found[0].ends_with(given_up) && found[1].ends_with(failed), "{found:?}");
        // Where NCCL notices it, either may come first.
        let found = messages(&[property, "-DFAILS_OF=1", "-DTELLS_ABORT"], [LIMIT; 2], true);
        assert!(found[0].ends_with(given_up) || found[0].ends_with(failed), "{found:?}");
    }
}
