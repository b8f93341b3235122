//! The ranks of a run, as one of them sees it.

use super::checkpoint::{Checkpoint, Identity};
use super::FitConfig;
use crate::cancel::Cancel;
use crate::data::ResidentDataset;
use crate::distributed::{broadcast, numbered, Agreement, Communicator, GpuAllReduce, Group, Sharding};
use crate::error::{Code, Error, Result};
use crate::metrics::Metrics;
use crate::session::Session;
use crate::train::trainer::PreparedFor;
use resnet_ops::{Bf16Products, Executor};
use std::borrow::Cow;

/// Updates after which ranks look whether they still have the same weights, which an epoch's end has them do too.
const COMPARED: usize = 50;

/// How a run shares its batches.
pub(super) struct Ranks<'a> {
    pub communicator: &'a mut dyn Communicator,
    /// How batches are cut, if they are.
    pub sharding: Option<Sharding>,
    /// Whether batch norms have the statistics of all shards.
    pub synced: bool,
    /// What GPUs of several ranks exchange gradients by, once they have joined.
    pub all_reduce: Option<GpuAllReduce>,
}

impl FitConfig {
    /// How batches are cut for so many ranks, if they are.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there are fewer shards than ranks.
    pub(super) fn sharding(&self, communicator: &dyn Communicator) -> Result<Option<Sharding>> {
        let (rank, ranks) = (communicator.rank(), communicator.size());
        let shards = self.shards.unwrap_or(ranks);
        if shards < ranks {
            let expected = format!("at least the number of ranks, {ranks}");
            return Err(Error::expected(Code::InvalidArgument, "shards", expected, shards));
        }
        Ok((shards > 1).then_some(Sharding { shards, ranks, rank }))
    }
}

/// How an executor rounds, as it matters to whoever computes with it.
fn precision(executor: &Executor) -> String {
    let products = executor.bf16_products().map(Bf16Products::name);
    products.map_or_else(|| format!("{:?}", executor.dtype()), |name| format!("bf16 by {name}"))
}

impl Ranks<'_> {
    /// What the trainer asks for, if batches of such images (N, C, H, W) are cut.
    pub fn prepared_for(&mut self, [n, channels, height, width]: [usize; 4]) -> Option<PreparedFor<'_>> {
        let sharding = self.sharding?;
        let group = Group { communicator: &mut *self.communicator, sharding, all_reduce: self.all_reduce.as_mut() };
        Some(PreparedFor { group, shape: [sharding.largest(n), channels, height, width], synced: self.synced })
    }

    /// Refuses to begin where ranks differ, `resumes` if a checkpoint is gone on from; brings their GPUs together, if they have any.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` names a rank and what it has otherwise; if NCCL cannot be used; if one is lost or has failed.
    pub fn agree(&mut self, session: &Session, identity: &Identity, resumes: bool) -> Result<()> {
        // By itself: another version may compare other things.
        Agreement::default().on("version", env!("CARGO_PKG_VERSION")).check(self.communicator)?;
        let network =
            serde_json::to_value(session.network()).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let [parameters, running] = session.weights()?.values()?;
        let bytes = |values: &Cow<[f32]>| bytemuck::cast_slice::<f32, u8>(values).to_vec();
        let [train, validation] = identity.data();
        let agreement = Agreement::default()
            .on_value(
                "device (all CPUs or all GPUs)",
                if session.executor().gpu().is_some() { "a GPU" } else { "a CPU" },
            )
            .on_value("instruction set (RESNET_NATIVE_ISA)", session.executor().instruction_set().unwrap_or("none"))
            .on_value("precision", precision(session.executor()))
            .on_value("network", network)
            .on_value("model's seed", session.seed())
            .on_value("options", identity.options())
            .on_value("training data", train)
            .on_value("validation data", validation)
            .on_value("resume", if resumes { "one" } else { "none" })
            .on("weights", [bytes(&parameters), bytes(&running)].concat());
        agreement.check(self.communicator)?;
        self.all_reduce = GpuAllReduce::join(session.executor(), self.communicator)?;
        Ok(())
    }

    /// Gives all ranks the checkpoint that rank 0 goes on from, if it does: others need not see its folder.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`, `ERR_ABORTED`; if a rank is lost or has failed.
    pub fn share(&mut self, mut checkpoint: Option<Checkpoint>, cancel: &Cancel) -> Result<Option<Checkpoint>> {
        if self.communicator.size() == 1 {
            return Ok(checkpoint);
        }
        let mut bytes = checkpoint.as_mut().map(Checkpoint::take_bytes).transpose()?.unwrap_or_default();
        broadcast(self.communicator, &mut bytes)?;
        if checkpoint.is_some() {
            return Ok(checkpoint);
        }
        (!bytes.is_empty()).then(|| Checkpoint::from_bytes(&bytes, cancel)).transpose()
    }

    /// Refuses to go on where a rank has come to other weights: its memory or processor is not to be trusted. Most of the time it does nothing;
    /// `ends` if an epoch does.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` names the ranks that differ from most; if one is lost or has failed.
    pub fn compare(&mut self, session: &Session, updates: usize, ends: bool) -> Result<()> {
        if self.communicator.size() == 1 || !(ends || updates.is_multiple_of(COMPARED)) {
            return Ok(());
        }
        let digest = session
            .weights()?
            .values()?
            .iter()
            .fold(0, |digest, values| crc32c::crc32c_append(digest, bytemuck::cast_slice::<f32, u8>(values)));
        let all = self.gather(&[f64::from(digest)], 1)?;
        let count = |value: f64| all.iter().filter(|&&other| other == value).count();
        // Of equally many the first rank's count.
        let usual = all.iter().rev().copied().max_by_key(|&value| count(value)).unwrap_or_default();
        let others: Vec<usize> = (0..all.len()).filter(|&rank| all[rank] != usual).collect();
        if others.is_empty() {
            return Ok(());
        }
        let expected = format!("the same weights on every rank after {updates} updates");
        Err(Error::expected(Code::Distributed, "distributed", expected, format!("others on {}", numbered(&others))))
    }

    /// Loss and accuracy over a data set: each rank has a part of its batches, and all the same figures, to the bit those of one rank.
    /// `progress(done, total)` is called after each batch of this rank; if it returns false, the call ends with `ERR_ABORTED`.
    ///
    /// # Errors
    /// As [`Session::evaluate`]; if a rank is lost or has failed.
    pub fn evaluate(
        &mut self,
        session: &mut Session,
        data: &ResidentDataset,
        batch_size: usize,
        progress: impl FnMut(&mut Session, usize, usize) -> bool,
    ) -> Result<Metrics> {
        let ranks = self.communicator.size();
        if ranks == 1 {
            return session.evaluate_resident(data, batch_size, None, progress);
        }
        let share = (self.communicator.rank(), ranks);
        let own = session.evaluate_share(data, batch_size, share, progress)?;
        let most = self.gather(&[own.len() as f64], 1)?.into_iter().fold(0.0, f64::max) as usize;
        let mut told = vec![0.0; most * Metrics::NUMBERS];
        for (numbers, metrics) in told.chunks_exact_mut(Metrics::NUMBERS).zip(&own) {
            numbers.copy_from_slice(&metrics.numbers());
        }
        let mut whole = Metrics::default();
        let all = self.gather(&told, told.len())?;
        // What a rank had less of than others is zeros, which add nothing.
        all.chunks_exact(Metrics::NUMBERS).for_each(|numbers| whole.merge(Metrics::of_numbers(numbers)));
        Ok(whole)
    }

    fn gather(&mut self, own: &[f64], len: usize) -> Result<Vec<f64>> {
        let mut all = vec![0.0; len * self.communicator.size()];
        self.communicator.all_gather(
            bytemuck::cast_slice(own),
            size_of_val(own),
            bytemuck::cast_slice_mut(&mut all),
        )?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
