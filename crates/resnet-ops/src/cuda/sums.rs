//! How blocks share out pixels whose values are added up channel by channel, as `sums.cuh` has it.

use super::{padded, Address, Cuda, OCTET, PIXEL_THREADS};
use crate::DType;
use candle_core::Result;

/// Most octets that a block sums side by side.
const MOST_OCTETS: usize = 8;
/// Blocks that a processor has at once, as `kernel.cuh` says.
const BLOCKS: usize = 2;
/// Fewest pixels that are worth a block.
const FEWEST_PIXELS: usize = 32;
/// Most values that a thread adds up in f32.
const MOST_ADDED: usize = 256;

/// Slices of the pixels, and groups of octets: a block for each slice of each group.
pub(crate) struct Slices {
    octets: usize,
    groups: usize,
    per_block: usize,
    per_slice: usize,
    slices: usize,
    /// Pixels that a block takes at once.
    rows: usize,
}

impl Slices {
    pub fn new(cuda: &Cuda, pixels: usize, channels: usize) -> Self {
        Self::of(cuda.processors(), pixels, padded(channels) / OCTET)
    }

    fn of(processors: usize, pixels: usize, octets: usize) -> Self {
        let per_block = octets.min(MOST_OCTETS);
        let (groups, rows) = (octets.div_ceil(per_block), PIXEL_THREADS / per_block);
        let slices = (BLOCKS * processors / groups).max(pixels.div_ceil(MOST_ADDED * rows)).max(1);
        let per_slice = pixels.div_ceil(slices).max(FEWEST_PIXELS);
        // Whole warps, where octets are whole blocks' too.
        let rows = per_slice.next_multiple_of(4).min(rows);
        Self { octets, groups, per_block, per_slice, slices: pixels.div_ceil(per_slice), rows }
    }

    /// Octets of a pixel, octets of a block, pixels of a slice.
    pub fn sizes(&self) -> [i32; 3] {
        [self.octets, self.per_block, self.per_slice].map(|size| size as i32)
    }

    /// Blocks of all slices and groups, and threads of a block.
    pub fn blocks(&self) -> (usize, usize) {
        (self.slices * self.groups, self.rows * self.per_block)
    }

    /// Room for so many f64 of each channel and slice, and counters that tell the last block of each group.
    pub fn memory(&self, cuda: &Cuda, sums: usize) -> Result<[Address; 2]> {
        let bytes = sums * self.slices * self.octets * OCTET * DType::F64.size_in_bytes();
        Ok([cuda.scratch(bytes)?.address(), cuda.arrivals(self.groups)?])
    }
}

#[cfg(test)]
mod tests {
    use super::{Slices, FEWEST_PIXELS, MOST_ADDED};

    /// Blocks, threads, pixels of a slice.
    fn shared(pixels: usize, octets: usize) -> (usize, usize, usize) {
        let slices = Slices::of(132, pixels, octets);
        let (blocks, threads) = slices.blocks();
        (blocks, threads, slices.per_slice)
    }

    #[test]
    fn every_processor_has_two_blocks_where_there_are_pixels_enough() {
        assert_eq!(shared(128 * 48 * 48, 8), (264, 256, 1118));
        assert_eq!(shared(32 * 56 * 56, 8), (264, 256, 381));
        assert_eq!(shared(128 * 3 * 3, 64), (33 * 8, 256, 35));
        assert_eq!(shared(10, 1), (1, FEWEST_PIXELS, FEWEST_PIXELS));
        assert_eq!(shared(0, 3).0, 0);
    }

    #[test]
    fn no_thread_adds_up_more_than_it_can_exactly_enough() {
        let (blocks, threads, per_slice) = shared(1 << 30, 8);
        assert!(per_slice <= MOST_ADDED * threads / 8 && blocks * per_slice >= 1 << 30, "{blocks} {per_slice}");
    }
}
