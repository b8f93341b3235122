//! Where a convolution's sums go, and what is done to them before they are written, and once a plane is complete.

use crate::simd::Simd;
use crate::{Buffer, Result};

/// A post-op: what is done with each plane of a target, by its number, as soon as it is complete.
pub(super) type PostOp<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

/// An activation that tasks write at places of their own.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) y: *mut f32,
    /// What is added to the sums, place by place; null for nothing.
    pub(super) addend: *const f32,
    pub(super) relu: bool,
    /// Floats of a plane.
    plane: usize,
    post_op: Option<PostOp<'a>>,
}

// SAFETY: each task writes places of its own, and reads the addend there only.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    /// The first `planes` planes of `y`, of so many floats each.
    pub(super) fn new(
        y: &mut Buffer,
        [planes, plane]: [usize; 2],
        shortcut: Option<&Buffer>,
        relu: bool,
        post_op: Option<PostOp<'a>>,
    ) -> Result<Self> {
        let len = planes * plane;
        let addend = match shortcut {
            Some(shortcut) => shortcut.slice::<f32>()?[..len].as_ptr(),
            None => std::ptr::null(),
        };
        Ok(Self { y: y.slice_mut::<f32>()?[..len].as_mut_ptr(), addend, relu, plane, post_op })
    }

    /// The same for sums that are added to what is there.
    pub(super) fn adding(self) -> Self {
        Self { addend: self.y, ..self }
    }

    /// The same, places counted from this one; planes keep their numbers.
    pub(super) fn shifted(self, by: usize) -> Self {
        let addend = if self.addend.is_null() { self.addend } else { self.addend.wrapping_add(by) };
        Self { y: self.y.wrapping_add(by), addend, ..self }
    }

    /// Whether [`Target::complete`] does anything.
    pub(super) fn wants_planes(&self) -> bool {
        self.post_op.is_some()
    }

    /// Does what is to be done with planes that are complete, while they are at hand. A plane belongs to one task.
    pub(super) fn complete(&self, planes: impl IntoIterator<Item = usize>) {
        let Some(post_op) = self.post_op else { return };
        for index in planes {
            // SAFETY: there is room for all planes, and nobody else reads or writes this one.
            post_op(index, unsafe { std::slice::from_raw_parts_mut(self.y.add(index * self.plane), self.plane) });
        }
    }

    /// Whether sums are added to what is there.
    pub(super) fn accumulates(&self) -> bool {
        std::ptr::eq(self.addend, self.y)
    }

    /// A place, which may lie beyond the end.
    pub(super) fn place(&self, at: usize) -> *const f32 {
        self.y.wrapping_add(at)
    }

    /// Starts to bring a place near the core, and what is added there.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(&self, at: usize) {
        S::prefetch(self.place(at));
        if !self.addend.is_null() {
            S::prefetch(self.addend.wrapping_add(at));
        }
    }

    /// Writes `ROWS` times `VECTORS` sums: those of a row at its place and, for its next vectors, every `pitch` floats. Of rows with one place
    /// the last is kept: all addends are read before anything is written.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        offsets: &[usize],
        pitch: usize,
        mut sums: [[S::V; VECTORS]; ROWS],
    ) {
        // Loops without branches, or the sums would have to lie in memory while they are added up.
        // SAFETY: the caller stays inside the activation.
        unsafe {
            if !self.addend.is_null() {
                for row in 0..ROWS {
                    for v in 0..VECTORS {
                        sums[row][v] = S::add(sums[row][v], S::load(self.addend.add(offsets[row] + v * pitch)));
                    }
                }
            }
            if self.relu {
                for row in 0..ROWS {
                    for v in 0..VECTORS {
                        // In this order a NaN passes.
                        sums[row][v] = S::max(S::splat(0.0), sums[row][v]);
                    }
                }
            }
            for row in 0..ROWS {
                for v in 0..VECTORS {
                    S::store(self.y.add(offsets[row] + v * pitch), sums[row][v]);
                }
            }
        }
    }
}
