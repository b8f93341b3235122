//! Gradients that GPUs exchange among themselves, over NCCL: what `group` does with bytes on the host, to the same bits.

use super::{tree, Communicator, Exchange, Sharding};
use crate::error::{Code, Error, Result};
use resnet_ops::accumulate::accumulate;
use resnet_ops::{Buffer, Executor, NcclCommunicator};
use std::ops::Range;
use std::time::Instant;

/// Bytes of what tells a GPU from all others.
const GPU: usize = 16;

/// This rank's GPU among those of all.
pub struct GpuAllReduce(NcclCommunicator);

impl GpuAllReduce {
    /// Brings the ranks' GPUs together; none where a CPU computes, as it then does on all ranks.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` if NCCL is missing or fails, or two ranks have one GPU; as [`Communicator::all_gather`].
    pub fn join(executor: &Executor, communicator: &mut dyn Communicator) -> Result<Option<Self>> {
        let Some(gpu) = executor.gpu_id()? else { return Ok(None) };
        // First: what is missing here is told before anybody waits for it.
        NcclCommunicator::version()?;
        let (rank, ranks) = (communicator.rank(), communicator.size());
        let id = if rank == 0 { NcclCommunicator::unique_id()? } else { [0; NcclCommunicator::ID] };
        let mut all = vec![0; ranks * (NcclCommunicator::ID + GPU)];
        communicator.all_gather(&[&id[..], &gpu[..]].concat(), NcclCommunicator::ID + GPU, &mut all)?;
        let of_ranks: Vec<&[u8]> = all.chunks_exact(NcclCommunicator::ID + GPU).collect();
        check_apart(&of_ranks.iter().map(|told| &told[NcclCommunicator::ID..]).collect::<Vec<_>>())?;
        let id = of_ranks[0].first_chunk().copied().unwrap_or(id);
        let limit = communicator.limit();
        let join = |has_failed: Heed| NcclCommunicator::join(executor, id, ranks, rank, limit, has_failed);
        Ok(Some(Self(heeding(communicator, join)?)))
    }

    /// Ends where all ranks have done all that they were to do together.
    pub fn finish(self) {
        self.0.finish();
    }

    /// Writes the sum over all ranks to `target`, `nodes` being this one's: each gets its slice of all nodes, adds those up and gives what
    /// comes of it to all.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` if NCCL fails or a rank does not come; another rank's error, which names it; as [`Communicator::all_gather`];
    /// `ERR_OUT_OF_MEMORY`.
    pub fn sum(
        &mut self,
        executor: &Executor,
        communicator: &mut dyn Communicator,
        sharding: Sharding,
        nodes: &[&Buffer],
        exchange: &mut Exchange,
        target: &mut Buffer,
    ) -> Result<()> {
        let (nccl, Exchange { slices, received }) = (&mut self.0, exchange);
        // Of whatever has ended another rank so far this one hears here, where it is told whose it is.
        communicator.all_gather(&[0], 1, &mut vec![0; sharding.ranks])?;
        let (mut from, mut ranges) = (Vec::new(), Vec::new());
        for rank in 0..sharding.ranks {
            for node in tree::nodes(sharding.shards, &sharding.of(rank)) {
                from.push(rank);
                ranges.push(node);
            }
        }
        let slice = target.len().div_ceil(sharding.ranks);
        if slices.len() != from.len() || slices.iter().any(|buffer| buffer.len() != slice) {
            slices.clear();
            for _ in &from {
                slices.push(executor.zeros(target.dtype(), slice)?);
            }
        }
        heeding(communicator, |has_failed| nccl.scatter(nodes, slices, &from, has_failed))?;
        let mut known = |range: &Range<usize>| ranges.iter().position(|node| node == range).map(Ok);
        let mut join = |left: Result<usize>, right: Result<usize>| {
            let (left, right) = (left?, right?);
            // Nodes lie in the order of their shards: the left one comes first.
            let (before, after) = slices.split_at_mut(right);
            accumulate(executor, &mut before[left], 1.0, &after[0], 1.0)?;
            Ok(left)
        };
        let sum = tree::fold(0..sharding.shards, &mut known, &mut join).unwrap_or(Ok(0))?;
        if received.len() != slice * sharding.ranks {
            *received = Buffer::empty();
            *received = executor.zeros(target.dtype(), slice * sharding.ranks)?;
        }
        heeding(communicator, |has_failed| nccl.all_gather(executor, &slices[sum], received, target, has_failed))
    }
}

/// Says whether another rank has failed.
type Heed<'a> = &'a mut dyn FnMut() -> bool;

/// Runs what NCCL waits in for others: where one of them says that it fails, its error comes of it; where one does not answer, that which names it.
fn heeding<T>(communicator: &mut dyn Communicator, run: impl FnOnce(Heed) -> resnet_ops::Result<T>) -> Result<T> {
    let (began, mut heard) = (Instant::now(), None);
    let done = run(&mut || {
        heard = communicator.heard(began.elapsed());
        heard.is_some()
    });
    match heard {
        Some(error) if done.is_err() => Err(error),
        Some(_) | None => Ok(done?),
    }
}

/// Refuses ranks that share a GPU.
fn check_apart(gpus: &[&[u8]]) -> Result<()> {
    for (rank, gpu) in gpus.iter().enumerate() {
        let Some(other) = gpus[..rank].iter().position(|other| other == gpu) else { continue };
        let expected =
            "a GPU of its own for each rank (device \"cuda\" takes that of the rank's number on its machine)";
        let got = format!("one for ranks {other} and {rank}: start no more ranks on a machine than it has GPUs");
        return Err(Error::expected(Code::Distributed, "distributed", expected, got));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_apart;

    #[test]
    fn ranks_that_share_a_gpu_are_named() {
        assert_eq!(check_apart(&[b"a", b"b", b"c"]), Ok(()));
        let error = check_apart(&[b"a", b"b", b"a", b"b"]).unwrap_err();
        assert!(error
            .message
            .ends_with("got one for ranks 0 and 2: start no more ranks on a machine than it has GPUs"));
    }
}
