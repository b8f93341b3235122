//! A device that does nothing and writes down what it is asked for: what a list would have a GPU do, on any machine and at any size.

use super::device::{Argument, Captured, Device, Geometry};
use super::traffic::bytes;
use crate::algorithm::Pass;
use candle_core::Result;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a device was asked for since it was last taken.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The kernels launched by hand, in order.
    pub launches: Vec<AskedLaunch>,
    /// The convolutions, in order.
    pub convolutions: Vec<AskedConvolution>,
    /// Bytes of each copy to the device.
    pub uploads: Vec<usize>,
    /// Bytes of each copy from it.
    pub downloads: Vec<usize>,
}

/// A launch of a kernel.
#[derive(Clone, Debug)]
pub struct AskedLaunch {
    /// Its name, with the type of the activations' elements.
    pub kernel: String,
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes that it reads and writes, each place once.
    pub bytes: u64,
}

/// A convolution as cuDNN is asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AskedConvolution {
    pub(super) geometry: Geometry,
    /// Which of its passes.
    pub pass: Pass,
}

impl AskedConvolution {
    /// Products with a sum; zero lanes that cuDNN is given count.
    pub fn multiply_adds(&self) -> u64 {
        let Geometry { n, in_channels, out_channels, output, kernel, groups, .. } = &self.geometry;
        let pixels = n * output[0] * output[1];
        (pixels * out_channels * (in_channels / groups) * kernel[0] * kernel[1]) as u64
    }

    /// Bytes of input, weights and output, and of what is added to.
    pub fn bytes(&self) -> u64 {
        let of = |pass| self.geometry.target_bytes(pass);
        let all = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient].map(of).iter().sum::<usize>();
        (all + if self.geometry.accumulate { of(self.pass) } else { 0 }) as u64
    }
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
    /// Bytes of all that was ever allocated, by address.
    memory: Mutex<BTreeMap<u64, u64>>,
}

/// Where memory begins: above all numbers that kernels are given in place of an address.
const FIRST: u64 = 1 << 48;

impl Recorder {
    pub(super) fn new(paper: Paper) -> Self {
        Self { paper, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all memory that arguments lead to.
    fn reached(&self, arguments: &[Argument]) -> u64 {
        let memory = self.memory();
        let allocation = |word: u64| memory.range(..=word).next_back().filter(|(start, len)| word < *start + *len);
        let all: BTreeMap<_, _> = arguments.iter().filter_map(|argument| allocation(argument.0)).collect();
        all.into_values().sum()
    }
}

impl Device for Recorder {
    fn id(&self) -> Result<[u8; 16]> {
        Ok([0; 16])
    }

    fn stream(&self) -> Result<*mut c_void> {
        Ok(std::ptr::null_mut())
    }

    fn is_done(&self) -> Result<bool> {
        Ok(true)
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let mut memory = self.memory();
        let end = memory.last_key_value().map_or(FIRST, |(start, len)| start + len);
        memory.insert(end, bytes.next_multiple_of(256).max(256) as u64);
        Ok(end)
    }

    fn free(&self, _: u64) {}

    fn free_memory(&self) -> Result<usize> {
        Ok(usize::MAX)
    }

    /// An H100's and an H200's.
    fn processors(&self) -> usize {
        132
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

    unsafe fn launch(&self, kernel: &str, blocks: u32, threads: u32, arguments: &mut [Argument]) -> Result<()> {
        let bytes = bytes(kernel, blocks, arguments).expect("cuda/traffic.rs has a formula for every kernel");
        // Each place is read and written once at most.
        let most = 2 * self.reached(arguments);
        assert!(bytes <= most, "{kernel}: expected at most {most} bytes to be moved, got {bytes}");
        self.paper.asked().launches.push(AskedLaunch { kernel: kernel.to_owned(), blocks, threads, bytes });
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
