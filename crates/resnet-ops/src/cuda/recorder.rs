//! A device that does nothing and writes down what it is asked for: what a list would have a GPU do, on any machine and at any size.

use super::device::{Argument, Captured, Device, Geometry};
use crate::algorithm::Pass;
use candle_core::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a device was asked for since it was last taken.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The kernels launched by hand, in order, with their blocks.
    pub launches: Vec<(String, u32)>,
    /// The convolutions, in order.
    pub convolutions: Vec<AskedConvolution>,
    /// Bytes of each copy to the device.
    pub uploads: Vec<usize>,
    /// Bytes of each copy from it.
    pub downloads: Vec<usize>,
}

/// A convolution as cuDNN is asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AskedConvolution {
    pub(super) geometry: Geometry,
    /// Which of its passes.
    pub pass: Pass,
}

/// What an executor on paper has been asked for.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Asked>>);

impl Paper {
    /// What was asked for since the last call.
    pub fn take(&self) -> Asked {
        std::mem::take(&mut *self.asked())
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device. Its memory is but addresses, and reads as zeros.
pub(super) struct Recorder {
    paper: Paper,
    next: AtomicU64,
}

impl Recorder {
    pub(super) fn new(paper: Paper) -> Self {
        Self { paper, next: AtomicU64::new(1 << 20) }
    }
}

impl Device for Recorder {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        Ok(self.next.fetch_add(bytes.next_multiple_of(256).max(256) as u64, Ordering::Relaxed))
    }

    fn free(&self, _: u64) {}

    fn free_memory(&self) -> Result<usize> {
        Ok(usize::MAX)
    }

    unsafe fn upload(&self, _: u64, bytes: &[u8]) -> Result<()> {
        self.paper.asked().uploads.push(bytes.len());
        Ok(())
    }

    unsafe fn download(&self, _: u64, bytes: &mut [u8]) -> Result<()> {
        self.paper.asked().downloads.push(bytes.len());
        bytes.fill(0);
        Ok(())
    }

    unsafe fn launch(&self, kernel: &str, blocks: u32, _: u32, _: &mut [Argument]) -> Result<()> {
        self.paper.asked().launches.push((kernel.to_owned(), blocks));
        Ok(())
    }

    unsafe fn convolve(&self, geometry: &Geometry, pass: Pass, _: u64, _: u64, _: u64) -> Result<()> {
        self.paper.asked().convolutions.push(AskedConvolution { geometry: geometry.clone(), pass });
        Ok(())
    }

    fn begin_capture(&self) -> Result<()> {
        Ok(())
    }

    fn end_capture(&self) -> Result<Captured> {
        Ok(Err("what is only written down makes no graph".into()))
    }
}
