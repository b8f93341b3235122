//! What V8 is told of memory outside its heap: it would not hurry to collect a model that looks like a few bytes.

use napi::Env;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The memory of a model: weights, what its plans work in, what optimisers keep.
#[derive(Default)]
pub struct OutsideMemory {
    bytes: AtomicI64,
    /// What V8 knows of.
    told: AtomicI64,
    /// The model was disposed of or collected.
    gone: AtomicBool,
}

impl OutsideMemory {
    /// Notes how much it is now; from any thread.
    pub fn set(&self, bytes: usize) {
        self.bytes.store(bytes as i64, Ordering::Release);
    }

    /// Tells V8 what has changed, on its thread.
    pub fn tell(&self, env: &Env) {
        let bytes = if self.gone.load(Ordering::Acquire) { 0 } else { self.bytes.load(Ordering::Acquire) };
        let told = self.told.swap(bytes, Ordering::AcqRel);
        if bytes != told {
            // It fails only where the environment ends, and its heap with it.
            let _ = env.adjust_external_memory(bytes - told);
        }
    }

    /// Takes back what V8 was told, for good.
    pub fn forget(&self, env: &Env) {
        self.gone.store(true, Ordering::Release);
        self.tell(env);
    }
}
