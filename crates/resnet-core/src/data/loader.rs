//! Batches of a data set, prepared by a thread of their own while the last one is used.

use super::Dataset;
use crate::error::{Code, Error, Result};
use crate::rng::{permutation, stream, Purpose};
use std::any::Any;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::thread::{Builder, JoinHandle};

/// Batches that are prepared ahead of the one in use.
const AHEAD: usize = 2;

/// The order that samples are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the data set has them.
    Sequential,
    /// In an order drawn for this seed and epoch.
    Shuffled {
        /// The seed.
        seed: u64,
        /// The epoch.
        epoch: u64,
    },
}

/// Some samples of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Places in the data set.
    pub indices: Vec<u32>,
    /// Pixels in row-major order; none if they are on the device.
    pub images: Vec<f32>,
    /// One for each image.
    pub labels: Vec<u32>,
    /// (N, C, H, W).
    pub shape: [usize; 4],
}

impl Batch {
    /// Sets the shape and brings the vectors to its lengths, that of images to 0 without pixels.
    fn reshape(&mut self, count: usize, [channels, height, width]: [usize; 3], pixels: bool) -> Result<()> {
        self.shape = [count, channels, height, width];
        let sizes = if pixels { self.shape } else { [0; 4] };
        let total = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let reserved = total.is_some_and(|total| {
            self.images.try_reserve_exact(total.saturating_sub(self.images.len())).is_ok()
                && self.labels.try_reserve_exact(count.saturating_sub(self.labels.len())).is_ok()
        });
        let Some(total) = total.filter(|_| reserved) else {
            let expected = format!("a size for which there is memory, with images of {channels}x{height}x{width}");
            return Err(Error::expected(Code::InvalidArgument, "batch_size", expected, count));
        };
        self.images.resize(total, 0.0);
        self.labels.resize(count, 0);
        Ok(())
    }
}

/// Goes through a data set once, batch by batch. A thread prepares batches ahead; it ends with the loader.
pub struct Loader {
    steps: usize,
    taken: usize,
    current: Option<Batch>,
    worker: Option<Worker>,
}

struct Worker {
    thread: JoinHandle<()>,
    full: Receiver<Result<Batch>>,
    empty: SyncSender<Batch>,
}

impl Loader {
    /// Starts to prepare the batches. Without `drop_last` the last one holds what is left.
    ///
    /// `ERR_INVALID_ARGUMENT` if the batch size is 0, or is above the number of samples while `drop_last` would leave nothing.
    pub fn new(data: &Dataset, batch_size: usize, order: Order, drop_last: bool) -> Result<Self> {
        Self::begin(data, batch_size, order, drop_last, true)
    }

    /// The same batches without their pixels.
    pub fn without_pixels(data: &Dataset, batch_size: usize, order: Order, drop_last: bool) -> Result<Self> {
        Self::begin(data, batch_size, order, drop_last, false)
    }

    fn begin(data: &Dataset, batch_size: usize, order: Order, drop_last: bool, pixels: bool) -> Result<Self> {
        let len = data.len();
        if batch_size == 0 {
            return Err(Error::expected(Code::InvalidArgument, "batch_size", "at least 1", 0));
        }
        if drop_last && batch_size > len {
            let expected = format!("at most the {len} samples of the set, if the last partial batch is dropped");
            return Err(Error::expected(Code::InvalidArgument, "batch_size", expected, batch_size));
        }
        let steps = if drop_last { len / batch_size } else { len.div_ceil(batch_size) };
        let data = data.clone();
        let mut indices = Vec::new();
        let prepare = move |step: usize, batch: &mut Batch| {
            if step == 0 {
                indices = match order {
                    Order::Sequential => (0..len).collect(),
                    Order::Shuffled { seed, epoch } => permutation(stream(seed, Purpose::Shuffle, epoch, 0), len),
                };
            }
            let first = step * batch_size;
            let indices = &indices[first..len.min(first.saturating_add(batch_size))];
            batch.reshape(indices.len(), data.image_shape(), pixels)?;
            batch.indices.clear();
            batch.indices.extend(indices.iter().map(|&index| index as u32));
            if pixels {
                return data.fill(indices, &mut batch.images, &mut batch.labels);
            }
            indices.iter().zip(&mut batch.labels).for_each(|(&index, label)| *label = data.labels()[index]);
            Ok(())
        };
        Self::start(steps, prepare)
    }

    fn start(steps: usize, mut prepare: impl FnMut(usize, &mut Batch) -> Result<()> + Send + 'static) -> Result<Self> {
        let (give_full, full) = sync_channel(AHEAD);
        // One more than are ahead: the one in use. All come back here, so giving one back never waits.
        let (empty, take_empty) = sync_channel(AHEAD + 1);
        let body = move || {
            for (step, mut batch) in (0..steps).zip(take_empty) {
                let result = prepare(step, &mut batch).map(|()| batch);
                let failed = result.is_err();
                if give_full.send(result).is_err() || failed {
                    return;
                }
            }
        };
        let thread = Builder::new()
            .name("resnet-loader".into())
            .spawn(body)
            .map_err(|error| Error::new(Code::Io, format!("cannot start a thread: {error}")))?;
        let mut loader = Self { steps, taken: 0, current: None, worker: Some(Worker { thread, full, empty }) };
        for _ in 0..=AHEAD {
            loader.give_back(Batch::default());
        }
        Ok(loader)
    }

    /// Number of batches.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The next batch; none after the last one, or after an error. `ERR_INTERNAL` if the thread panicked.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<&Batch>> {
        if let Some(used) = self.current.take() {
            self.give_back(used);
        }
        if self.taken == self.steps {
            return None;
        }
        let result = match self.worker.as_ref()?.full.recv() {
            Ok(result) => result,
            Err(_) => Err(self.stop().unwrap_or_else(|| Error::new(Code::Internal, "the loader's thread is gone"))),
        };
        match result {
            Ok(batch) => {
                self.taken += 1;
                Some(Ok(self.current.insert(batch)))
            }
            Err(error) => {
                self.taken = self.steps;
                Some(Err(error))
            }
        }
    }

    fn give_back(&mut self, batch: Batch) {
        if let Some(worker) = &self.worker {
            // Fails only when the thread has ended, after its last batch or an error.
            let _ = worker.empty.send(batch);
        }
    }

    /// Ends the thread; returns its panic, if it had one.
    fn stop(&mut self) -> Option<Error> {
        let Worker { thread, full, empty } = self.worker.take()?;
        // The thread waits on one of these if on anything.
        drop((full, empty));
        let panic = thread.join().err()?;
        Some(Error::new(Code::Internal, format!("the loader's thread panicked: {}", panic_message(&*panic))))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::super::Pixels;
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    fn numbers(count: usize) -> Dataset {
        let pixels = (0..count * 2).map(|i| i as f32).collect();
        Dataset::from_arrays(Pixels::F32(pixels), [count, 1, 1, 2], (0..count as u32).collect(), None).unwrap()
    }

    fn batches(data: &Dataset, batch_size: usize, order: Order, drop_last: bool) -> Vec<Batch> {
        let mut loader = Loader::new(data, batch_size, order, drop_last).unwrap();
        let mut all = Vec::new();
        while let Some(batch) = loader.next() {
            all.push(batch.unwrap().clone());
        }
        assert_eq!(all.len(), loader.steps());
        assert!(loader.next().is_none());
        all
    }

    fn labels(batches: &[Batch]) -> Vec<u32> {
        batches.iter().flat_map(|batch| batch.labels.clone()).collect()
    }

    #[test]
    fn sequential_batches_end_with_what_is_left() {
        let all = batches(&numbers(10), 4, Order::Sequential, false);
        assert_eq!(all.iter().map(|batch| batch.shape).collect::<Vec<_>>(), [[4, 1, 1, 2], [4, 1, 1, 2], [2, 1, 1, 2]]);
        let (indices, images) = (vec![8, 9], vec![16.0, 17.0, 18.0, 19.0]);
        assert_eq!(all[2], Batch { indices, images, labels: vec![8, 9], shape: [2, 1, 1, 2] });
        assert_eq!(labels(&all), (0..10).collect::<Vec<_>>());
        assert_eq!(labels(&batches(&numbers(10), 4, Order::Sequential, true)), (0..8).collect::<Vec<_>>());
        assert_eq!(batches(&numbers(3), usize::MAX, Order::Sequential, false).len(), 1);
    }

    #[test]
    fn shuffled_is_the_permutation_of_seed_and_epoch() {
        let order = |seed, epoch| labels(&batches(&numbers(50), 8, Order::Shuffled { seed, epoch }, false));
        let expected = permutation(stream(3, Purpose::Shuffle, 1, 0), 50);
        assert!(order(3, 1).into_iter().eq(expected.into_iter().map(|index| index as u32)));
        assert_ne!(order(3, 1), order(3, 2));
        assert_eq!(order(3, 2).into_iter().collect::<HashSet<_>>().len(), 50);
        for batch in batches(&numbers(50), 8, Order::Shuffled { seed: 3, epoch: 1 }, false) {
            assert_eq!(batch.images[0], batch.labels[0] as f32 * 2.0, "an image keeps its label");
        }
    }

    #[test]
    fn buffers_are_recycled() {
        let mut loader = Loader::new(&numbers(64), 4, Order::Sequential, false).unwrap();
        let mut places = HashSet::new();
        while let Some(batch) = loader.next() {
            places.insert(batch.unwrap().images.as_ptr());
        }
        assert!(places.len() <= AHEAD + 1, "{}", places.len());
    }

    #[test]
    fn prepares_two_ahead_and_no_more() {
        let prepared = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&prepared);
        let prepare = move |_, _: &mut Batch| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let mut loader = Loader::start(10, prepare).unwrap();
        loader.next().unwrap().unwrap();
        while prepared.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(prepared.load(Ordering::SeqCst), 1 + AHEAD);
    }

    #[test]
    fn dropping_early_ends_the_thread() {
        for taken in 0..4 {
            let alive = Arc::new(());
            let held = Arc::clone(&alive);
            let prepare = move |_, _: &mut Batch| {
                let _held = &held;
                Ok(())
            };
            let mut loader = Loader::start(1000, prepare).unwrap();
            for _ in 0..taken {
                loader.next().unwrap().unwrap();
            }
            drop(loader);
            assert_eq!(Arc::strong_count(&alive), 1, "the thread and all it held are gone");
        }
    }

    #[test]
    fn a_panic_or_error_in_the_thread_comes_out_once() {
        let fail = |step: usize, _: &mut Batch| match step {
            0 => Ok(()),
            _ => Err(Error::new(Code::Io, "no disc")),
        };
        let mut loader = Loader::start(5, fail).unwrap();
        assert!(loader.next().unwrap().is_ok());
        assert_eq!(loader.next().unwrap().unwrap_err().message, "no disc");
        assert!(loader.next().is_none());

        let mut loader = Loader::start(5, |step, _: &mut Batch| if step == 1 { panic!("at {step}") } else { Ok(()) });
        let loader = loader.as_mut().unwrap();
        assert!(loader.next().unwrap().is_ok());
        let error = loader.next().unwrap().unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::Internal, "the loader's thread panicked: at 1"));
        assert!(loader.next().is_none());
    }

    #[test]
    fn refuses_batch_sizes_that_give_no_batch() {
        let message = |size, drop_last| {
            Loader::new(&numbers(3), size, Order::Sequential, drop_last).err().map(|error| error.message)
        };
        assert_eq!(message(0, false).unwrap(), "batch_size: expected at least 1, got 0");
        assert!(message(4, true).unwrap().contains("at most the 3 samples"));
        assert_eq!(message(4, false), None);
    }
}
