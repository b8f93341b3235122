//! The one thread pool: workers that share out the numbered tasks of one job at a time.
//!
//! Each thread begins with a run of tasks of its own, by its place among the threads, and helps the others when it is done: so
//! one op's tasks find what they read in the cache of the core that wrote it, where both ops number their tasks by image. Which
//! thread runs a task is not fixed, so a task must compute the same whoever runs it. Jobs are cut by output element or by fixed
//! blocks; the number of threads may decide how many tasks those are shared out to, but cuts no sum.

use crate::denormals::FlushDenormals;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

// A model of it, in `reliability/loom`, goes through the orders in which threads can take their steps.
#[cfg(loom)]
use loom::{sync, thread};
#[cfg(not(loom))]
use std::{sync, thread};
use sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use sync::{Arc, Condvar, Mutex, MutexGuard};
use thread::{Builder, JoinHandle};

/// How long a thread looks for work, or for the end of the others' work, before it sleeps: waking up takes tens of microseconds,
/// and between two ops of a network there are fewer.
const PATIENCE: Duration = Duration::from_micros(200);

/// A pool of threads of which the caller is one.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held while a job runs, so that callers on several threads take turns.
    turn: Mutex<()>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    finished: Condvar,
    /// Counts jobs; workers watch it before they sleep.
    jobs: AtomicU64,
    /// Workers that have taken the job; one more takes it only under the lock of the state.
    running: AtomicUsize,
    /// The next task of each thread's run.
    next: Box<[Next]>,
    panicked: AtomicBool,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    stop: bool,
    /// Workers that sleep.
    asleep: usize,
    /// Whether the caller sleeps.
    caller_asleep: bool,
}

/// A counter in cache lines of its own, as neighbouring ones are fetched in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Next(AtomicUsize);

/// A borrowed task function with its number of tasks; the lifetime is erased, see [`Pool::run`].
#[derive(Clone, Copy)]
struct Job {
    function: &'static (dyn Fn(usize, usize) + Sync),
    tasks: usize,
}

impl Pool {
    /// A pool of `threads` threads, the calling one included; at least one.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            wake: Condvar::new(),
            finished: Condvar::new(),
            jobs: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            next: (0..threads.max(1)).map(|_| Next::default()).collect(),
            panicked: AtomicBool::new(false),
        });
        let spawn = |index| {
            let shared = Arc::clone(&shared);
            let name = format!("resnet-kernel-{index}");
            Builder::new().name(name).spawn(move || work(&shared, index)).ok()
        };
        let workers = (1..threads).map_while(spawn).collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    /// Number of threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `function(0..tasks)`, each number once, on all threads; returns when all calls have.
    ///
    /// `function` must not call the pool again. A panic in it is passed on after all threads have let go of it.
    pub fn run(&self, tasks: usize, function: impl Fn(usize) + Sync) {
        self.run_on(tasks, |_, task| function(task));
    }

    /// Like [`Pool::run`], but calls `function(thread, task)`: the thread, below [`Pool::threads`], says which workspace is
    /// free. What a task computes must not depend on it.
    pub fn run_on(&self, tasks: usize, function: impl Fn(usize, usize) + Sync) {
        let _flush = FlushDenormals::new();
        if self.workers.is_empty() || tasks <= 1 {
            return (0..tasks).for_each(|task| function(0, task));
        }
        let _turn = lock(&self.turn);
        let function: &(dyn Fn(usize, usize) + Sync) = &function;
        // SAFETY: workers see the reference only through `state.job`, count themselves in `running` under the lock
        // when they take it, and this function takes it back and waits for that count to be zero before it returns.
        let function: &'static (dyn Fn(usize, usize) + Sync) = unsafe { std::mem::transmute(function) };
        let job = Job { function, tasks };
        for (thread, next) in self.shared.next.iter().enumerate() {
            next.0.store(self.shared.first(tasks, thread), Ordering::Relaxed);
        }
        self.shared.announce(|state| state.job = Some(job));
        let outcome = catch_unwind(AssertUnwindSafe(|| self.shared.run_tasks(job, 0)));
        lock(&self.shared.state).job = None;
        self.shared.wait_for_workers();
        let worker_panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!worker_panicked, "a kernel thread panicked");
    }

    /// Cuts `data` into chunks of `size` (the last may be shorter) and calls `function(index, chunk)` for each.
    pub fn chunks_mut<T: Send>(&self, data: &mut [T], size: usize, function: impl Fn(usize, &mut [T]) + Sync) {
        self.zip_chunks_mut(data, size, &mut [(); 0], 0, |index, chunk, _| function(index, chunk));
    }

    /// Cuts `first` into chunks of `first_size` and `second` into chunks of `second_size` and calls
    /// `function(index, chunk_of_first, chunk_of_second)` for each chunk of `first`; chunks that `second` lacks are empty.
    pub fn zip_chunks_mut<A: Send, B: Send>(
        &self,
        first: &mut [A],
        first_size: usize,
        second: &mut [B],
        second_size: usize,
        function: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        if first.is_empty() {
            return;
        }
        let (first_chunks, second_chunks) = (Chunks::new(first, first_size), Chunks::new(second, second_size));
        self.run(first_chunks.count(), |index| {
            // SAFETY: `run` gives each index to one call only, so no two calls hold the same chunk.
            unsafe { function(index, first_chunks.get(index), second_chunks.get(index)) }
        });
    }

    /// Cuts `first` and each of `others`, as long as it, into chunks of `size` (the last may be shorter) and calls
    /// `function(index, chunk_of_first, chunks_of_others)` for each.
    pub fn chunks_of_all_mut<T: Send, const N: usize>(
        &self,
        first: &mut [T],
        others: [&mut [T]; N],
        size: usize,
        function: impl Fn(usize, &mut [T], [&mut [T]; N]) + Sync,
    ) {
        let (first, others) = (Chunks::new(first, size), others.map(|other| Chunks::new(other, size)));
        self.run(first.count(), |index| {
            // SAFETY: `run` gives each index to one call only, so no two calls hold the same chunk.
            unsafe { function(index, first.get(index), others.each_ref().map(|other| other.get(index))) }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.announce(|state| state.stop = true);
        for worker in self.workers.drain(..) {
            // A worker catches its own panics, so there is nothing to learn from the join.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Changes the state and tells the workers, under the lock so that none falls asleep in between.
    fn announce(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.jobs.fetch_add(1, Ordering::Release);
        if state.asleep > 0 {
            self.wake.notify_all();
        }
    }

    /// Returns when no worker is at the job any more; none may take it by now.
    fn wait_for_workers(&self) {
        let idle = || self.running.load(Ordering::Acquire) == 0;
        if comes_soon(idle) {
            return;
        }
        let mut state = lock(&self.state);
        state.caller_asleep = true;
        while !idle() {
            state = self.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.caller_asleep = false;
    }

    /// The first task of a thread's run.
    fn first(&self, tasks: usize, thread: usize) -> usize {
        tasks * thread / self.next.len()
    }

    /// Runs the thread's tasks, then what is left of the others'.
    fn run_tasks(&self, job: Job, thread: usize) {
        for owner in (thread..self.next.len()).chain(0..thread) {
            let end = self.first(job.tasks, owner + 1);
            loop {
                let task = self.next[owner].0.fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                (job.function)(thread, task);
            }
        }
    }
}

fn work(shared: &Shared, thread: usize) {
    let _flush = FlushDenormals::new();
    let mut seen = 0;
    loop {
        let is_new = || shared.jobs.load(Ordering::Acquire) != seen;
        comes_soon(is_new);
        let mut state = lock(&shared.state);
        while !is_new() {
            state.asleep += 1;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
        if state.stop {
            return;
        }
        seen = shared.jobs.load(Ordering::Acquire);
        let Some(job) = state.job else { continue };
        shared.running.fetch_add(1, Ordering::Relaxed);
        drop(state);
        if catch_unwind(AssertUnwindSafe(|| shared.run_tasks(job, thread))).is_err() {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        if shared.running.fetch_sub(1, Ordering::Release) == 1 && lock(&shared.state).caller_asleep {
            shared.finished.notify_all();
        }
    }
}

/// Waits for a condition while [`PATIENCE`] lasts; whether it came.
fn comes_soon(condition: impl Fn() -> bool) -> bool {
    if cfg!(loom) {
        return condition();
    }
    let mut began = None;
    loop {
        // Between two looks at the clock.
        for _ in 0..64 {
            if condition() {
                return true;
            }
            std::hint::spin_loop();
        }
        if began.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return false;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slice cut into chunks that tasks on several threads take by index.
struct Chunks<T> {
    data: *mut T,
    len: usize,
    size: usize,
}

// SAFETY: chunks are handed out one index per task, so sharing it sends each `T` to one thread.
unsafe impl<T: Send> Sync for Chunks<T> {}

impl<T> Chunks<T> {
    fn new(data: &mut [T], size: usize) -> Self {
        assert!(size > 0 || data.is_empty(), "chunks of no elements");
        Self { data: data.as_mut_ptr(), len: data.len(), size }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    /// # Safety
    /// No two live references may come from the same index.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self, index: usize) -> &mut [T] {
        let start = (index * self.size).min(self.len);
        let len = self.size.min(self.len - start);
        // SAFETY: the range lies in the slice and, by the caller's promise, is not shared.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, PATIENCE};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, |task| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn threads_that_fell_asleep_are_woken() {
        let (pool, sum, long) = (Pool::new(3), AtomicUsize::new(0), 10 * PATIENCE);
        for sleeper in [0, 1, 2, 0, 1, 2] {
            pool.run_on(6, |thread, task| {
                sum.fetch_add(task, Ordering::Relaxed);
                // The caller has to wait for a worker, workers for the caller, or all for the next job.
                if thread == sleeper {
                    std::thread::sleep(long);
                }
            });
            std::thread::sleep(long);
        }
        assert_eq!(sum.into_inner(), 6 * 15);
    }

    #[test]
    fn chunks_cover_both_slices() {
        let pool = Pool::new(3);
        let (mut first, mut second) = (vec![0; 10], vec![0; 4]);
        pool.zip_chunks_mut(&mut first, 3, &mut second, 1, |index, a, b| {
            a.fill(index + 1);
            b.fill(index + 1);
        });
        assert_eq!(first, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
        assert_eq!(second, [1, 2, 3, 4]);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        for _ in 0..20 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(100, |task| assert!(task != 50));
            }));
            assert!(result.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.run(100, |task| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }
}
