//! Dropout (Srivastava et al. 2014): y = x·m / (1 − p), where each element's m is 0 with probability p, else 1; or each image's, which is
//! stochastic depth (Huang et al. 2016, <https://arxiv.org/abs/1603.09382>), scaled as torchvision's `StochasticDepth` is. As in
//! PyTorch the product is taken, so NaN stays NaN where m is 0.
//!
//! The mask is not stored. The m of an element is a hash of the call's key and of the element's index i in (N, C, H, W)
//! order, or the image's in the batch, so that every backend, layout and thread count draws the same, and the backward pass draws it again. The hash
//! is number i of the sequence that SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
//! generators") gives from a mixed key: its state is a multiple of the index, so any number is computed by itself.

use crate::executor::by_backend;
use crate::{Buffer, Executor, Result};
use candle_core::bail;
use std::ops::Range;

mod cpu;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod reference;

/// A dropout on maps of a given size.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that an element is dropped; at least 0, below 1.
    pub p: f64,
    /// Channels.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// What is dropped as a whole.
    pub grain: Grain,
}

/// What a mask has an m for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Each element.
    Element,
    /// Each image of the batch.
    Image,
}

impl Dropout {
    /// # Errors
    /// If p is not a number from 0 to below 1.
    pub fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.p) {
            bail!("dropout: p must be at least 0 and below 1, got {}", self.p);
        }
        Ok(())
    }

    /// What elements that stay are multiplied by.
    fn scale(&self) -> f64 {
        1.0 / (1.0 - self.p)
    }

    fn mask(&self, key: u64) -> DropoutMask {
        // Of the 2⁶⁴ hashes, all equally likely, p·2⁶⁴ lie below p·2⁶⁴; f64 holds it, only its fraction is cut off.
        DropoutMask { seed: mix(key), threshold: (self.p * 2f64.powi(64)) as u64 }
    }
}

/// What a call drops.
#[derive(Clone, Copy)]
struct DropoutMask {
    seed: u64,
    threshold: u64,
}

impl DropoutMask {
    #[inline(always)]
    fn drops(self, index: u64) -> bool {
        // The golden ratio times 2⁶⁴, SplitMix64's step.
        mix(self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))) < self.threshold
    }
}

/// SplitMix64's finaliser.
#[inline(always)]
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Drops elements of these images of a batch: x and y are activations of them alone, in the executor's layout. Calls with the same key drop
/// the same ones, of each image what they would if all were in one call; calls that are to differ need keys that do.
///
/// # Errors
/// If a buffer is of another type or on another device; if the device fails.
///
/// # Panics
/// If a buffer is too short, except on a GPU, where that is an error.
pub fn forward(
    executor: &Executor,
    op: &Dropout,
    images: Range<usize>,
    key: u64,
    x: &Buffer,
    y: &mut Buffer,
) -> Result<()> {
    by_backend!(executor, forward(op, images, key, x, y))
}

/// `dy` comes in as the gradient of the output and goes out as the gradient of the input; `key` is the forward call's.
///
/// # Errors
/// As for [`forward`].
pub fn backward(executor: &Executor, op: &Dropout, images: Range<usize>, key: u64, dy: &mut Buffer) -> Result<()> {
    by_backend!(executor, backward(op, images, key, dy))
}
