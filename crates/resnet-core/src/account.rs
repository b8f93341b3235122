//! Memory that goes with a session without being its own: what trainers keep between steps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// How much of it there is.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<AtomicUsize>);

/// One trainer's bytes, subtracted when it is dropped.
#[derive(Debug, Default)]
pub struct Share {
    account: Account,
    bytes: usize,
}

impl Account {
    /// All shares together, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Says how much it is now, and on which account.
    pub fn set(&mut self, account: &Account, bytes: usize) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
        account.0.fetch_add(bytes, Ordering::Relaxed);
        (self.account, self.bytes) = (account.clone(), bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
