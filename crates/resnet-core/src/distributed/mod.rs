//! Training by several ranks: processes, each of which has some shards of every batch.
//!
//! A batch is cut into a number of shards that has nothing to do with the number of ranks (`sharding`). What has to be added up over the
//! batch is worked out for each shard by itself and added up by a fixed `tree` over shards, so that results depend on how many shards
//! there are, and not on which rank had them. Ranks exchange bytes through a [`Communicator`], which does no arithmetic, and gradients on GPUs
//! by `gpu_all_reduce`; `Group` is what the engine sees of all that.

mod agreement;
mod broadcast;
mod exchange;
mod gpu_all_reduce;
mod group;
pub mod pieces;
mod sharding;
pub mod threads;
mod tree;

pub(crate) use agreement::Agreement;
pub(crate) use broadcast::broadcast;
pub(crate) use exchange::Exchange;
pub(crate) use gpu_all_reduce::GpuAllReduce;
pub(crate) use group::{add, merged, Group};
pub(crate) use sharding::Sharding;

use crate::error::{Code, Error, Result};
use std::time::Duration;

/// How ranks reach each other. All ranks make the same calls in the same order. An error on one is one on all, from their present or next
/// call on.
pub trait Communicator: Send {
    /// This rank, from 0 to below [`Communicator::size`].
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn size(&self) -> usize;

    /// How long each exchange waits for all of them.
    fn limit(&self) -> Duration;

    /// Fills `all` with what each rank gives, `part` bytes of it, rank after rank; the last ranks may give less, down to nothing, so that all
    /// is full.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` if a rank does not come in time or is lost; another rank's error, which names it.
    fn all_gather(&mut self, mine: &[u8], part: usize, all: &mut [u8]) -> Result<()>;

    /// Cuts `mine` into parts, `part` bytes of it for each rank, less for the last ones where it ends; fills `theirs` with those that are
    /// for this rank, rank after rank.
    ///
    /// # Errors
    /// As for [`Communicator::all_gather`].
    fn all_to_all(&mut self, mine: &[u8], part: usize, theirs: &mut [u8]) -> Result<()>;

    /// For waits, of so long so far, in which nothing is exchanged by this: the error of another rank, if one has told of it; beyond the limit that
    /// which names the ranks that do not answer, if there are any. Only then it waits, for their answers.
    fn heard(&mut self, waited: Duration) -> Option<Error>;

    /// Tells all other ranks of an error that ends what they do together. Does not wait for them.
    fn fail(&mut self, error: &Error);
}

/// One rank, for itself.
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn limit(&self) -> Duration {
        Duration::MAX
    }

    fn all_gather(&mut self, mine: &[u8], _: usize, all: &mut [u8]) -> Result<()> {
        all.copy_from_slice(mine);
        Ok(())
    }

    fn all_to_all(&mut self, mine: &[u8], _: usize, theirs: &mut [u8]) -> Result<()> {
        theirs.copy_from_slice(mine);
        Ok(())
    }

    fn heard(&mut self, _: Duration) -> Option<Error> {
        None
    }

    fn fail(&mut self, _: &Error) {}
}

/// Another rank's error, as it is told here. What is said of every rank names those that it means, and is the same wherever it is found.
pub fn of_rank(rank: usize, error: &Error) -> Error {
    if error.code == Code::Distributed && error.message.contains(" every rank") {
        return error.clone();
    }
    Error::new(error.code, format!("rank {rank}: {}", error.message))
}

/// The error where these ranks do not come in time; without any, where all are there and yet nothing comes.
pub fn late(ranks: &[usize], limit: Duration) -> Error {
    let got = match ranks {
        [] => "nothing more, though all answer".to_owned(),
        ranks => format!("none of {}", numbered(ranks)),
    };
    let expected = format!("every rank within {} s", limit.as_secs_f64());
    Error::expected(Code::Distributed, "distributed", expected, got)
}

/// Ranks as messages name them.
pub(crate) fn numbered(ranks: &[usize]) -> String {
    let numbers: Vec<String> = ranks.iter().map(usize::to_string).collect();
    format!("rank{} {}", if ranks.len() > 1 { "s" } else { "" }, numbers.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_every_rank_is_told_alike_by_all() {
        let own = Error::new(Code::OutOfMemory, "no room");
        assert_eq!(of_rank(2, &own), Error::new(Code::OutOfMemory, "rank 2: no room"));
        let late = late(&[1], Duration::from_secs(5));
        assert_eq!(of_rank(2, &late), late);
    }
}
