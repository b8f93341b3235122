//! Memory of a device, and the order in which its work is done.

use super::device::{Address, Device};
use candle_core::{bail, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device, and the memory that a capture under way must keep.
pub(super) struct Stream {
    pub(super) device: Box<dyn Device>,
    /// The memory that the work captured so far is done on; None while nothing is captured.
    captured: Mutex<Option<Vec<Arc<Memory>>>>,
}

impl Stream {
    pub(super) fn new(device: Box<dyn Device>) -> Self {
        Self { device, captured: Mutex::default() }
    }

    pub(super) fn captured(&self) -> MutexGuard<'_, Option<Vec<Arc<Memory>>>> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what a graph cannot hold: the host's own taking, reading and writing of memory.
    pub(super) fn check_idle(&self, what: &str) -> Result<()> {
        match *self.captured() {
            Some(_) => bail!("the host {what} the GPU's memory while its work is captured"),
            None => Ok(()),
        }
    }
}

/// Memory of a device.
pub(crate) struct Memory {
    stream: Arc<Stream>,
    address: u64,
    bytes: usize,
}

impl Memory {
    /// So many bytes, all zero.
    pub(super) fn new(stream: &Arc<Stream>, bytes: usize) -> Result<Arc<Self>> {
        stream.check_idle("takes")?;
        Ok(Arc::new(Self { address: stream.device.allocate(bytes)?, bytes, stream: stream.clone() }))
    }

    /// How many bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Where it begins.
    pub fn address(self: &Arc<Self>) -> Address {
        if let Some(captured) = self.stream.captured().as_mut() {
            captured.push(self.clone());
        }
        Address(self.address)
    }

    /// A copy of the bytes from `start` on.
    pub fn read(&self, start: usize, bytes: &mut [u8]) -> Result<()> {
        self.check(start, bytes.len())?;
        self.stream.check_idle("reads")?;
        // SAFETY: the bytes lie within this memory.
        unsafe { self.stream.device.download(self.address + start as u64, bytes) }
    }

    /// Writes from `start` on.
    pub fn write(&self, start: usize, bytes: &[u8]) -> Result<()> {
        self.check(start, bytes.len())?;
        self.stream.check_idle("writes")?;
        // SAFETY: the bytes lie within this memory.
        unsafe { self.stream.device.upload(self.address + start as u64, bytes) }
    }

    fn check(&self, start: usize, len: usize) -> Result<()> {
        match start.checked_add(len) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => bail!("bytes {start} to {start} + {len} of {} on the device", self.bytes),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stream.device.free(self.address);
    }
}
