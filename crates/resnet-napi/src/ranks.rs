//! The processes that share a run.

use napi_derive::napi;
use resnet_core::distributed::{Alone, Communicator};
use resnet_core::Result;
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
}

/// Reaches them; without any, this process is all.
pub fn reached(given: Option<&GivenRanks>) -> Result<Box<dyn Communicator>> {
    let Some(&GivenRanks { size, rank, timeout }) = given else { return Ok(Box::new(Alone)) };
    by_mpi(Duration::from_secs_f64(timeout), [rank as usize, size as usize])
}

#[cfg(feature = "mpi")]
fn by_mpi(limit: Duration, told: [usize; 2]) -> Result<Box<dyn Communicator>> {
    Ok(Box::new(resnet_mpi::world(limit, told)?))
}

#[cfg(not(feature = "mpi"))]
fn by_mpi(_: Duration, _: [usize; 2]) -> Result<Box<dyn Communicator>> {
    use resnet_core::{Code, Error};
    let expected = "the addon that is built for MPI (npm run build:mpi)";
    Err(Error::expected(Code::Distributed, "distributed", expected, "one without"))
}

/// Ends what has been begun for runs of several processes: waits so many seconds at most for the others to do the same.
#[napi]
pub fn finish_ranks(seconds: f64) {
    #[cfg(feature = "mpi")]
    resnet_mpi::finish(Duration::from_secs_f64(seconds));
    #[cfg(not(feature = "mpi"))]
    let _ = seconds;
}
