//! Where a convolution's sums go, and what is done to them on the way.

use super::super::Epilogue;
use crate::simd::Simd;
use crate::{Buffer, Result};

/// An activation that tasks write at places of their own.
#[derive(Clone, Copy)]
pub(super) struct Target {
    y: *mut f32,
    /// What is added to the sums, place by place; null for nothing.
    addend: *const f32,
    relu: bool,
}

// SAFETY: each task writes places of its own, and reads the addend there only.
unsafe impl Sync for Target {}

impl Target {
    /// The first `len` values of `y`.
    pub(super) fn new(y: &mut Buffer, len: usize, epilogue: &Epilogue) -> Result<Self> {
        let addend = match epilogue.shortcut {
            Some(shortcut) => shortcut.slice::<f32>()?[..len].as_ptr(),
            None => std::ptr::null(),
        };
        Ok(Self { y: y.slice_mut::<f32>()?[..len].as_mut_ptr(), addend, relu: epilogue.relu })
    }

    /// The same for sums that, if `accumulate`, are added to what is there.
    pub(super) fn gradient(dx: &mut Buffer, len: usize, accumulate: bool) -> Result<Self> {
        let y = dx.slice_mut::<f32>()?[..len].as_mut_ptr();
        Ok(Self { y, addend: if accumulate { y } else { std::ptr::null() }, relu: false })
    }

    /// A place, which may lie beyond the end.
    pub(super) fn place(&self, at: usize) -> *const f32 {
        self.y.wrapping_add(at)
    }

    /// Writes 16 sums at a place.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(&self, at: usize, sums: S::V) {
        // SAFETY: the caller stays inside the activation.
        unsafe {
            let mut values = sums;
            if !self.addend.is_null() {
                values = S::add(values, S::load(self.addend.add(at)));
            }
            if self.relu {
                // In this order a NaN passes.
                values = S::max(S::splat(0.0), values);
            }
            S::store(self.y.add(at), values);
        }
    }
}
