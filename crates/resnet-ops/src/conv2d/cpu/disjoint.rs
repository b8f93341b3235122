//! Pointers to memory of which each task writes a part of its own.

use crate::blocked::LANES;
use crate::{Buffer, Result};
use std::marker::PhantomData;

/// Floats of which each task uses a part of its own.
pub(super) struct Disjoint<'a>(*mut f32, PhantomData<&'a mut [f32]>);

// SAFETY: whoever calls `at` gives each task its own part.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    /// These floats.
    pub(super) fn new(floats: &'a mut [f32]) -> Self {
        Self(floats.as_mut_ptr(), PhantomData)
    }

    /// The floats that begin here.
    ///
    /// # Safety
    /// For as long as this is used they must be there, and nobody else may use them.
    pub(super) unsafe fn from_start(start: *mut f32) -> Self {
        Self(start, PhantomData)
    }

    /// A pointer to the float at this offset.
    ///
    /// # Safety
    /// The offset must not lie beyond the floats' end. What one task writes through the pointer no other may read or write at the same
    /// time.
    pub(super) unsafe fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: the caller stays inside the memory.
        unsafe { self.0.add(offset) }
    }
}

/// Two f64 for each lane of a plane, which the plane's task writes.
pub(super) struct PlaneSums<'a> {
    start: *mut f64,
    planes: usize,
    floats: PhantomData<&'a mut [f64]>,
}

// SAFETY: whoever calls `of` gives each task its own planes.
unsafe impl Sync for PlaneSums<'_> {}

impl<'a> PlaneSums<'a> {
    const LEN: usize = 2 * LANES;

    /// Those of the first `planes` planes.
    pub(super) fn new(sums: &'a mut Buffer, planes: usize) -> Result<Self> {
        let start = sums.slice_mut::<f64>()?[..planes * Self::LEN].as_mut_ptr();
        Ok(Self { start, planes, floats: PhantomData })
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
