//! The thread that makes all calls of MPI.

use crate::rendezvous::{self, Endpoint, Rendezvous};
use mpi::collective::CommunicatorCollectives;
use mpi::point_to_point::{Destination, MatchedReceiveVec, Source};
use mpi::request::{scope, StaticScope};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::{Tag, Threading};
use resnet_core::distributed::pieces::Collective;
use resnet_core::distributed::{late, of_rank};
use resnet_core::{Code, Error, Result};
use std::convert::Infallible;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::OnceLock;
use std::thread::{sleep, yield_now, Builder};
use std::time::{Duration, Instant};

/// Of messages that tell an error.
const FAILED_HERE: Tag = 1;
/// Of those by which ranks that have waited too long find out who is there.
const HERE: Tag = 2;
/// Of rank 0's, after an abort, that it has nothing more to do.
const DONE: Tag = 3;
/// How long a rank that has waited too long hears who else does.
const ROLL_CALL: Duration = Duration::from_secs(2);
/// How long an exchange is looked at without a pause.
const EAGER: Duration = Duration::from_millis(1);
/// A pause.
const PAUSE: Duration = Duration::from_micros(50);

/// What has ended the exchanges of this process for good, if something has.
pub static FAILED: OnceLock<Error> = OnceLock::new();

/// What is asked of the thread.
pub enum Job {
    /// To exchange bytes; they come back with what came.
    Exchange { collective: Collective, sent: Vec<u8>, received: Vec<u8>, limit: Duration, reply: Sender<Answer> },
    /// To say what has ended another rank, or which ones do not answer where this one has waited beyond the limit, after which nothing more is
    /// exchanged either.
    Hear { waited: Duration, limit: Duration, reply: Sender<Option<Error>> },
    /// To tell all other ranks of an error, after which nothing more is exchanged.
    Fail { error: Error, told: Sender<()> },
    /// To have MPI end; after an abort, to wait so long for rank 0 to have nothing more to do.
    Finish { limit: Duration },
}

/// What was sent and what was received, or why nothing is any more.
pub type Answer = Result<(Vec<u8>, Vec<u8>)>;

/// MPI that begins, or has begun.
pub struct Started {
    pub jobs: Sender<Job>,
    /// How long others are waited for.
    pub limit: Duration,
    /// Told when MPI has ended.
    pub ended: Receiver<Infallible>,
    /// Told when all processes have begun.
    begun: Receiver<Result<[usize; 2]>>,
    place: Option<Result<[usize; 2]>>,
    /// Whether processes meet before MPI begins.
    meets: bool,
}

impl Started {
    /// Which process this is, of how many, or why MPI has not begun; none while it waits for all processes, which is looked at for so long.
    pub fn place(&mut self, look: Duration) -> Option<Result<[usize; 2]>> {
        if self.place.is_none() {
            self.place = match self.begun.recv_timeout(look) {
                Ok(place) => Some(place),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    Some(Err(Error::new(Code::Internal, "the thread of MPI ended at once")))
                }
            };
        }
        self.place.clone()
    }

    /// The error where that was waited for since then, longer than the limit.
    pub fn check(&self, since: Instant, limit: Duration) -> Result<()> {
        // Those that meet are told by that who has not come in time.
        let patience = if self.meets { 2 * limit + rendezvous::GRACE } else { limit };
        if since.elapsed() < patience {
            return Ok(());
        }
        // MPI does not tell who is missing, and waits on.
        let expected = format!("every rank to share a run within {} s", patience.as_secs_f64());
        Err(unusable(&expected, "fewer: another has ended, is late, or asks for none"))
    }
}

/// Starts the thread, in which MPI waits for all processes to begin.
pub fn start(limit: Duration, endpoint: Option<Endpoint>) -> Result<Started> {
    let version = mpi::environment::library_version().unwrap_or_default();
    if version.contains("Open MPI") && !is_launched() && std::env::var_os("SLURM_PROCID").is_some() {
        // It would end the process.
        return Err(unusable(&format!("processes started by {}", launchers()), "those of srun without MPI"));
    }
    let endpoint = endpoint.filter(|_| version.contains("MPICH"));
    let meets = endpoint.is_some();
    let ((jobs, asked), (begin, begun), (end, ended)) = (channel(), channel(), channel::<Infallible>());
    let body = move || {
        let mut end = Some(end);
        let rendezvous = match endpoint.map(|endpoint| rendezvous::meet(&endpoint, limit)).transpose() {
            Ok(rendezvous) => rendezvous,
            Err(error) => return drop(begin.send(Err(error))),
        };
        let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Funneled) else {
            return drop(begin.send(Err(unusable("MPI that nobody else has begun in this process", "none"))));
        };
        if threading < Threading::Funneled {
            return drop(
                begin.send(Err(unusable("an MPI that may be called from a thread (MPI_THREAD_FUNNELED)", "none"))),
            );
        }
        let world = universe.world();
        let talk = world.duplicate();
        let _ = begin.send(Ok([world.rank() as usize, world.size() as usize]));
        if serve(&asked, &Ranks { world, talk, rendezvous: rendezvous.as_ref() }, &mut end) {
            // MPI ends here, before anybody is told so.
            drop(universe);
            rendezvous.iter().for_each(Rendezvous::end);
        } else {
            // MPI knows exchanges that never end, and has no way to end with such: the process ends without.
            std::mem::forget(universe);
        }
    };
    Builder::new().name("resnet-mpi".into()).spawn(body).map_err(|error| Error::no_thread(&error))?;
    Ok(Started { jobs, limit, ended, begun, place: None, meets })
}

/// Whether one of MPI's launchers has started this process, or Slurm in its place.
fn is_launched() -> bool {
    ["PMI_FD", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"].iter().any(|name| std::env::var_os(name).is_some())
}

fn unusable(expected: &str, got: &str) -> Error {
    Error::expected(Code::Distributed, "distributed", expected, got)
}

/// Its name and version, from words such as "MPICH Version:      4.0.2" and "Open MPI v4.1.4, package: …".
pub fn library() -> String {
    let told = mpi::environment::library_version().unwrap_or_default();
    let line = told.lines().next().unwrap_or_default();
    let name = line.split([',', ':']).next().unwrap_or_default().replace(" v", " ").replace(" Version", "");
    match line.strip_prefix("MPICH Version:") {
        Some(version) => format!("MPICH {}", version.trim()),
        None => name.trim_matches(['\0', ' ']).to_owned(),
    }
}

/// What starts processes of this MPI.
pub fn launchers() -> &'static str {
    match mpi::environment::library_version().unwrap_or_default() {
        version if version.contains("Open MPI") => "Open MPI's mpirun or srun --mpi=pmix",
        version if version.contains("MPICH") => "MPICH's mpirun, srun --mpi=pmi2 or torchrun",
        _ => "the mpirun of the MPI that the addon was built for",
    }
}

/// Does what is asked until MPI is to end; false where it cannot.
fn serve(asked: &Receiver<Job>, ranks: &Ranks, end: &mut Option<Sender<Infallible>>) -> bool {
    for job in asked {
        let failed = match job {
            Job::Exchange { collective, sent, received, limit, reply } => {
                let lost = |error| {
                    let _ = reply.send(Err(error));
                    ranks.stay(asked);
                    *end = None;
                };
                let exchanged = ranks.exchange(collective, sent, received, limit, lost);
                let _ = reply.send(Ok(exchanged));
                false
            }
            Job::Hear { waited, limit, reply } => {
                let heard =
                    ranks.heard(waited, limit).filter(|ended| !matches!(ended, Ended::Late(ranks) if ranks.is_empty()));
                let error = heard.map(|ended| ended.error(limit));
                error.iter().for_each(note);
                let _ = reply.send(error.clone());
                error.is_some()
            }
            Job::Fail { error, told } => {
                note(&error);
                ranks.tell(&error);
                let _ = told.send(());
                true
            }
            Job::Finish { .. } => return true,
        };
        if failed {
            ranks.stay(asked);
            return false;
        }
    }
    true
}

/// Notes what has ended all exchanges.
fn note(error: &Error) {
    FAILED.get_or_init(|| error.clone());
}

/// What ends exchanges.
enum Ended {
    /// Another rank, which has told why.
    Failed(Error),
    /// This rank, whose process has ended.
    Gone(usize),
    /// These ranks, which do not answer.
    Late(Vec<usize>),
}

impl Ended {
    fn error(&self, limit: Duration) -> Error {
        match self {
            Self::Failed(error) => error.clone(),
            Self::Gone(rank) => unusable(
                &format!("rank {rank} to share the run to its end"),
                "the end of its process, which its machine or launcher may tell of",
            ),
            Self::Late(ranks) => late(ranks, limit),
        }
    }
}

struct Ranks<'a> {
    world: SimpleCommunicator,
    /// For what ranks tell each other beside exchanges.
    talk: SimpleCommunicator,
    /// Where they have met, if no launcher of MPI has started them.
    rendezvous: Option<&'a Rendezvous>,
}

impl Ranks<'_> {
    /// Exchanges, and gives back the bytes with what came. After an error, of which `lost` is told, this does not return: MPI holds on to the bytes
    /// for good.
    fn exchange(
        &self,
        collective: Collective,
        sent: Vec<u8>,
        mut received: Vec<u8>,
        limit: Duration,
        lost: impl FnOnce(Error),
    ) -> (Vec<u8>, Vec<u8>) {
        let began = Instant::now();
        scope(|scope| {
            let mut request = match collective {
                Collective::AllGather => self.world.immediate_all_gather_into(scope, &sent[..], &mut received[..]),
                Collective::AllToAll => self.world.immediate_all_to_all_into(scope, &sent[..], &mut received[..]),
            };
            loop {
                match request.test() {
                    Ok(_) => break,
                    Err(unfinished) => request = unfinished,
                }
                let waited = began.elapsed();
                if let Some(ended) = self.heard(waited, limit) {
                    let error = ended.error(limit);
                    note(&error);
                    lost(error);
                    std::mem::forget(request);
                    loop {
                        std::thread::park();
                    }
                }
                if waited < EAGER {
                    yield_now();
                } else {
                    sleep(PAUSE);
                }
            }
        });
        (sent, received)
    }

    /// Why what has been waited for so long is not waited for any longer.
    fn heard(&self, waited: Duration, limit: Duration) -> Option<Ended> {
        if let Some((rank, text)) = self.message(FAILED_HERE) {
            return Some(Ended::Failed(of_rank(rank, &read(&text))));
        }
        if let Some(rank) = self.rendezvous.and_then(Rendezvous::lost) {
            let gone = Ended::Gone(rank);
            self.tell(&gone.error(limit));
            return Some(gone);
        }
        let called = self.message(HERE);
        if called.is_none() && waited < limit {
            return None;
        }
        // Another has waited too long, or this one has: all who wait say that they are there.
        self.send(HERE, Vec::new());
        let mut is_there = vec![false; self.world.size() as usize];
        is_there[self.world.rank() as usize] = true;
        called.into_iter().for_each(|(rank, _)| is_there[rank] = true);
        let began = Instant::now();
        while began.elapsed() < ROLL_CALL {
            if let Some((rank, text)) = self.message(FAILED_HERE) {
                return Some(Ended::Failed(of_rank(rank, &read(&text))));
            }
            match self.message(HERE) {
                Some((rank, _)) => is_there[rank] = true,
                None => sleep(PAUSE),
            }
        }
        Some(Ended::Late((0..is_there.len()).filter(|&rank| !is_there[rank]).collect()))
    }

    /// After an error nothing is exchanged any more. After an abort the first rank may still have to save what there is, while launchers end all
    /// ranks as soon as one has ended: the others stay until it has nothing more to do.
    fn stay(&self, asked: &Receiver<Job>) {
        let gone = || Error::new(Code::Internal, "nothing has failed");
        let error = FAILED.get().cloned().unwrap_or_else(gone);
        for job in asked {
            match job {
                Job::Exchange { reply, .. } => drop(reply.send(Err(error.clone()))),
                Job::Hear { reply, .. } => drop(reply.send(Some(error.clone()))),
                Job::Fail { told, .. } => drop(told.send(())),
                Job::Finish { limit } => {
                    if error.code == Code::Aborted {
                        self.part(limit);
                    }
                    return;
                }
            }
        }
    }

    /// Rank 0 says that it has nothing more to do, for which others wait so long.
    fn part(&self, limit: Duration) {
        if self.world.rank() == 0 {
            self.send(DONE, Vec::new());
            return self.let_leave();
        }
        let began = Instant::now();
        while began.elapsed() < limit && self.message(DONE).is_none() {
            sleep(10 * PAUSE);
        }
    }

    /// Tells all others of an error.
    fn tell(&self, error: &Error) {
        self.send(FAILED_HERE, format!("{}\n{}", error.code.name(), error.message).into_bytes());
        self.let_leave();
    }

    /// What has been sent leaves while MPI is asked for something.
    fn let_leave(&self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            let _ = self.talk.any_process().immediate_probe_with_tag(FAILED_HERE);
            sleep(PAUSE);
        }
    }

    /// Sends bytes to all others without waiting for them.
    fn send(&self, tag: Tag, bytes: Vec<u8>) {
        // Once in a process: MPI may read them for as long as it likes.
        let bytes: &'static [u8] = bytes.leak();
        for rank in (0..self.world.size()).filter(|&rank| rank != self.world.rank()) {
            std::mem::forget(self.talk.process_at_rank(rank).immediate_send_with_tag(StaticScope, bytes, tag));
        }
    }

    /// A message that has come, with its sender.
    fn message(&self, tag: Tag) -> Option<(usize, Vec<u8>)> {
        let found = self.talk.any_process().immediate_matched_probe_with_tag(tag)?;
        let (bytes, status) = found.matched_receive_vec();
        Some((status.source_rank() as usize, bytes))
    }
}

/// An error as [`Ranks::tell`] writes it.
fn read(text: &[u8]) -> Error {
    let text = String::from_utf8_lossy(text);
    let (name, message) = text.split_once('\n').unwrap_or_default();
    Error::new(Code::of(name).unwrap_or(Code::Distributed), message)
}
