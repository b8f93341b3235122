//! Batches of a data set, one after the other.

use super::augment::Augment;
use super::dataset::{Dataset, Draw, ImageScratch};
use super::labels::{Labels, LabelsRef};
use super::sampler::balanced;
use crate::cancel::Cancel;
use crate::distributed::Sharding;
use crate::error::{Code, Error, Result};
use crate::rng::{shuffle, stream, Purpose};
use resnet_ops::allocate::{make_room, with_room};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The order that samples are taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// As the data set has them.
    Sequential,
    /// In an order drawn for this seed and epoch.
    Shuffled {
        /// Seed of all epochs' orders.
        seed: u64,
        /// Which epoch; each has an order of its own.
        epoch: u64,
    },
    /// As many samples as there are, of rare classes some several times and of frequent ones not all, in an order drawn likewise: a class
    /// with `n` samples comes in proportion to `n^(1 - power)`, with power 1 as often as any other.
    Balanced {
        /// Seed of all epochs' orders.
        seed: u64,
        /// Which epoch.
        epoch: u64,
        /// From 0, where all is as it is, to 1.
        power: f64,
    },
}

/// Some samples of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Where its samples stand in the data set.
    pub indices: Vec<u32>,
    /// Pixels in row-major order; none if they are on the GPU.
    pub images: Vec<f32>,
    /// One for each image, or any number.
    pub labels: Labels,
    /// (N, C, H, W).
    pub shape: [usize; 4],
    /// The labels of the images that were mixed in, if any were.
    pub mixed: Option<Mixed>,
    /// Of a pass over shards: how many of the samples are of each.
    pub shards: Vec<usize>,
}

/// What was mixed into the images of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Those of each image.
    pub labels: Labels,
    /// Share of the images' own labels; the rest is these labels'.
    pub share: f64,
}

impl Mixed {
    /// The labels with the share of the images' own.
    pub(crate) fn other(&self) -> (LabelsRef<'_>, f64) {
        (self.labels.all(), self.share)
    }
}

impl Batch {
    /// Whether all of its pictures were left out.
    pub(super) fn is_left_out(&self) -> bool {
        self.shape[0] == 0 && self.shape[1] > 0 && self.shards.is_empty()
    }

    /// Sets the shape and brings the vectors to its lengths, that of images to 0 without pixels.
    fn reshape(&mut self, count: usize, [channels, height, width]: [usize; 3], pixels: bool) -> Result<()> {
        self.shape = [count, channels, height, width];
        let sizes = if pixels { self.shape } else { [0; 4] };
        let total = sizes.iter().fold(1usize, |product, &size| product.saturating_mul(size));
        make_room(&mut self.images, total)?;
        self.images.resize(total, 0.0);
        Ok(())
    }
}

/// One pass over a data set.
pub struct DataPass {
    data: Dataset,
    batch_size: usize,
    order: Order,
    pixels: bool,
    steps: usize,
    /// Batches made so far, one after the other.
    made: usize,
    /// The samples in their order, each with how often it came before, drawn when the first batch is made.
    draws: OnceLock<Vec<[u32; 2]>>,
    augment: Arc<Augment>,
    /// Of the augmentations.
    seed: u64,
    epoch: u64,
    /// Which part of each batch is made, if not all of it.
    sharding: Option<Sharding>,
    cancel: Cancel,
}

impl DataPass {
    /// A pass in batches of `batch_size`. Without `drop_last` the last one holds what is left.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the batch size is 0, or is above the number of samples while `drop_last` would leave nothing.
    pub fn new(data: &Dataset, batch_size: usize, order: Order, drop_last: bool) -> Result<Self> {
        let len = data.len();
        if batch_size == 0 {
            return Err(Error::expected(Code::InvalidArgument, "batchSize", "at least 1", 0));
        }
        if let Order::Balanced { .. } = order {
            data.single_labels("sampler")?;
        }
        if drop_last && batch_size > len {
            let expected = format!("at most the {len} samples of the set with dropLast");
            return Err(Error::expected(Code::InvalidArgument, "batchSize", expected, batch_size));
        }
        let steps = if drop_last { len / batch_size } else { len.div_ceil(batch_size) };
        let (data, augment) = (data.clone(), Arc::default());
        let draws = OnceLock::new();
        Ok(Self {
            data,
            batch_size,
            order,
            pixels: true,
            steps,
            made: 0,
            draws,
            augment,
            seed: 0,
            epoch: 1,
            sharding: None,
            cancel: Cancel::default(),
        })
    }

    /// The same batches with images changed at random, in each epoch (which count from 1) otherwise.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if an augmentation does not fit the images.
    pub fn augmented(self, augment: &Arc<Augment>, seed: u64, epoch: u64) -> Result<Self> {
        self.data.check_augment(augment)?;
        Ok(Self { augment: augment.clone(), seed, epoch, ..self })
    }

    /// The same batches, of each the shards of one rank alone; images are then mixed within a shard.
    pub fn sharded(self, sharding: Sharding) -> Self {
        Self { sharding: Some(sharding), ..self }
    }

    /// The same, ended by these flags: in the middle of a batch, which may have many pictures to decode.
    pub fn cancelled_by(self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    /// The same without the first batches.
    pub fn from_batch(self, batch: usize) -> Self {
        Self { made: batch.min(self.steps), ..self }
    }

    /// The same without all after so many batches.
    pub fn limited_to(self, batches: usize) -> Self {
        Self { steps: self.steps.min(batches), ..self }
    }

    /// Threads that prepare its batches, if nothing else is wanted: one, or where pictures are decoded as many as there are cores, up
    /// to eight.
    pub fn usual_threads(&self) -> usize {
        usual_threads(&self.data)
    }

    /// The data set.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The same batches without their pixels.
    pub fn without_pixels(self) -> Self {
        Self { pixels: false, ..self }
    }

    /// Number of batches, with those before the first that is made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The first batch that is made, counting from 0.
    pub fn first(&self) -> usize {
        self.made
    }

    /// Makes `batch` the next one, in the memory that it has; false after the last one.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool> {
        while self.made < self.steps {
            self.prepare(self.made, batch)?;
            self.made += 1;
            if !batch.is_left_out() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes `batch` the one of this step, counting from 0, in the memory that it has. Pictures that cannot be read and are to be skipped
    /// are left out, so that there may be none.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; `ERR_IO`, `ERR_DATA_CORRUPT` if a picture cannot be read; `ERR_ABORTED`.
    pub fn prepare(&self, step: usize, batch: &mut Batch) -> Result<()> {
        let draws = match self.draws.get() {
            Some(draws) => draws,
            None => {
                let drawn = self.draw()?;
                self.draws.get_or_init(|| drawn)
            }
        };
        let first = step * self.batch_size;
        let draws = &draws[first..draws.len().min(first.saturating_add(self.batch_size))];
        // Of the shards of a pass over such; else all of it, as one.
        let of = |shard| self.sharding.map_or(0..draws.len(), |sharding| sharding.images(draws.len(), shard));
        let own = self.sharding.map_or(0..1, Sharding::own);
        let parts = || own.clone().map(|shard| &draws[of(shard)]);
        let count = parts().map(<[_]>::len).sum();
        let shape = self.data.image_shape();
        batch.reshape(count, shape, self.pixels)?;
        batch.indices.clear();
        make_room(&mut batch.indices, count)?;
        batch.mixed = None;
        batch.shards.clear();
        let labels = self.data.labels();
        batch.labels.clear_for(labels, count)?;
        if !self.pixels {
            batch.indices.extend(parts().flatten().map(|[index, _]| index));
            batch.shards.extend(self.sharding.iter().flat_map(|_| parts().map(<[_]>::len)));
            let mut all = parts().flatten();
            return all.try_for_each(|&[index, _]| batch.labels.extend(labels.part(range_of(index))));
        }
        let len: usize = shape.iter().product();
        let mut scratch = ImageScratch::default();
        for part in parts() {
            let first = batch.indices.len();
            for &[index, before] in part {
                self.cancel.check()?;
                let draw = Draw {
                    augment: &self.augment,
                    seed: self.seed,
                    epoch: self.epoch,
                    sample: u64::from(index) | u64::from(before) << 32,
                };
                let draw = (!self.augment.is_empty()).then_some(draw);
                let place = batch.indices.len();
                let image = &mut batch.images[place * len..(place + 1) * len];
                if self.data.image(index as usize, draw, image, &mut scratch)? {
                    batch.labels.extend(labels.part(range_of(index)))?;
                    batch.indices.push(index);
                }
            }
            batch.shards.push(batch.indices.len() - first);
        }
        let count = batch.indices.len();
        batch.shape[0] = count;
        batch.images.truncate(count * len);
        let mixing = self.augment.mixing(self.seed, self.epoch, step as u64, [shape[1], shape[2]]);
        if let Some(mixing) = mixing.filter(|_| count > 0) {
            let (mut labels, mut first) = (batch.labels.clone(), 0);
            for &count in &batch.shards {
                let part = first..first + count;
                first = part.end;
                mixing.apply(&mut batch.images[part.start * len..part.end * len], shape);
                labels.rotate(part);
            }
            batch.mixed = Some(Mixed { labels, share: mixing.share });
        }
        if self.sharding.is_none() {
            batch.shards.clear();
        }
        Ok(())
    }

    fn draw(&self) -> Result<Vec<[u32; 2]>> {
        let len = self.data.len();
        let mut draws = with_room(len)?;
        match self.order {
            Order::Sequential => draws.extend((0..len as u32).map(|index| [index, 0])),
            Order::Shuffled { seed, epoch } => {
                draws.extend((0..len as u32).map(|index| [index, 0]));
                shuffle(stream(seed, Purpose::Shuffle, epoch, 0), &mut draws);
            }
            Order::Balanced { seed, epoch, power } => {
                self.data.check_count_of_classes()?;
                let labels = self.data.single_labels("sampler")?;
                draws.extend(balanced(labels, self.data.num_classes(), power, seed, epoch));
            }
        }
        Ok(draws)
    }
}

/// The place of a sample.
fn range_of(index: u32) -> Range<usize> {
    index as usize..index as usize + 1
}

/// See [`DataPass::usual_threads`].
pub(super) fn usual_threads(data: &Dataset) -> usize {
    if data.is_decoded() {
        threads_of_files()
    } else {
        1
    }
}

/// Threads that usually read and decode files.
pub(super) fn threads_of_files() -> usize {
    const MOST: usize = 8;
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
}

#[cfg(test)]
mod tests {
    use super::super::Pixels;
    use super::*;
    use std::collections::HashSet;

    fn numbers(count: usize) -> Dataset {
        let pixels = (0..count * 2).map(|i| i as f32).collect();
        Dataset::from_arrays(Pixels::F32(pixels), [count, 1, 1, 2], (0..count as u32).collect::<Vec<_>>(), None)
            .unwrap()
    }

    fn batches(data: &Dataset, batch_size: usize, order: Order, drop_last: bool) -> Vec<Batch> {
        let mut pass = DataPass::new(data, batch_size, order, drop_last).unwrap();
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        while pass.fill(&mut batch).unwrap() {
            all.push(batch.clone());
        }
        assert_eq!(all.len(), pass.steps());
        assert!(!pass.fill(&mut batch).unwrap());
        all
    }

    fn labels(batches: &[Batch]) -> Vec<u32> {
        batches.iter().flat_map(|batch| batch.labels.all().single().unwrap().to_vec()).collect()
    }

    #[test]
    fn sequential_batches_end_with_what_is_left() {
        let all = batches(&numbers(10), 4, Order::Sequential, false);
        assert_eq!(all.iter().map(|batch| batch.shape).collect::<Vec<_>>(), [[4, 1, 1, 2], [4, 1, 1, 2], [2, 1, 1, 2]]);
        let (indices, images) = (vec![8, 9], vec![16.0, 17.0, 18.0, 19.0]);
        assert_eq!(
            all[2],
            Batch { indices, images, labels: vec![8, 9].into(), shape: [2, 1, 1, 2], ..Batch::default() }
        );
        assert_eq!(labels(&all), (0..10).collect::<Vec<_>>());
        assert_eq!(labels(&batches(&numbers(10), 4, Order::Sequential, true)), (0..8).collect::<Vec<_>>());
        assert_eq!(batches(&numbers(3), usize::MAX, Order::Sequential, false).len(), 1);
    }

    #[test]
    fn shuffled_is_the_permutation_of_seed_and_epoch() {
        let order = |seed, epoch| labels(&batches(&numbers(50), 8, Order::Shuffled { seed, epoch }, false));
        let mut expected: Vec<u32> = (0..50).collect();
        shuffle(stream(3, Purpose::Shuffle, 1, 0), &mut expected);
        assert_eq!(order(3, 1), expected);
        assert_ne!(order(3, 1), order(3, 2));
        assert_eq!(order(3, 2).into_iter().collect::<HashSet<_>>().len(), 50);
        for batch in batches(&numbers(50), 8, Order::Shuffled { seed: 3, epoch: 1 }, false) {
            assert_eq!(
                batch.images[0],
                batch.labels.all().single().unwrap()[0] as f32 * 2.0,
                "an image keeps its label"
            );
        }
    }

    #[test]
    fn a_batch_s_memory_serves_the_next_one() {
        let mut pass = DataPass::new(&numbers(64), 4, Order::Sequential, false).unwrap();
        let (mut batch, mut places) = (Batch::default(), HashSet::new());
        while pass.fill(&mut batch).unwrap() {
            places.insert(batch.images.as_ptr());
        }
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn without_pixels_the_rest_is_the_same() {
        let order = Order::Shuffled { seed: 1, epoch: 2 };
        let mut pass = DataPass::new(&numbers(10), 4, order, false).unwrap().without_pixels();
        let mut bare = Batch::default();
        for batch in batches(&numbers(10), 4, order, false) {
            assert!(pass.fill(&mut bare).unwrap());
            assert_eq!(bare, Batch { images: Vec::new(), ..batch });
        }
    }

    #[test]
    fn refuses_batch_sizes_that_give_no_batch() {
        let message = |size, drop_last| {
            DataPass::new(&numbers(3), size, Order::Sequential, drop_last).err().map(|error| error.message)
        };
        assert_eq!(message(0, false).unwrap(), "batchSize: expected at least 1, got 0");
        assert_eq!(
            message(4, true).unwrap(),
            "batchSize: expected at most the 3 samples of the set with dropLast, got 4"
        );
        assert_eq!(message(4, false), None);
    }
}
