//! Ranks that are threads of one process: to run many where there is one, as tests do.

use super::{late, of_rank, Communicator};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A rank.
pub struct ThreadRank {
    rank: usize,
    size: usize,
    limit: Duration,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What each rank gave for the exchange that is under way.
    given: Vec<Option<Vec<u8>>>,
    /// Ranks that have read it.
    read: usize,
    /// The first error and whose it is.
    failed: Option<(usize, Error)>,
    /// Who answers where some have waited too long.
    answered: BTreeSet<usize>,
}

/// How long answers are waited for.
const ROLL_CALL: Duration = Duration::from_secs(1);

/// As many ranks, which wait for each other for so long.
pub fn ranks(size: usize, limit: Duration) -> Vec<ThreadRank> {
    let state = State { given: vec![None; size], ..State::default() };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (0..size).map(|rank| ThreadRank { rank, size, limit, shared: shared.clone() }).collect()
}

impl ThreadRank {
    /// Waits until the state is as it should be.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        is_ready: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        let until = Instant::now() + self.limit;
        loop {
            // First: what has been exchanged before another rank failed counts on all.
            if is_ready(&state) {
                return Ok(state);
            }
            if let Some((rank, error)) = &state.failed {
                return Err(if *rank == self.rank { error.clone() } else { of_rank(*rank, error) });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let missing: Vec<usize> = (0..self.size).filter(|&rank| state.given[rank].is_none()).collect();
                return Err(late(&missing, self.limit));
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives something and reads what all gave.
    fn exchange(&mut self, mine: &[u8], read: impl FnOnce(&[Option<Vec<u8>>])) -> Result<()> {
        let shared = self.shared.clone();
        let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let rank = self.rank;
        // Until the exchange before has been read by all.
        let mut state = self.wait(state, |state| state.given[rank].is_none())?;
        state.given[rank] = Some(mine.to_vec());
        shared.changed.notify_all();
        let mut state = self.wait(state, |state| state.given.iter().all(Option::is_some))?;
        read(&state.given);
        state.read += 1;
        if state.read == self.size {
            state.read = 0;
            state.given.fill(None);
            shared.changed.notify_all();
            return Ok(());
        }
        self.wait(state, |state| state.given[rank].is_none()).map(drop)
    }
}

impl Communicator for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn limit(&self) -> Duration {
        self.limit
    }

    fn all_gather(&mut self, mine: &[u8], part: usize, all: &mut [u8]) -> Result<()> {
        self.exchange(mine, |given| {
            for (part, given) in all.chunks_mut(part.max(1)).zip(given.iter().flatten()) {
                part.copy_from_slice(given);
            }
        })
    }

    fn all_to_all(&mut self, mine: &[u8], part: usize, theirs: &mut [u8]) -> Result<()> {
        let [start, end] = [self.rank, self.rank + 1].map(|rank| (rank * part).min(mine.len()));
        self.exchange(mine, |given| {
            for (part, given) in theirs.chunks_exact_mut((end - start).max(1)).zip(given.iter().flatten()) {
                part.copy_from_slice(&given[start..end]);
            }
        })
    }

    fn heard(&mut self, waited: Duration) -> Option<Error> {
        let shared = self.shared.clone();
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if waited >= self.limit || !state.answered.is_empty() {
            state.answered.insert(self.rank);
            shared.changed.notify_all();
            let is_open = |state: &mut State| state.answered.len() < self.size && state.failed.is_none();
            let waited = shared.changed.wait_timeout_while(state, ROLL_CALL, is_open);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some((rank, error)) = &state.failed {
            return (*rank != self.rank).then(|| of_rank(*rank, error));
        }
        let missing: Vec<usize> = (0..self.size).filter(|rank| !state.answered.contains(rank)).collect();
        (!state.answered.is_empty() && !missing.is_empty()).then(|| late(&missing, self.limit))
    }

    fn fail(&mut self, error: &Error) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed.get_or_insert((self.rank, error.clone()));
        self.shared.changed.notify_all();
    }
}
