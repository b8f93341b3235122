//! The descriptor by which MPICH's launcher talks to a process, had from a program in between that has kept it for itself, as npm and npx do.

use rustix::net::sockopt::socket_type;
use rustix::process::{getpid, getppid, pidfd_getfd, pidfd_open, Pid, PidfdFlags, PidfdGetfdFlags};
use rustix::thread::gettid;
use std::env;
use std::fs::{read, read_to_string};
use std::iter::successors;
use std::os::fd::{IntoRawFd as _, OwnedFd};

/// What MPICH's launcher tells each process alone.
const OWN: [&str; 2] = ["PMI_FD", "PMI_RANK"];

/// A copy of the descriptor `PMI_FD` of the nearest process between the launcher and this one that still has it; nobody closes it but MPI. None where the system lets no process have another's, as Ubuntu and Docker do by default; none in a worker, which could tell MPI of it only in a
/// copy of the environment.
pub fn launchers_descriptor() -> Option<i32> {
    if gettid() != getpid() {
        return None;
    }
    let descriptor = env::var("PMI_FD").ok()?.parse().ok()?;
    let own = OWN.map(|name| env::var(name).map(|value| format!("{name}={value}").into_bytes()).ok());
    // The launcher's own processes lack these variables, and may use that number for something else.
    let is_of_this_rank = |process: &Pid| {
        let environment = read(format!("/proc/{process}/environ")).unwrap_or_default();
        own.iter().all(|own| environment.split(|byte| *byte == 0).any(|variable| Some(variable) == own.as_deref()))
    };
    let between = successors(getppid(), |process| parent(*process)).take_while(is_of_this_rank);
    between.into_iter().find_map(|process| copy(process, descriptor)).map(OwnedFd::into_raw_fd)
}

fn copy(process: Pid, descriptor: i32) -> Option<OwnedFd> {
    let process = pidfd_open(process, PidfdFlags::empty()).ok()?;
    let copy = pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty()).ok()?;
    socket_type(&copy).is_ok().then_some(copy)
}

fn parent(process: Pid) -> Option<Pid> {
    let stat = read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before, in brackets, may have any signs.
    let (_, fields) = stat.rsplit_once(')')?;
    Pid::from_raw(fields.split_whitespace().nth(1)?.parse().ok()?)
}
