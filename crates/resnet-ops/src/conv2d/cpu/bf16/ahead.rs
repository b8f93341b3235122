//! What tiles bring to the second-level cache while they multiply: the maps that are rounded next. Otherwise rounding would wait for
//! memory, and memory for the products.

use crate::blocked::LANES;
use crate::simd::{Portable, Simd};

/// Lines of a map that are still to be asked for.
pub(super) struct Ahead {
    next: *const f32,
    left: usize,
    at_once: usize,
}

/// A step's share of them.
#[derive(Clone, Copy)]
pub(super) struct Share {
    next: *const f32,
    lines: usize,
}

impl Ahead {
    /// Values that are shared out to so many steps.
    pub(super) fn new(values: &[f32], steps: usize) -> Self {
        let lines = values.len() / LANES;
        Self { next: values.as_ptr(), left: lines, at_once: lines.div_ceil(steps.max(1)) }
    }

    /// The share of the first of a tile's steps, each of which asks for as many lines: all at once, they would have to wait for each other.
    pub(super) fn share(&mut self, steps: usize) -> Share {
        let lines = if self.left > 0 { self.at_once } else { 0 };
        let share = Share { next: self.next, lines };
        let taken = (steps * lines).min(self.left);
        (self.next, self.left) = (self.next.wrapping_add(taken * LANES), self.left - taken);
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
