//! What tiles bring to the second-level cache while they multiply: what of the maps is rounded next. Otherwise rounding would wait for
//! memory, and memory for the products.

use crate::blocked::LANES;
use crate::simd::{Portable, Simd};

/// Stretches of a map that are still to be asked for.
pub(super) struct Ahead<'a> {
    stretches: std::vec::IntoIter<&'a [f32]>,
    current: &'a [f32],
    /// Lines that a step asks for.
    at_once: usize,
}

/// A step's share of them.
#[derive(Clone, Copy)]
pub(super) struct Share {
    next: *const f32,
    lines: usize,
}

impl<'a> Ahead<'a> {
    /// What is shared out to so many steps.
    pub(super) fn new(stretches: Vec<&'a [f32]>, steps: usize) -> Self {
        let lines = stretches.iter().map(|stretch| stretch.len()).sum::<usize>().div_ceil(LANES);
        Self { stretches: stretches.into_iter(), current: &[], at_once: lines.div_ceil(steps.max(1)) }
    }

    /// The share of the first of a tile's steps, each of which asks for as many lines: all at once, they would have to wait for each other.
    pub(super) fn share(&mut self, steps: usize) -> Share {
        if self.current.is_empty() {
            self.current = self.stretches.next().unwrap_or_default();
        }
        let lines = if self.current.is_empty() { 0 } else { self.at_once };
        let share = Share { next: self.current.as_ptr(), lines };
        self.current = self.current.get(steps * lines * LANES..).unwrap_or_default();
        share
    }
}

impl Share {
    /// Asks for it; what is left is the next step's.
    #[inline(always)]
    pub(super) fn ask(&mut self) {
        for _ in 0..self.lines {
            Portable::prefetch_far(self.next);
            self.next = self.next.wrapping_add(LANES);
        }
    }
}
