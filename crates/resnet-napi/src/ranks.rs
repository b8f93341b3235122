//! The processes that share a run.

use napi_derive::napi;
use resnet_core::cancel::Cancel;
use resnet_core::distributed::{Alone, Communicator};
use resnet_core::Result;
#[cfg(feature = "mpi")]
use std::time::Duration;

/// The processes that the environment tells of.
#[napi(object)]
pub struct GivenRanks {
    /// How many.
    pub size: u32,
    /// Which one this is.
    pub rank: u32,
    /// Seconds that each exchange waits for all of them.
    pub timeout: f64,
    /// Where they meet, if no launcher of MPI has started them.
    pub rendezvous: Option<GivenRendezvous>,
}

/// Where processes meet that no launcher of MPI has started.
#[napi(object)]
pub struct GivenRendezvous {
    /// Where rank 0 is.
    pub host: String,
    /// At which port.
    pub port: u32,
    /// Tells this start from others.
    pub run: String,
}

/// Reaches them; without any, this process is all. Who gives up the wait for them tells them of the `reason`, when they come.
pub fn reached(
    given: Option<&GivenRanks>,
    cancel: &Cancel,
    reason: impl FnOnce() -> Option<String>,
) -> Result<Box<dyn Communicator>> {
    given.map_or_else(|| Ok(Box::new(Alone) as _), |given| by_mpi(given, cancel, reason))
}

#[cfg(feature = "mpi")]
fn by_mpi(
    given: &GivenRanks,
    cancel: &Cancel,
    reason: impl FnOnce() -> Option<String>,
) -> Result<Box<dyn Communicator>> {
    let (limit, place, endpoint) = told(given);
    let world = resnet_mpi::world(limit, place, endpoint, cancel).inspect_err(|error| {
        if error.code == resnet_core::Code::Aborted {
            let message = reason().unwrap_or_else(|| error.message.clone());
            let (limit, place, endpoint) = told(given);
            resnet_mpi::fail(limit, place, endpoint, resnet_core::Error::new(error.code, message));
        }
    })?;
    Ok(Box::new(world))
}

/// The same in MPI's words.
#[cfg(feature = "mpi")]
fn told(given: &GivenRanks) -> (Duration, [usize; 2], Option<resnet_mpi::Endpoint>) {
    let place = [given.rank, given.size].map(|number| number as usize);
    let endpoint = given.rendezvous.as_ref().map(|GivenRendezvous { host, port, run }| resnet_mpi::Endpoint {
        place,
        host: host.clone(),
        port: *port as u16,
        run: run.clone(),
    });
    (Duration::from_secs_f64(given.timeout), place, endpoint)
}

/// Tells the other processes of an error that ends a run before this one shares it; does not wait for them.
#[napi]
#[cfg_attr(not(feature = "mpi"), allow(unused_variables))]
pub fn fail_ranks(given: GivenRanks, code: String, message: String) {
    #[cfg(feature = "mpi")]
    {
        use resnet_core::{Code, Error};
        let (limit, place, endpoint) = told(&given);
        resnet_mpi::fail(limit, place, endpoint, Error::new(Code::of(&code).unwrap_or(Code::Aborted), message));
    }
}

#[cfg(not(feature = "mpi"))]
fn by_mpi(_: &GivenRanks, _: &Cancel, _: impl FnOnce() -> Option<String>) -> Result<Box<dyn Communicator>> {
    use resnet_core::{Code, Error};
    let expected = "the addon that is built for MPI (npm run build:mpi)";
    Err(Error::expected(Code::Distributed, "distributed", expected, "one without"))
}

/// The MPI that this addon was built for, with its version, if it was for one.
#[napi]
pub fn mpi_library() -> Option<String> {
    #[cfg(feature = "mpi")]
    return Some(resnet_mpi::library());
    #[cfg(not(feature = "mpi"))]
    None
}

/// A descriptor in the place of `PMI_FD`, by which MPICH's launcher is reached, where a program in between has not passed that on, but still has it.
#[napi]
pub fn mpi_descriptor() -> Option<i32> {
    #[cfg(all(feature = "mpi", target_os = "linux"))]
    return resnet_mpi::launchers_descriptor();
    #[cfg(not(all(feature = "mpi", target_os = "linux")))]
    None
}

/// Ends what has been begun for runs of several processes, in one that has `succeeded` or not: waits for the others to do the same, after an abort for
/// the first one. Whether there is nothing left that others would miss.
#[napi]
pub fn finish_ranks(succeeded: bool) -> bool {
    #[cfg(feature = "mpi")]
    return resnet_mpi::finish(succeeded);
    #[cfg(not(feature = "mpi"))]
    succeeded
}
