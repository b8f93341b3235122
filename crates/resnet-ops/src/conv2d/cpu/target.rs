//! Where a convolution's sums go, and what is done to them on the way.

use super::super::Epilogue;
use crate::batch_norm::cpu::plane::moments;
use crate::layout::LANES;
use crate::simd::Simd;
use crate::{Buffer, Isa, Result};

/// An activation that tasks write at places of their own.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) y: *mut f32,
    /// What is added to the sums, place by place; null for nothing.
    pub(super) addend: *const f32,
    pub(super) relu: bool,
    /// Floats of a plane, and where the moments of planes go; null for nowhere.
    plane: usize,
    moments: *mut f64,
}

// SAFETY: each task writes places and moments of its own, and reads the addend there only.
unsafe impl Sync for Target {}

impl Target {
    /// The first `planes` planes of `y`, of so many floats each.
    pub(super) fn new(y: &mut Buffer, planes: usize, plane: usize, epilogue: Epilogue) -> Result<Self> {
        let len = planes * plane;
        let addend = match epilogue.shortcut {
            Some(shortcut) => shortcut.slice::<f32>()?[..len].as_ptr(),
            None => std::ptr::null(),
        };
        let moments = match epilogue.moments {
            Some(moments) => moments.slice_mut::<f64>()?[..planes * 2 * LANES].as_mut_ptr(),
            None => std::ptr::null_mut(),
        };
        Ok(Self { y: y.slice_mut::<f32>()?[..len].as_mut_ptr(), addend, relu: epilogue.relu, plane, moments })
    }

    /// The same for sums that, if `accumulate`, are added to what is there.
    pub(super) fn gradient(dx: &mut Buffer, len: usize, accumulate: bool) -> Result<Self> {
        let y = dx.slice_mut::<f32>()?[..len].as_mut_ptr();
        let addend = if accumulate { y } else { std::ptr::null() };
        Ok(Self { y, addend, relu: false, plane: 0, moments: std::ptr::null_mut() })
    }

    /// Whether [`Target::complete`] does anything.
    pub(super) fn wants_moments(&self) -> bool {
        !self.moments.is_null()
    }

    /// Writes the moments of planes that are complete, while they are at hand. A plane belongs to one task.
    pub(super) fn complete(&self, isa: Isa, planes: impl IntoIterator<Item = usize>) {
        if !self.wants_moments() {
            return;
        }
        for index in planes {
            // SAFETY: both have room for all planes, and nobody else reads or writes this one's.
            let (plane, target) = unsafe {
                let plane = std::slice::from_raw_parts(self.y.add(index * self.plane), self.plane);
                (plane, std::slice::from_raw_parts_mut(self.moments.add(index * 2 * LANES), 2 * LANES))
            };
            moments(isa, plane, target);
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

    /// Writes `ROWS` times `VECTORS` sums: those of a row at its place and, for its next vectors, every `pitch` floats.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        places: &[usize],
        pitch: usize,
        mut sums: [[S::V; VECTORS]; ROWS],
    ) {
        // Loops without branches, or the sums would have to lie in memory while they are added up.
        // SAFETY: the caller stays inside the activation.
        unsafe {
            if !self.addend.is_null() {
                for row in 0..ROWS {
                    for v in 0..VECTORS {
                        sums[row][v] = S::add(sums[row][v], S::load(self.addend.add(places[row] + v * pitch)));
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
                    S::store(self.y.add(places[row] + v * pitch), sums[row][v]);
                }
            }
        }
    }
}
