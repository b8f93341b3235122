//! Threads that prefetch batches while one is in use.

use super::pass::{Batch, DataPass};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Batches that are prefetched while one is in use; with more threads than that, one for each.
const PREFETCHED: usize = 2;

/// Goes through a data set once, batch by batch. Threads prefetch batches, each a batch of its own; they end with the loader.
pub struct Loader {
    steps: usize,
    taken: usize,
    current: Option<Batch>,
    waited: Duration,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type Prepare = dyn Fn(usize, &mut Batch) -> Result<()> + Send + Sync;

struct Shared {
    prepare: Box<Prepare>,
    state: Mutex<LoaderState>,
    /// A batch is ready.
    ready: Condvar,
    /// A batch's memory is free again, or the loader ends.
    freed: Condvar,
}

struct LoaderState {
    /// The step that is prepared next.
    next: usize,
    steps: usize,
    ready: BTreeMap<usize, Result<Batch>>,
    /// Memory of batches that are not in use.
    free: Vec<Batch>,
}

impl Loader {
    /// Starts to prepare the batches of a pass, on so many threads; with 0 each is prepared when it is asked for.
    ///
    /// # Errors
    /// `ERR_NO_THREAD` if the system starts none.
    pub fn new(pass: DataPass, threads: usize) -> Result<Self> {
        Self::start(pass.first()..pass.steps(), threads, move |step, batch| pass.prepare(step, batch))
    }

    fn start(
        places: Range<usize>,
        threads: usize,
        prepare: impl Fn(usize, &mut Batch) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        // One more than are prefetched: the one in use.
        let free = vec![Batch::default(); threads.max(PREFETCHED) + 1];
        let shared = Arc::new(Shared {
            prepare: Box::new(prepare),
            state: Mutex::new(LoaderState { next: places.start, steps: places.end, ready: BTreeMap::new(), free }),
            ready: Condvar::new(),
            freed: Condvar::new(),
        });
        let (steps, taken, waited) = (places.end, places.start, Duration::ZERO);
        let mut loader = Self { steps, taken, current: None, waited, shared, threads: Vec::new() };
        for _ in 0..threads.min(places.len()) {
            let shared = loader.shared.clone();
            let thread = Builder::new().name("resnet-loader".into()).spawn(move || shared.work());
            match thread {
                Ok(thread) => loader.threads.push(thread),
                // Fewer do as well.
                Err(_) if !loader.threads.is_empty() => break,
                Err(error) => return Err(Error::no_thread(&error)),
            }
        }
        Ok(loader)
    }

    /// Number of batches, with those before the first; where pictures are left out there may be fewer.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How long batches were waited for that were not ready when they were asked for.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The next batch; none after the last one, or after an error.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY` if there is no memory for the batch, `ERR_IO` or `ERR_DATA_CORRUPT` if a picture cannot be read,
    /// `ERR_INTERNAL` if a thread panicked.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<&Batch>> {
        self.next_placed().map(|next| next.map(|(_, batch)| batch))
    }

    /// The same with its place in the pass, counting from 1, in which those that were left out count too.
    ///
    /// # Errors
    /// As for [`Loader::next`].
    pub fn next_placed(&mut self) -> Option<Result<(usize, &Batch)>> {
        loop {
            if let Some(used) = self.current.take() {
                self.shared.lock().free.push(used);
                self.shared.freed.notify_one();
            }
            if self.taken == self.steps {
                return None;
            }
            let began = Instant::now();
            let batch = self.wait();
            self.waited += began.elapsed();
            match batch {
                // All of its pictures were left out.
                Ok(batch) if batch.is_left_out() => {
                    self.taken += 1;
                    self.current = Some(batch);
                }
                Ok(batch) => {
                    self.taken += 1;
                    return Some(Ok((self.taken, self.current.insert(batch))));
                }
                Err(error) => {
                    self.taken = self.steps;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The next batch, whose memory is the caller's from then on.
    pub fn next_owned(&mut self) -> Option<Result<Batch>> {
        if let Err(error) = self.next()? {
            return Some(Err(error));
        }
        let batch = self.current.replace(Batch::default());
        batch.map(Ok)
    }

    fn wait(&mut self) -> Result<Batch> {
        if self.threads.is_empty() {
            let mut batch = self.shared.lock().free.pop().unwrap_or_default();
            return self.shared.prepare(self.taken, &mut batch).map(|()| batch);
        }
        let mut state = self.shared.lock();
        loop {
            if let Some(batch) = state.ready.remove(&self.taken) {
                return batch;
            }
            state = self.shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LoaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's body. Steps are taken in order, so that the one waited for always has its memory.
    fn work(&self) {
        let mut state = self.lock();
        while state.next < state.steps {
            let Some(mut batch) = state.free.pop() else {
                state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let step = state.next;
            state.next += 1;
            drop(state);
            let result = self.prepare(step, &mut batch).map(|()| batch);
            state = self.lock();
            if result.is_err() {
                state.steps = state.next;
            }
            state.ready.insert(step, result);
            self.ready.notify_all();
        }
        // The others end too.
        self.freed.notify_all();
    }

    fn prepare(&self, step: usize, batch: &mut Batch) -> Result<()> {
        let prepared = catch_unwind(AssertUnwindSafe(|| (self.prepare)(step, batch)));
        prepared.unwrap_or_else(|panic| Err(Error::panicked("a loader's thread panicked", &*panic)))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.steps = 0;
        drop(state);
        self.shared.freed.notify_all();
        for thread in self.threads.drain(..) {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Order, Pixels};
    use super::*;
    use crate::error::Code;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    fn numbers(count: usize) -> Dataset {
        let pixels = (0..count * 2).map(|i| i as f32).collect();
        Dataset::from_arrays(Pixels::F32(pixels), [count, 1, 1, 2], (0..count as u32).collect::<Vec<_>>(), None)
            .unwrap()
    }

    #[test]
    fn buffers_are_recycled() {
        let mut loader = Loader::new(DataPass::new(&numbers(64), 4, Order::Sequential, false).unwrap(), 1).unwrap();
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
        let mut loader = Loader::start(0..10, 1, prepare).unwrap();
        loader.next().unwrap().unwrap();
        while prepared.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(prepared.load(Ordering::SeqCst), 1 + PREFETCHED);
    }

    #[test]
    fn tells_how_long_it_was_waited_for() {
        const LONG: Duration = Duration::from_millis(40);
        for threads in [0, 1] {
            let prepare = |_, _: &mut Batch| {
                std::thread::sleep(LONG);
                Ok(())
            };
            let mut loader = Loader::start(0..4, threads, prepare).unwrap();
            while let Some(batch) = loader.next() {
                batch.unwrap();
            }
            assert!(loader.waited() >= LONG * 3, "{:?}", loader.waited());
        }
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
            let mut loader = Loader::start(0..1000, 3, prepare).unwrap();
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
        let mut loader = Loader::start(0..5, 1, fail).unwrap();
        assert!(loader.next().unwrap().is_ok());
        assert_eq!(loader.next().unwrap().unwrap_err().message, "no disc");
        assert!(loader.next().is_none());

        let mut loader =
            Loader::start(0..5, 1, |step, _: &mut Batch| if step == 1 { panic!("at {step}") } else { Ok(()) });
        let loader = loader.as_mut().unwrap();
        assert!(loader.next().unwrap().is_ok());
        let error = loader.next().unwrap().unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::Internal, "a loader's thread panicked: at 1"));
        assert!(loader.next().is_none());
    }
}
