//! What shards of a batch exchange: parts that are merged, and gradients that are added up.

use super::{tree, Communicator, Exchange, GpuAllReduce, Sharding};
use crate::error::{Code, Error, Result};
use bytemuck::{cast_slice, cast_slice_mut, Pod};
use resnet_ops::accumulate::accumulate;
use resnet_ops::{allocate, Buffer, DType, Executor, Real};
use std::ops::Range;

/// The ranks that compute a batch together, as one of them sees it.
pub struct Group<'a> {
    /// How it reaches the others.
    pub communicator: &'a mut dyn Communicator,
    /// Which shards are whose.
    pub sharding: Sharding,
    /// Where GPUs of several ranks compute, what they exchange gradients by.
    pub all_reduce: Option<&'a mut GpuAllReduce>,
}

impl Group<'_> {
    /// The numbers of all shards, `len` of each, in order of shards; `own` are those of this rank's.
    ///
    /// # Errors
    /// As [`Communicator::all_gather`].
    pub fn gather(&mut self, len: usize, own: &[f64]) -> Result<Vec<f64>> {
        let Sharding { shards, ranks, .. } = self.sharding;
        if ranks == 1 {
            return Ok(allocate::copy_of(own)?);
        }
        let room = self.sharding.most() * len;
        let mut mine = allocate::zeros(room)?;
        mine[..own.len()].copy_from_slice(own);
        let mut all: Vec<f64> = allocate::zeros(ranks * room)?;
        self.communicator.all_gather(cast_slice(&mine), size_of_val(&mine[..]), cast_slice_mut(&mut all))?;
        let mut ordered = allocate::with_room(shards * len)?;
        for rank in 0..ranks {
            ordered.extend_from_slice(&all[rank * room..][..self.sharding.of(rank).len() * len]);
        }
        Ok(ordered)
    }

    /// The sum of those numbers, by the tree.
    ///
    /// # Errors
    /// As [`Group::gather`].
    pub fn sum(&mut self, len: usize, own: &[f64]) -> Result<Vec<f64>> {
        let all = self.gather(len, own)?;
        Ok(merged(&all, len, |left, _, right, _| add(left, right)))
    }

    /// Writes the sum of the flat gradients of all shards to `target`; `own` are those of this rank's, which are of no use afterwards.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; as [`Communicator::all_gather`].
    pub fn reduce(
        &mut self,
        executor: &Executor,
        own: &mut [&mut Buffer],
        exchange: &mut Exchange,
        target: &mut Buffer,
    ) -> Result<()> {
        let Sharding { shards, ranks, .. } = self.sharding;
        let range = self.sharding.own();
        let nodes = tree::nodes(shards, &range);
        for node in &nodes {
            sum_in_place(executor, &mut own[node.start - range.start..node.end - range.start])?;
        }
        let on_gpu = executor.gpu().is_some();
        if ranks == 1 && on_gpu {
            // What has been captured for whole batches finds the gradients where they were.
            return Ok(accumulate(executor, target, 0.0, own[0], 1.0)?);
        }
        if ranks == 1 {
            std::mem::swap(own[0], target);
            return Ok(());
        }
        if on_gpu {
            let nodes: Vec<&Buffer> = nodes.iter().map(|node| &*own[node.start - range.start]).collect();
            let all_reduce =
                self.all_reduce.as_deref_mut().ok_or_else(|| Error::new(Code::Internal, "GPUs have not joined"))?;
            return all_reduce.sum(executor, self.communicator, self.sharding, &nodes, exchange, target);
        }
        if target.dtype() == DType::F64 {
            return self.exchange::<f64>(executor, own, &nodes, exchange, target);
        }
        self.exchange::<f32>(executor, own, &nodes, exchange, target)
    }

    /// Each rank gets its slice of all nodes, adds those up and gives what comes of it to all.
    fn exchange<T: Real + Pod>(
        &mut self,
        executor: &Executor,
        own: &[&mut Buffer],
        nodes: &[Range<usize>],
        exchange: &mut Exchange,
        target: &mut Buffer,
    ) -> Result<()> {
        let Sharding { shards, ranks, rank } = self.sharding;
        let of_ranks: Vec<Vec<Range<usize>>> =
            (0..ranks).map(|rank| tree::nodes(shards, &self.sharding.of(rank))).collect();
        let most = of_ranks.iter().map(Vec::len).max().unwrap_or_default();
        let (len, first) = (target.len(), self.sharding.own().start);
        let slice = len.div_ceil(ranks);
        let [start, end] = [rank, rank + 1].map(|rank| (rank * slice).min(len));
        let mine = end - start;
        if exchange.received.len() != most * ranks * mine {
            exchange.received = Buffer::empty();
            exchange.received = executor.zeros(target.dtype(), most * ranks * mine)?;
        }
        let received = exchange.received.slice_mut::<T>()?;
        let part = slice * size_of::<T>();
        for index in 0..most {
            // A rank with fewer nodes gives one of them again, which nobody reads.
            let node = &nodes[index.min(nodes.len() - 1)];
            let theirs = &mut received[index * ranks * mine..][..ranks * mine];
            let sum = own[node.start - first].slice::<T>()?;
            self.communicator.all_to_all(cast_slice(sum), part, cast_slice_mut(theirs))?;
        }
        let place = |range: &Range<usize>| {
            let found = |(rank, nodes): (usize, &Vec<Range<usize>>)| {
                Some((nodes.iter().position(|node| node == range)? * ranks + rank) * mine)
            };
            of_ranks.iter().enumerate().find_map(found)
        };
        let sum = tree::fold(0..shards, &mut |range| place(range), &mut |left: usize, right: usize| {
            add_within(received, left, right, mine);
            left
        });
        let sum = &received[sum.unwrap_or_default()..][..mine];
        self.communicator.all_gather(cast_slice(sum), part, cast_slice_mut(target.slice_mut::<T>()?))
    }
}

/// What parts of `len` numbers, one for each shard, come to by the tree: `merge` has the left one take in the right one, with the shards of
/// each.
pub fn merged(
    all: &[f64],
    len: usize,
    mut merge: impl FnMut(&mut [f64], Range<usize>, &[f64], Range<usize>),
) -> Vec<f64> {
    let mut leaf =
        |range: &Range<usize>| (range.len() == 1).then(|| (range.clone(), all[range.start * len..][..len].to_vec()));
    let mut join = |(left, mut part): (Range<usize>, Vec<f64>), (right, other): (Range<usize>, Vec<f64>)| {
        merge(&mut part, left.clone(), &other, right.clone());
        (left.start..right.end, part)
    };
    tree::fold(0..all.len() / len.max(1), &mut leaf, &mut join).map(|(_, sum)| sum).unwrap_or_default()
}

/// Adds numbers to others.
pub fn add(left: &mut [f64], right: &[f64]) {
    left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
}

/// The first becomes the sum of all, by the tree.
fn sum_in_place(executor: &Executor, shards: &mut [&mut Buffer]) -> Result<()> {
    if shards.len() < 2 {
        return Ok(());
    }
    let (left, right) = shards.split_at_mut(shards.len() / 2);
    sum_in_place(executor, left)?;
    sum_in_place(executor, right)?;
    Ok(accumulate(executor, left[0], 1.0, right[0], 1.0)?)
}

/// Adds `len` numbers from `right` on to those from `left` on.
fn add_within<T: Real>(values: &mut [T], left: usize, right: usize, len: usize) {
    let (before, after) = values.split_at_mut(left.max(right));
    let [before, after] = [&mut before[left.min(right)..][..len], &mut after[..len]];
    let [left, right] = if left < right { [before, after] } else { [after, before] };
    left.iter_mut().zip(&*right).for_each(|(left, &right)| *left += right);
}
