//! Memory that goes with a session without being its own: what trainers keep between steps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// How much of it there is.
#[derive(Clone, Debug, Default)]
pub struct TrainerMemory(Arc<AtomicUsize>);

/// One trainer's bytes, subtracted when it is dropped.
#[derive(Debug, Default)]
pub struct TrainerShare {
    memory: TrainerMemory,
    bytes: usize,
}

impl TrainerMemory {
    /// All shares together, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl TrainerShare {
    /// Says how much it is now, and of which session's memory.
    pub fn set(&mut self, memory: &TrainerMemory, bytes: usize) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
        memory.0.fetch_add(bytes, Ordering::Relaxed);
        (self.memory, self.bytes) = (memory.clone(), bytes);
    }
}

impl Drop for TrainerShare {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
