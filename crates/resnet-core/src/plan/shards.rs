//! Walks the lists of a plan for the shards of a batch that are on one rank, call by call, so that a batch norm can have the statistics of
//! all shards.

use super::instruction::List;
use super::ops::{Context, Merge, Together};
use super::run::Operating;
use super::slots::Slots;
use super::Plan;
use crate::cancel::Cancel;
use crate::error::Result;
use resnet_ops::batch_norm::Total;
use resnet_ops::{Buffer, Executor};

/// A shard of a batch with storage of its own.
#[derive(Default)]
pub struct Shard {
    /// Of its activations.
    pub slots: Slots,
    /// Of the gradients that it adds to the batch's.
    pub gradients: Buffer,
    /// Its images.
    pub n: usize,
    /// The first of them in the batch.
    pub first: usize,
}

/// How the parts of all shards of a batch, on whatever ranks, become one.
pub trait Merging {
    /// What the parts come to, `len` numbers each, of which `own` are those of this rank's shards.
    ///
    /// # Errors
    /// If another rank is lost or has failed.
    fn merge(&mut self, len: usize, merge: Merge, own: &[f64]) -> Result<Vec<f64>>;

    /// Images of all shards.
    fn images(&self) -> usize;

    /// Whether batch norms have the statistics of all shards.
    fn is_synced(&self) -> bool;
}

impl Plan {
    /// Makes room for its shards.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`, `ERR_ABORTED`.
    pub fn reserve_shards(&self, executor: &Executor, shards: &mut [Shard], len: usize, cancel: &Cancel) -> Result<()> {
        for shard in shards {
            self.reserve(executor, &mut shard.slots, cancel)?;
            if shard.gradients.is_empty() {
                shard.gradients = executor.zeros(executor.parameter_dtype(), len)?;
            }
        }
        Ok(())
    }

    /// Runs a list for the shards of this rank. What is done once for a batch, moving the running statistics, is done with what the first of
    /// them has, whether it has images or not.
    ///
    /// # Errors
    /// If the device fails; if another rank is lost or has failed.
    pub fn run_shards(
        &self,
        list: List,
        shards: &mut [Shard],
        with: &mut Operating,
        merging: &mut dyn Merging,
    ) -> Result<()> {
        let once = list == List::Statistics;
        for instruction in self.instructions(list) {
            let Some(joint) = instruction.joint(merging.is_synced()) else {
                if once {
                    let n = merging.images();
                    shards[..1]
                        .iter_mut()
                        .try_for_each(|shard| self.call(shard, with, n, |context| instruction.run(context)))?;
                    continue;
                }
                let (executor, parameters) = (with.executor, &with.weights.parameters);
                let storage = shards.iter().filter(|shard| shard.n > 0);
                let storage = storage.map(|shard| (self.buffers(&shard.slots), shard.n)).collect();
                if instruction.run_together(&Together { executor, parameters, shards: storage })? {
                    continue;
                }
                for shard in shards.iter_mut().filter(|shard| shard.n > 0) {
                    let n = shard.n;
                    self.call(shard, with, n, |context| instruction.run(context))?;
                }
                continue;
            };
            let mut parts = vec![0.0; joint.len * shards.len()];
            for (shard, part) in
                shards.iter_mut().zip(parts.chunks_exact_mut(joint.len)).filter(|(shard, _)| shard.n > 0)
            {
                let n = shard.n;
                self.call(shard, with, n, |context| instruction.run_part(context, part))?;
            }
            let values = merging.merge(joint.len, joint.merge, &parts)?;
            let total = Total { n: merging.images(), values: &values };
            let last = if once { 1 } else { shards.len() };
            for shard in &mut shards[..last] {
                let n = if once { total.n } else { shard.n };
                self.call(shard, with, n, |context| instruction.finish(context, total))?;
            }
        }
        Ok(())
    }

    /// Calls something with a shard's storage, and its gradients in the place of the batch's.
    fn call(
        &self,
        shard: &mut Shard,
        with: &mut Operating,
        n: usize,
        call: impl FnOnce(&mut Context) -> resnet_ops::Result<()>,
    ) -> Result<()> {
        let Operating { executor, weights, dropout_seed, .. } = with;
        std::mem::swap(&mut weights.gradients, &mut shard.gradients);
        let buffers = self.buffers(&shard.slots);
        let (first, dropout_seed) = (shard.first, *dropout_seed);
        let called = call(&mut Context { executor, buffers, weights, n, first, dropout_seed });
        std::mem::swap(&mut weights.gradients, &mut shard.gradients);
        Ok(called?)
    }
}
