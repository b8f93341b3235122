//! A thread that prefetches batches while one is in use.

use super::pass::{Batch, DataPass};
use crate::error::{Code, Error, Result};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::thread::{Builder, JoinHandle};

/// Batches that are prefetched while one is in use.
const PREFETCHED: usize = 2;

/// Goes through a data set once, batch by batch. A thread prefetches batches; it ends with the loader.
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
    /// Starts to prepare the batches of a pass.
    ///
    /// # Errors
    /// `ERR_NO_THREAD` if the system starts none.
    pub fn new(mut pass: DataPass) -> Result<Self> {
        Self::start(pass.steps(), move |_, batch| pass.fill(batch).map(drop))
    }

    fn start(steps: usize, mut prepare: impl FnMut(usize, &mut Batch) -> Result<()> + Send + 'static) -> Result<Self> {
        let (give_full, full) = sync_channel(PREFETCHED);
        // One more than are prefetched: the one in use. All come back here, so giving one back never waits.
        let (empty, take_empty) = sync_channel(PREFETCHED + 1);
        let body = move || {
            for (step, mut batch) in (0..steps).zip(take_empty) {
                let result = prepare(step, &mut batch).map(|()| batch);
                let failed = result.is_err();
                if give_full.send(result).is_err() || failed {
                    return;
                }
            }
        };
        let thread =
            Builder::new().name("resnet-loader".into()).spawn(body).map_err(|error| Error::no_thread(&error))?;
        let mut loader = Self { steps, taken: 0, current: None, worker: Some(Worker { thread, full, empty }) };
        for _ in 0..=PREFETCHED {
            loader.give_back(Batch::default());
        }
        Ok(loader)
    }

    /// Number of batches.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The next batch; none after the last one, or after an error.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY` if there is no memory for the batch, `ERR_INTERNAL` if the thread panicked.
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
        Some(Error::panicked("the loader's thread panicked", &*panic))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Order, Pixels};
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    fn numbers(count: usize) -> Dataset {
        let pixels = (0..count * 2).map(|i| i as f32).collect();
        Dataset::from_arrays(Pixels::F32(pixels), [count, 1, 1, 2], (0..count as u32).collect(), None).unwrap()
    }

    #[test]
    fn buffers_are_recycled() {
        let mut loader = Loader::new(DataPass::new(&numbers(64), 4, Order::Sequential, false).unwrap()).unwrap();
        let mut places = HashSet::new();
        while let Some(batch) = loader.next() {
            places.insert(batch.unwrap().images.as_ptr());
        }
        assert!(places.len() <= PREFETCHED + 1, "{}", places.len());
    }

    #[test]
    fn prefetches_two_and_no_more() {
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
        assert_eq!(prepared.load(Ordering::SeqCst), 1 + PREFETCHED);
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
}
