//! Looking at many things once, on several threads.

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{scope, Builder};

/// What `of` makes of each of `count` places, in their order; each thread has something of its own that `with` makes.
///
/// # Errors
/// Of several the first in order; `ERR_ABORTED`.
pub(super) fn sweep<S, T: Send>(
    count: usize,
    threads: usize,
    cancel: &Cancel,
    with: impl Fn() -> Result<S> + Sync,
    of: impl Fn(&mut S, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new((Vec::new(), None::<(usize, Error)>));
    let fail = |index: usize, error: Error| {
        stopped.store(true, Ordering::Relaxed);
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        // Those before it are being looked at.
        if results.1.as_ref().is_none_or(|(other, _)| index < *other) {
            results.1 = Some((index, error));
        }
    };
    let work = || {
        let mut own = match with() {
            Ok(own) => own,
            // The first index that is taken in vain.
            Err(error) => return fail(next.fetch_add(1, Ordering::Relaxed), error),
        };
        while !stopped.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let made = cancel.check().and_then(|()| of(&mut own, index));
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            match made {
                Ok(made) => results.0.push((index, made)),
                Err(error) => {
                    drop(results);
                    fail(index, error);
                }
            }
        }
    };
    scope(|scope| {
        for _ in 1..threads {
            // Fewer do as well.
            let _ = Builder::new().name("resnet-data".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let (mut made, error) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    match error {
        Some((_, error)) => Err(error),
        None => {
            made.sort_unstable_by_key(|(index, _)| *index);
            Ok(made.into_iter().map(|(_, made)| made).collect())
        }
    }
}
