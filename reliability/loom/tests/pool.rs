//! The thread pool, in every order of its threads' steps with up to three changes of thread that none of them asked for.

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use resnet_loom::pool::Pool;
use std::panic::{catch_unwind, AssertUnwindSafe};

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

/// A number for each task, which loom watches: two threads at one at a time, or one that another's writing does not come before, are an error.
struct Numbers(Vec<UnsafeCell<usize>>);

// SAFETY: loom finds accesses that are not in order.
unsafe impl Sync for Numbers {}

impl Numbers {
    fn new(len: usize) -> Self {
        Self((0..len).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, index: usize, more: usize) {
        // SAFETY: as above.
        self.0[index].with_mut(|number| unsafe { *number += more });
    }

    fn all(&self) -> Vec<usize> {
        // SAFETY: as above.
        self.0.iter().map(|number| number.with(|number| unsafe { *number })).collect()
    }
}

#[test]
fn tasks_run_once_and_what_they_write_is_there_afterwards() {
    model(|| {
        let (pool, numbers) = (Pool::new(2), Numbers::new(3));
        pool.run(3, |task| numbers.add(task, task + 1));
        assert_eq!(numbers.all(), [1, 2, 3]);
    });
}

#[test]
fn a_late_worker_takes_nothing_of_the_job_before() {
    model(|| {
        let pool = Pool::new(2);
        for more in [1, 10] {
            let numbers = Numbers::new(2);
            pool.run(2, |task| numbers.add(task, more));
            assert_eq!(numbers.all(), [more, more]);
        }
    });
}

#[test]
fn three_threads_share_a_job() {
    model(|| {
        let (pool, numbers) = (Pool::new(3), Numbers::new(3));
        pool.run(3, |task| numbers.add(task, 1));
        assert_eq!(numbers.all(), [1, 1, 1]);
    });
}

#[test]
fn a_panic_reaches_the_caller_when_all_have_let_go() {
    model(|| {
        let (pool, numbers) = (Pool::new(2), Numbers::new(2));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(2, |task| {
                numbers.add(task, 1);
                assert!(task != 1, "a task's own");
            });
        }));
        assert!(outcome.is_err());
        // That the pool lives on is for its own tests to see: loom's locks do not survive a panic.
        assert_eq!(numbers.all(), [1, 1]);
    });
}

#[test]
fn callers_take_turns() {
    model(|| {
        let pool = Arc::new(Pool::new(2));
        let other = Arc::clone(&pool);
        let caller = loom::thread::spawn(move || {
            let numbers = Numbers::new(2);
            other.run(2, |task| numbers.add(task, 1));
            assert_eq!(numbers.all(), [1, 1]);
        });
        let numbers = Numbers::new(2);
        pool.run(2, |task| numbers.add(task, 2));
        assert_eq!(numbers.all(), [2, 2]);
        caller.join().unwrap();
    });
}
