//! The ranks of a training run as processes of MPI, which moves their bytes and adds nothing up.
//!
//! MPI is built against what is installed, since its libraries have no common binary interface; nothing else of the project needs this crate.
//! One thread makes all calls of MPI, from its beginning to its end, as `MPI_THREAD_FUNNELED` wants it. It never blocks in one: exchanges are
//! begun and then looked at, and between two looks other ranks are heard that have failed.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod descriptor;
mod rendezvous;
mod thread;

#[cfg(target_os = "linux")]
pub use descriptor::launchers_descriptor;
pub use rendezvous::Endpoint;
use resnet_core::cancel::Cancel;
use resnet_core::distributed::pieces::{Collective, Exchanged};
use resnet_core::distributed::Communicator;
use resnet_core::{Code, Error, Result};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};
use thread::{launchers, Answer, Job, Started, FAILED};

/// All processes that were started together, as one of them sees them.
pub struct World {
    jobs: Sender<Job>,
    rank: usize,
    size: usize,
    limit: Duration,
    /// Memory for pieces that are under way.
    spare: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Bytes that all ranks' parts have together of what is exchanged at a time: far below what MPI can count, and so few that the next piece
/// is still in a core's cache when MPI reads it, which moves the one before meanwhile.
const PIECE: usize = 1 << 20;

/// Fewest bytes of each part in a piece, as where many ranks share one, messages would wait for each other longer than they move.
const LEAST: usize = 256 << 10;

/// How long processes that have succeeded wait for others that still work.
const A_DAY: Duration = Duration::from_secs(86_400);

/// How long a process that ends waits at most for the others to come, to tell them of what has ended a run before it shared that: they may be reading
/// their data.
const TELLING: Duration = Duration::from_secs(30);

/// Between two looks whether a wait for the others to begin was given up.
const LOOK: Duration = Duration::from_millis(50);

/// How much longer than for another rank the thread of MPI is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// Whether a run has had the world.
static SHARED: AtomicBool = AtomicBool::new(false);

/// Whether a run has the world: two at once would exchange with each other.
static IN_USE: AtomicBool = AtomicBool::new(false);

static STARTED: OnceLock<Result<Mutex<Started>>> = OnceLock::new();

/// Ends when the others have been told by [`fail`], which are waited for so long.
static TOLD: Mutex<Option<(Receiver<Infallible>, Duration)>> = Mutex::new(None);

/// Has MPI begin, if it has not yet, which waits so long for all processes to do so. Each exchange waits as long for the other ranks.
///
/// # Errors
/// `ERR_ABORTED` if that wait is given up; `ERR_DISTRIBUTED` if MPI cannot begin or has ended, processes do not come, or it reaches others than a
/// launcher has told this one of: not `size` of them, or this one not as `rank`; `ERR_BUSY` while another run has them; `ERR_NO_THREAD`.
pub fn world(limit: Duration, place: [usize; 2], endpoint: Option<Endpoint>, cancel: &Cancel) -> Result<World> {
    let world = reached(limit, place, endpoint, cancel)?;
    SHARED.store(true, Ordering::Release);
    Ok(world)
}

fn reached(limit: Duration, [rank, size]: [usize; 2], endpoint: Option<Endpoint>, cancel: &Cancel) -> Result<World> {
    let started =
        STARTED.get_or_init(|| thread::start(limit, endpoint).map(Mutex::new)).as_ref().map_err(Clone::clone)?;
    let since = Instant::now();
    let found = loop {
        // Others look too, as one that tells of an error.
        let mut started = locked(started);
        match started.place(LOOK) {
            Some(place) => break place?,
            None => started.check(since, limit)?,
        }
        drop(started);
        cancel.check()?;
    };
    if found != [rank, size] {
        let expected = format!("MPI to reach {size} processes, of which this is rank {rank}, as the environment tells");
        let got = format!("rank {} of {}: start them by {}", found[0], found[1], launchers());
        return Err(Error::expected(Code::Distributed, "distributed", expected, got));
    }
    if let Some(error) = FAILED.get() {
        let got = format!("an earlier run of them that has failed, \"{}\": start them anew", error.message);
        return Err(Error::expected(Code::Distributed, "distributed", "processes that reach each other", got));
    }
    if IN_USE.swap(true, Ordering::AcqRel) {
        return Err(Error::new(
            Code::Busy,
            "distributed: another run of this process shares its processes: await it first",
        ));
    }
    Ok(World { jobs: locked(started).jobs.clone(), rank, size, limit, spare: Vec::new() })
}

/// Tells the other processes of an error that ends a run before this one shares it, as soon as they are there, for which this does not wait.
/// Arguments are those of [`world`]. Once a run was shared, or another error is being told, nothing is.
pub fn fail(limit: Duration, place: [usize; 2], endpoint: Option<Endpoint>, error: Error) {
    let mut told = locked(&TOLD);
    if SHARED.load(Ordering::Acquire) || told.is_some() {
        return;
    }
    let (tell, heard) = channel();
    let body = move || {
        let _tell = tell;
        if let Ok(mut world) = reached(limit, place, endpoint, &Cancel::default()) {
            world.fail(&error);
        }
    };
    if Builder::new().name("resnet-mpi-fail".into()).spawn(body).is_ok() {
        *told = Some((heard, limit.min(TELLING)));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The MPI that this was built for, with its version, such as "MPICH 4.0.2".
pub fn library() -> String {
    thread::library()
}

/// Has MPI end, if it has begun: where this process has `succeeded` and no rank has failed, all are waited for to do so; after an abort the first
/// rank is, for as long as an exchange would be. Whether there is nothing left that others would miss.
pub fn finish(succeeded: bool) -> bool {
    let told = locked(&TOLD).take();
    if let Some((told, limit)) = told {
        let _ = told.recv_timeout(limit);
    }
    let Some(Ok(started)) = STARTED.get() else { return true };
    let mut started = locked(started);
    if !matches!(started.place(Duration::ZERO), Some(Ok(_))) {
        return true;
    }
    let has_failed = FAILED.get().is_some();
    if !(succeeded || has_failed) {
        return false;
    }
    // Whether it has ended or not: there is nothing more to be done.
    let _ = started.jobs.send(Job::Finish { limit: started.limit });
    let _ = started.ended.recv_timeout(if has_failed { started.limit + GRACE } else { A_DAY });
    !has_failed
}

impl Drop for World {
    /// A defect here ends what the others wait for too.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail(&Error::new(Code::Internal, "a thread panicked"));
        }
        IN_USE.store(false, Ordering::Release);
    }
}

impl World {
    /// Exchanges piece by piece, of which the thread of MPI has one while the next is got ready.
    fn exchange(&mut self, collective: Collective, mine: &[u8], part: usize, theirs: &mut [u8]) -> Result<()> {
        let exchange = Exchanged { collective, part, ranks: self.size };
        let mut under_way = None;
        for piece in exchange.pieces(PIECE.max(self.size * LEAST)) {
            let answer = self.begin(exchange, mine, &piece)?;
            if let Some((piece, answer)) = under_way.replace((piece, answer)) {
                self.end(exchange, &piece, &answer, theirs)?;
            }
        }
        under_way.map_or(Ok(()), |(piece, answer)| self.end(exchange, &piece, &answer, theirs))
    }

    fn begin(&mut self, exchange: Exchanged, mine: &[u8], piece: &Range<usize>) -> Result<Receiver<Answer>> {
        let (reply, answer) = channel();
        let (mut sent, mut received) = self.spare.pop().unwrap_or_default();
        exchange.write(mine, piece, &mut sent);
        received.resize(exchange.received(piece), 0);
        let job = Job::Exchange { collective: exchange.collective, sent, received, limit: self.limit, reply };
        self.jobs.send(job).map_err(|_| gone())?;
        Ok(answer)
    }

    fn end(
        &mut self,
        exchange: Exchanged,
        piece: &Range<usize>,
        answer: &Receiver<Answer>,
        theirs: &mut [u8],
    ) -> Result<()> {
        let (sent, received) = answer.recv().map_err(|_| gone())??;
        exchange.read(&received, piece, theirs);
        self.spare.push((sent, received));
        Ok(())
    }
}

fn gone() -> Error {
    Error::new(Code::Distributed, "distributed: MPI has ended in this process")
}

impl Communicator for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn limit(&self) -> Duration {
        self.limit
    }

    fn all_gather(&mut self, mine: &[u8], part: usize, all: &mut [u8]) -> Result<()> {
        self.exchange(Collective::AllGather, mine, part, all)
    }

    fn all_to_all(&mut self, mine: &[u8], part: usize, theirs: &mut [u8]) -> Result<()> {
        self.exchange(Collective::AllToAll, mine, part, theirs)
    }

    fn heard(&mut self, waited: Duration) -> Option<Error> {
        let (reply, answer) = channel();
        let is_asked = self.jobs.send(Job::Hear { waited, limit: self.limit, reply }).is_ok();
        let heard = if is_asked { answer.recv().ok() } else { None };
        heard.unwrap_or_else(|| Some(gone()))
    }

    fn fail(&mut self, error: &Error) {
        let (told, heard) = channel();
        if self.jobs.send(Job::Fail { error: error.clone(), told }).is_ok() {
            // The others are told before this process can end.
            let _ = heard.recv_timeout(Duration::from_secs(5));
        }
    }
}
