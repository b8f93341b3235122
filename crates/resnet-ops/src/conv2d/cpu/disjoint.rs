//! Pointers to memory that tasks write at places of their own.

use crate::blocked::LANES;
use crate::{Buffer, Result};

/// Floats of which each task writes a part of its own.
pub(super) struct Disjoint(*mut f32);

// SAFETY: whoever calls `at` gives each task its own part.
unsafe impl Sync for Disjoint {}

impl Disjoint {
    /// These floats. The pointer is good for as long as nobody else uses them.
    pub(super) fn new(floats: &mut [f32]) -> Self {
        Self::from_start(floats.as_mut_ptr())
    }

    /// The floats that begin here.
    pub(super) fn from_start(start: *mut f32) -> Self {
        Self(start)
    }

    /// Where they begin.
    pub(super) fn start(&self) -> *mut f32 {
        self.0
    }

    /// A place among them.
    ///
    /// # Safety
    /// The offset must not lie beyond the floats' end.
    pub(super) unsafe fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: the caller stays inside the memory.
        unsafe { self.0.add(offset) }
    }
}

/// Two f64 for each lane of a plane, which the plane's task writes.
pub(super) struct PlaneSums {
    start: *mut f64,
    planes: usize,
}

// SAFETY: whoever calls `of` gives each task its own planes.
unsafe impl Sync for PlaneSums {}

impl PlaneSums {
    const LEN: usize = 2 * LANES;

    /// Those of the first `planes` planes.
    pub(super) fn new(sums: &mut Buffer, planes: usize) -> Result<Self> {
        Ok(Self { start: sums.slice_mut::<f64>()?[..planes * Self::LEN].as_mut_ptr(), planes })
    }

    /// A plane's sums.
    ///
    /// # Safety
    /// No two live references may be of the same plane.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn of(&self, plane: usize) -> &mut [f64] {
        assert!(plane < self.planes);
        // SAFETY: the plane's sums lie in the memory and, by the caller's promise, are not shared.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(plane * Self::LEN), Self::LEN) }
    }
}
