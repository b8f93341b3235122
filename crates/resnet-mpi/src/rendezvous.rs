//! The rendezvous of processes that no launcher of MPI has started, but one that tells them `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`, as
//! torchrun and Kubeflow do. Rank 0 waits for all of them there, and then is what MPICH asks its own launcher for: a server of PMI's simple
//! protocol, version 1.1, from which processes get their size and each other's addresses.

use resnet_core::distributed::late;
use resnet_core::{Code, Error, Result};
use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{sleep, Builder};
use std::time::{Duration, Instant};

/// What the first line of a process begins with that says it is there.
const HELLO: &str = "resnet-native";
/// What it is told when all are, and what errors begin with that it is told else.
const GO: &str = "go";
const REFUSED: &str = "distributed: ";
/// Between two looks for who has come, or for rank 0.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a line at most, and how long a first line is waited for: whoever knocks may be nobody of ours.
const LINE: u64 = 16 << 10;
const FIRST_LINE: Duration = Duration::from_secs(5);
/// What helps where the port has another.
const ANOTHER_PORT: &str = "give another MASTER_PORT (torchrun: --master-port)";
/// How much longer than rank 0 others wait to be told who has not come.
pub const GRACE: Duration = Duration::from_secs(5);
/// Values that processes may leave for each other, for each of them: MPICH leaves a few.
const MOST_VALUES: usize = 1024;
/// How long rank 0 stays for others that end.
const FAREWELL: Duration = Duration::from_secs(60);

/// Where processes meet.
pub struct Endpoint {
    /// Which one this is, of how many.
    pub place: [usize; 2],
    /// Where rank 0 is.
    pub host: String,
    /// At which port.
    pub port: u16,
    /// Tells this start from others.
    pub run: String,
}

impl Endpoint {
    fn hello(&self) -> String {
        format!("{HELLO} {} {} {}", env!("CARGO_PKG_VERSION"), self.place[1], self.run)
    }

    /// Where rank 0 was not found within so long.
    fn unreached(&self, limit: Duration, why: &str) -> Error {
        let (host, port, limit) = (&self.host, self.port, limit.as_secs_f64());
        let fix =
            "see that rank 0 has started, that MASTER_ADDR and MASTER_PORT lead to it, and that no firewall is between";
        let message = format!("distributed: rank 0 cannot be reached at {host}:{port} within {limit} s: {why}; {fix}");
        Error::new(Code::Distributed, message)
    }

    /// Where this one is rank 0 and cannot be found by others.
    fn unopened(&self, error: &std::io::Error) -> Error {
        let (expected, port) = ("rank 0 to listen at the port that MASTER_PORT tells", self.port);
        let got = match error.kind() {
            ErrorKind::AddrInUse => format!("{port}, which is in use: another start is there, or two processes have RANK 0; end it or them, or {ANOTHER_PORT}"),
            ErrorKind::PermissionDenied => format!("{port}, which this user may not take: {ANOTHER_PORT}"),
            _ => format!("{port}: {error}"),
        };
        Error::expected(Code::Distributed, "distributed", expected, got)
    }
}

/// A rendezvous that all processes have come to.
pub struct Rendezvous {
    /// What all meet at, where this is rank 0.
    host: Option<Arc<Host>>,
}

/// Meets the others; see `PMI_PORT` of `ts/ranks.ts`, by which MPICH then finds rank 0.
///
/// # Errors
/// `ERR_DISTRIBUTED` names who has not come in time; if MPICH would find nobody; `ERR_NO_THREAD`.
pub fn meet(endpoint: &Endpoint, limit: Duration) -> Result<Rendezvous> {
    if env::var_os("PMI_PORT").is_none() {
        // A worker has a copy of the environment, which MPI does not see.
        let expected =
            "resnet-native to be loaded by the main thread first, whose environment tells MPICH where rank 0 is";
        return Err(Error::expected(Code::Distributed, "distributed", expected, "a worker alone"));
    }
    if endpoint.place[0] > 0 {
        arrive(endpoint, limit)?;
        return Ok(Rendezvous { host: None });
    }
    let host = Host::open(endpoint)?;
    host.wait_for_all(limit)?;
    Ok(Rendezvous { host: Some(host) })
}

impl Rendezvous {
    /// Where this is rank 0, one whose process has ended without the end of MPI.
    pub fn lost(&self) -> Option<usize> {
        self.host.as_ref()?.lost.get().copied()
    }

    /// Where this is rank 0, waits for the others to have ended MPI too.
    pub fn end(&self) {
        if let Some(host) = &self.host {
            drop(host.wait(FAREWELL, |state| state.ended >= host.size));
        }
    }
}

/// Says to rank 0 that this process is there, until all are.
fn arrive(endpoint: &Endpoint, limit: Duration) -> Result<()> {
    let (began, mut why) = (Instant::now(), None);
    loop {
        let found = match knock(endpoint, began, limit) {
            Ok(line) if line == GO => return Ok(()),
            Ok(line) if line.starts_with(REFUSED) => return Err(Error::new(Code::Distributed, line)),
            Ok(line) if line.is_empty() => "it leaves without a word".to_owned(),
            Ok(_) => format!("another program is there, so {ANOTHER_PORT}"),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
                // The last time is too short for an answer: what came before counts.
                ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                    why.take().unwrap_or_else(|| "it does not answer".to_owned())
                }
                _ => error.to_string(),
            },
        };
        if began.elapsed() >= limit {
            return Err(endpoint.unreached(limit, &found));
        }
        why = Some(found);
        sleep(PAUSE);
    }
}

/// The first line that rank 0 answers, empty if it leaves. Whoever listens is waited for a little longer than the limit: rank 0 then knows who is missing.
fn knock(endpoint: &Endpoint, began: Instant, limit: Duration) -> std::io::Result<String> {
    let left = |limit: Duration| limit.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address(endpoint, left(limit))?, left(limit))?;
    stream.write_all(format!("{} {}\n", endpoint.hello(), endpoint.place[0]).as_bytes())?;
    stream.set_read_timeout(Some(left(limit + GRACE)))?;
    let mut line = String::new();
    BufReader::new(stream).take(LINE).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Where rank 0 is, as MPICH looks for it; servers of names that do not answer are waited for no longer than so.
fn address(Endpoint { host, port, .. }: &Endpoint, limit: Duration) -> std::io::Result<SocketAddr> {
    let ((told, found), place) = (channel(), (host.clone(), *port));
    let look = move || {
        let _ = told.send((place.0.as_str(), place.1).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    };
    Builder::new().name("resnet-rendezvous".into()).spawn(look)?;
    let late = |_| std::io::Error::from(ErrorKind::TimedOut);
    let mut addresses = found.recv_timeout(limit).map_err(late)??.into_iter().filter(SocketAddr::is_ipv4);
    addresses.next().ok_or_else(|| std::io::Error::new(ErrorKind::NotFound, "it has no IPv4 address"))
}

/// Rank 0, where all meet.
struct Host {
    size: usize,
    hello: String,
    state: Mutex<State>,
    changed: Condvar,
    /// One that has ended in another way than by MPI's end.
    lost: OnceLock<usize>,
}

struct State {
    is_here: Vec<bool>,
    /// Why nobody goes on, where that is so.
    refused: Option<String>,
    /// What processes have told each other.
    values: HashMap<String, String>,
    /// Processes that MPI has begun in, those that wait at the barrier, barriers that all have passed, processes that have ended.
    begun: usize,
    waiting: usize,
    passed: usize,
    ended: usize,
}

impl Host {
    fn open(endpoint: &Endpoint) -> Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, endpoint.port)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listener.map_err(|error| endpoint.unopened(&error))?;
        let mut is_here = vec![false; endpoint.place[1]];
        is_here[0] = true;
        let values = HashMap::new();
        let state = State { is_here, refused: None, values, begun: 0, waiting: 0, passed: 0, ended: 0 };
        let hello = endpoint.hello();
        let (state, changed, lost) = (Mutex::new(state), Condvar::new(), OnceLock::new());
        let host = Arc::new(Self { size: endpoint.place[1], hello, state, changed, lost });
        let for_all = host.clone();
        let listen = move || for_all.listen(&listener);
        Builder::new().name("resnet-rendezvous".into()).spawn(listen).map_err(|error| Error::no_thread(&error))?;
        Ok(host)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the state is so, for so long at most.
    fn wait(&self, limit: Duration, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.state(), limit, |state| !is_so(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn wait_for_all(&self, limit: Duration) -> Result<()> {
        let mut state = self.wait(limit, |state| state.refused.is_some() || state.is_here.iter().all(|&here| here));
        let missing: Vec<usize> = (0..self.size).filter(|&rank| !state.is_here[rank]).collect();
        if !missing.is_empty() {
            state.refused.get_or_insert_with(|| late(&missing, limit).message);
            self.changed.notify_all();
        }
        state.refused.clone().map_or(Ok(()), |refused| Err(Error::new(Code::Distributed, refused)))
    }

    /// Takes in who comes, each on a thread of its own, until MPI has begun in all.
    fn listen(self: Arc<Self>, listener: &TcpListener) {
        let is_open = || {
            let state = self.state();
            state.begun < self.size && state.refused.is_none()
        };
        while is_open() {
            let Ok((stream, _)) = listener.accept() else {
                sleep(PAUSE);
                continue;
            };
            let host = self.clone();
            // Who finds no thread here comes again, or is missed.
            let _ = Builder::new().name("resnet-rendezvous".into()).spawn(move || host.hear(stream));
        }
    }

    fn hear(&self, mut stream: TcpStream) {
        let prepared = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_nodelay(true))
            .and_then(|()| stream.set_read_timeout(Some(FIRST_LINE)))
            .and_then(|()| stream.try_clone());
        let Ok(mut lines) = prepared.map(BufReader::new) else { return };
        let Some(first) = next_line(&mut lines) else { return };
        if first.starts_with(HELLO) {
            let answer = self.welcome(&first);
            // Who has left meanwhile is missed by MPI.
            let _ = writeln!(stream, "{answer}");
        } else if first.starts_with("cmd=initack") && self.is_complete() && stream.set_read_timeout(None).is_ok() {
            if self.serve(&first, &mut lines, &mut stream).is_none() {
                let rank = first.split_whitespace().find_map(|word| word.strip_prefix("pmiid=")?.parse().ok());
                self.lost.get_or_init(|| rank.unwrap_or_default());
            }
            self.change(|state| state.ended += 1);
        }
    }

    /// Whether all are there and MPI has yet to begin in some.
    fn is_complete(&self) -> bool {
        let state = self.state();
        state.is_here.iter().all(|&here| here) && state.begun < self.size
    }

    /// What a process is told that says it is there, when that is known.
    fn welcome(&self, line: &str) -> String {
        if let Some((expected, got)) = self.refusal(line) {
            return Error::expected(Code::Distributed, "distributed", expected, got).message;
        }
        self.changed.notify_all();
        let state = self.wait(Duration::MAX, |state| state.refused.is_some() || state.is_here.iter().all(|&here| here));
        state.refused.clone().unwrap_or_else(|| GO.to_owned())
    }

    /// What was expected of a process that says it is there and what it is, if it is none that is waited for; else it counts as there from now on.
    fn refusal(&self, line: &str) -> Option<(String, String)> {
        let [ours, theirs] = [self.hello.as_str(), line].map(|line| line.split(' ').collect::<Vec<_>>());
        let (&[_, version, size, run], &[_, their_version, their_size, their_run, rank]) = (&ours[..], &theirs[..])
        else {
            return Some((format!("a process of {}", self.hello), line.to_owned()));
        };
        let fix = format!("end one of both starts, or {ANOTHER_PORT}");
        if their_run != run {
            let expected = format!("a process of the start {run}, which is at this port");
            return Some((expected, format!("one of {their_run}: {fix}")));
        }
        if their_version != version {
            return Some((format!("version {version} of rank 0"), format!("{their_version} on rank {rank}")));
        }
        if their_size != size {
            return Some((format!("WORLD_SIZE {size} of rank 0"), format!("{their_size} on rank {rank}: {fix}")));
        }
        let number = rank.parse::<usize>().ok().filter(|&rank| rank < self.size);
        let is_new = number.is_some_and(|rank| !std::mem::replace(&mut self.state().is_here[rank], true));
        let got =
            || format!("rank {rank} again: two processes have RANK {rank}, or another start is at this port; {fix}");
        (!is_new).then(|| (format!("each of {size} ranks once"), got()))
    }

    /// PMI's server for one process, to its end; `None` if that was another than MPI's.
    fn serve(&self, first: &str, lines: &mut impl BufRead, stream: &mut TcpStream) -> Option<()> {
        let mut line = first.to_owned();
        loop {
            let words: HashMap<&str, &str> = line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
            let word = |name: &str| words.get(name).copied().unwrap_or_default();
            let answer = match word("cmd") {
                "initack" => {
                    self.change(|state| state.begun += 1);
                    let (size, rank) = (self.size, word("pmiid"));
                    format!("cmd=initack rc=0\ncmd=set size={size}\ncmd=set rank={rank}\ncmd=set debug=0")
                }
                "init" => "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0".to_owned(),
                "get_maxes" => "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024".to_owned(),
                "get_appnum" => "cmd=appnum appnum=0".to_owned(),
                "get_universe_size" => format!("cmd=universe_size size={}", self.size),
                "get_my_kvsname" => "cmd=my_kvsname kvsname=run".to_owned(),
                "put" if self.state().values.len() >= MOST_VALUES * self.size => {
                    "cmd=put_result rc=-1 msg=full".to_owned()
                }
                "put" => {
                    self.state().values.insert(word("key").to_owned(), word("value").to_owned());
                    "cmd=put_result rc=0 msg=success".to_owned()
                }
                "get" => match self.state().values.get(word("key")) {
                    Some(value) => format!("cmd=get_result rc=0 msg=success value={value}"),
                    None => "cmd=get_result rc=-1 msg=unknown value=unknown".to_owned(),
                },
                "barrier_in" => {
                    self.pass()?;
                    "cmd=barrier_out".to_owned()
                }
                "finalize" => {
                    let _ = stream.write_all(b"cmd=finalize_ack\n");
                    return Some(());
                }
                _ => "cmd=unknown rc=-1".to_owned(),
            };
            stream.write_all(format!("{answer}\n").as_bytes()).ok()?;
            line = next_line(lines)?;
        }
    }

    /// Waits at the barrier for all; `None` where one is lost, and so never comes.
    fn pass(&self) -> Option<()> {
        let mut passed = 0;
        self.change(|state| {
            passed = state.passed;
            state.waiting += 1;
            if state.waiting == self.size {
                (state.waiting, state.passed) = (0, passed + 1);
            }
        });
        let state = self.wait(Duration::MAX, |state| state.passed > passed || self.lost.get().is_some());
        (state.passed > passed).then_some(())
    }
}

/// The next line without its end; `None` where there is none, or it is too long.
fn next_line(lines: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    lines.by_ref().take(LINE).read_line(&mut line).ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}
