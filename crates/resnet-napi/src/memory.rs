//! What V8 is told of memory outside its heap: it would not hurry to collect a model or a data set that looks like a few bytes.

use napi::Env;
use resnet_core::data::{Dataset, ImageMemory};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

thread_local! {
    /// How many objects of this thread's JavaScript hold these images.
    static HOLDERS: RefCell<HashMap<usize, usize>> = RefCell::default();
}

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
        tell(env, bytes - told);
    }

    /// Takes back what V8 was told, for good.
    pub fn forget(&self, env: &Env) {
        self.gone.store(true, Ordering::Release);
        self.tell(env);
    }
}

/// The images that an object of JavaScript's holds. V8 is told of them once, however many parts of a set share them.
pub struct HeldImages(Vec<ImageMemory>);

impl HeldImages {
    /// Tells V8 of what no other object holds.
    pub fn new(env: &Env, data: &Dataset) -> Self {
        let held = data.memory();
        HOLDERS.with_borrow_mut(|holders| {
            for images in &held {
                let others = holders.entry(images.address).or_default();
                if *others == 0 {
                    tell(env, images.bytes as i64);
                }
                *others += 1;
            }
        });
        Self(held)
    }

    /// Takes back what no other object holds.
    pub fn forget(self, env: &Env) {
        HOLDERS.with_borrow_mut(|holders| {
            for images in &self.0 {
                let others = holders.entry(images.address).or_default();
                *others = others.saturating_sub(1);
                if *others == 0 {
                    tell(env, -(images.bytes as i64));
                    holders.remove(&images.address);
                }
            }
        });
    }
}

fn tell(env: &Env, change: i64) {
    if change != 0 {
        // It fails only where the environment ends, and its heap with it.
        let _ = env.adjust_external_memory(change);
    }
}
