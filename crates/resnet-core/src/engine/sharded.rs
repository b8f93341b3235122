//! A batch computed as shards, some of them on this rank: what [`super::Execution`] does, for all of them at once.

use super::{BatchExecution, BoundNetwork, Engine, Targets};
use crate::cancel::Cancel;
use crate::data::Input;
use crate::distributed::{add, merged, Exchange, Group};
use crate::error::{Code, Error, Result};
use crate::model::params::Params;
use crate::model::shape::Shape;
use crate::plan::{List, Merge, Merging, Mode, Operating, Plan, Shard};
use crate::weights::Weights;
use resnet_ops::batch_norm::joint::merge_moments;
use resnet_ops::{Executor, Outcome};
use std::ops::Range;
use std::sync::LazyLock;

/// Storage for the shards of a rank, beside that of whole batches.
#[derive(Default)]
pub struct ShardRoom {
    plan: Option<(Mode, Plan)>,
    shards: Vec<Shard>,
    exchange: Exchange,
}

impl ShardRoom {
    /// The memory of all shards, in bytes.
    pub fn bytes(&self) -> usize {
        self.exchange.bytes()
            + self.shards.iter().map(|shard| shard.slots.bytes() + shard.gradients.bytes()).sum::<usize>()
    }
}

/// A plan with the storage of this rank's shards.
pub struct ShardedExecution<'a> {
    plan: &'a Plan,
    shards: &'a mut [Shard],
    exchange: &'a mut Exchange,
    params: &'a Params,
    with: Operating<'a>,
    batch: Synced<'a>,
}

/// The batch, as its ranks know it.
struct Synced<'a> {
    group: Group<'a>,
    /// Images of each shard, on all ranks.
    counts: Vec<usize>,
    is_synced: bool,
}

impl Merging for Synced<'_> {
    fn merge(&mut self, len: usize, merge: Merge, own: &[f64]) -> Result<Vec<f64>> {
        let (all, counts) = (self.group.gather(len, own)?, &self.counts);
        let images = |range: Range<usize>| counts[range].iter().sum::<usize>();
        Ok(merged(&all, len, |left, of_left, right, of_right| match merge {
            Merge::Sum => add(left, right),
            Merge::Moments { .. } if images(of_left.clone()) == 0 => left.copy_from_slice(right),
            Merge::Moments { pixels } => merge_moments(pixels, images(of_left), left, images(of_right), right),
        }))
    }

    fn images(&self) -> usize {
        self.counts.iter().sum()
    }

    fn is_synced(&self) -> bool {
        self.is_synced
    }
}

impl Engine {
    /// As [`Engine::prepare`], for batches whose largest shard has N images (N, C, H, W).
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub fn prepare_shards<'a>(
        &'a mut self,
        bound: BoundNetwork<'a>,
        shape: [usize; 4],
        mode: &Mode,
        group: Group<'a>,
        is_synced: bool,
    ) -> Result<ShardedExecution<'a>> {
        let (executor, room) = (&self.executor, &mut self.sharded);
        let BoundNetwork { network, params, weights, dropout_seed, cancel } = bound;
        let [n, channels, height, width] = shape;
        let input = Shape::map(channels, height, width);
        let own = group.sharding.own().len();
        if !room.plan.as_ref().is_some_and(|(other, plan)| other == mode && plan.fits(input, n)) {
            room.plan = None;
            room.shards.iter_mut().for_each(|shard| shard.slots.forget());
            room.plan = Some((mode.clone(), Plan::new(executor, network, params, input, n, mode.clone())?));
        }
        let Some((_, plan)) = &room.plan else { return Err(Error::new(Code::Internal, "no plan")) };
        room.shards.resize_with(own, Shard::default);
        plan.reserve_shards(executor, &mut room.shards, weights.parameters.len(), cancel)?;
        weights.reserve_gradients(executor)?;
        // A step that has begun is not cut short on one rank alone.
        let with = Operating { executor, weights, n, dropout_seed, cancel: &NEVER };
        let batch = Synced { group, counts: Vec::new(), is_synced };
        let ShardRoom { shards, exchange, .. } = room;
        Ok(ShardedExecution { plan, shards, exchange, params, with, batch })
    }
}

static NEVER: LazyLock<Cancel> = LazyLock::new(Cancel::default);

impl ShardedExecution<'_> {
    /// Takes a batch, of which this rank's shards have so many images, and labels of that weight; returns the images of the whole batch and
    /// their labels' weight.
    ///
    /// # Errors
    /// If another rank is lost or has failed.
    pub fn begin(&mut self, own: &[(usize, f64)]) -> Result<(usize, f64)> {
        let told: Vec<f64> = own.iter().flat_map(|&(n, weight)| [n as f64, weight]).collect();
        let all = self.batch.group.gather(2, &told)?;
        self.batch.counts = all.chunks_exact(2).map(|shard| shard[0] as usize).collect();
        let first = self.batch.group.sharding.own().start;
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let before = &self.batch.counts[..first + index];
            (shard.n, shard.first) = (self.batch.counts[first + index], before.iter().sum());
        }
        let total = merged(&all, 2, |left, _, right, _| add(left, right));
        Ok((self.batch.images(), total[1]))
    }

    /// Loss and hits of all shards; writes the outputs' gradients, those of the whole batch's mean loss. `targets` gives those of a part of
    /// this rank's labels.
    ///
    /// # Errors
    /// If the device fails; if another rank is lost or has failed.
    pub fn loss<'t>(&mut self, weight: f64, targets: impl Fn(Range<usize>) -> Targets<'t>) -> Result<Outcome> {
        let (plan, executor, classes) = (self.plan, self.with.executor, self.plan.output().channels());
        let (mut told, mut start) = (Vec::new(), 0);
        for shard in &*self.shards {
            let mut outcome = Outcome::default();
            if shard.n > 0 {
                let mut gradient = plan.logits_gradient(&shard.slots);
                let targets = targets(start..start + shard.n).of_whole(weight);
                outcome = targets.evaluate(executor, classes, &plan.logits(&shard.slots), gradient.as_deref_mut())?;
            }
            start += shard.n;
            let Outcome { loss_sum, weight, correct, decisions } = outcome;
            told.extend([loss_sum, weight, correct as f64, decisions as f64]);
        }
        let sum = self.batch.group.sum(4, &told)?;
        let [loss_sum, weight, correct, decisions] = [0, 1, 2, 3].map(|index| sum[index]);
        Ok(Outcome { loss_sum, weight, correct: correct as usize, decisions: decisions as usize })
    }

    fn run(&mut self, list: List) -> Result<()> {
        self.plan.run_shards(list, self.shards, &mut self.with, &mut self.batch)
    }
}

impl BatchExecution for ShardedExecution<'_> {
    fn check_norms(&self, n: usize) -> Result<()> {
        let sharding = self.batch.group.sharding;
        let smallest = match self.batch.is_synced {
            true => n,
            false => {
                (0..sharding.shards).map(|shard| sharding.images(n, shard).len()).filter(|&n| n > 0).min().unwrap_or(n)
            }
        };
        super::check_norms(self.plan, smallest)
    }

    fn parts(&mut self) -> (&Executor, &Params, &mut Weights) {
        (self.with.executor, self.params, self.with.weights)
    }

    fn forward(&mut self, images: Input) -> Result<()> {
        let executor = self.with.executor;
        let mut start = 0;
        for shard in self.shards.iter_mut().filter(|shard| shard.n > 0) {
            self.with.n = shard.n;
            self.plan.pack(&mut shard.slots, &mut self.with)?;
            images.part(start..start + shard.n).write(executor, &mut self.plan.images(&shard.slots))?;
            start += shard.n;
        }
        self.run(List::Forward)
    }

    fn backward(&mut self) -> Result<()> {
        self.run(List::Backward)?;
        let Operating { executor, weights, .. } = &mut self.with;
        for shard in self.shards.iter_mut().filter(|shard| shard.n == 0) {
            // Of the batch before.
            shard.gradients = executor.zeros(executor.parameter_dtype(), weights.gradients.len())?;
        }
        let mut own: Vec<_> = self.shards.iter_mut().map(|shard| &mut shard.gradients).collect();
        self.batch.group.reduce(executor, &mut own, self.exchange, &mut weights.gradients)
    }

    fn update_statistics(&mut self) -> Result<()> {
        self.with.weights.version += 1;
        self.run(List::Statistics)
    }

    fn keep_packed(&mut self) {
        for shard in &mut *self.shards {
            self.plan.keep_packed(&mut shard.slots, self.with.weights.version);
        }
    }
}
