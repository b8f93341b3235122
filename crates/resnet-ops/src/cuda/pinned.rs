//! Memory of the host that a GPU reads itself.

use super::handles::{failed, DriverStream};
use super::staging::{in_parts, PART, PARTS};
use candle_core::Result;
use cudarc::driver::{result, sys};
use std::ffi::c_void;
use std::sync::Arc;

/// What is shorter the driver takes in at once, from any memory.
pub(super) const LEAST: usize = 64 << 10;

/// Parts through which data go to one stream's memory; see [`super::staging`].
pub(super) struct Pinned {
    parts: [Part; PARTS],
    next: usize,
    stream: Arc<DriverStream>,
}

/// A part, and when the GPU has read it.
#[derive(Clone, Copy)]
struct Part {
    memory: *mut c_void,
    read: sys::CUevent,
}

// SAFETY: the driver's handles may be used from any thread, and the memory is this one's alone.
unsafe impl Send for Pinned {}

impl Pinned {
    /// The stream's context must be current.
    pub(super) fn new(stream: &Arc<DriverStream>) -> Result<Self> {
        let none = || Part { memory: std::ptr::null_mut(), read: std::ptr::null_mut() };
        let mut pinned = Self { parts: [none(), none()], next: 0, stream: stream.clone() };
        for part in &mut pinned.parts {
            // SAFETY: it is given back when this is dropped.
            part.memory = unsafe { result::malloc_host(PART, 0) }.map_err(failed("pinned memory"))?;
            part.read = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed("event"))?;
        }
        Ok(pinned)
    }

    /// Has the bytes copied, and returns when they have been taken. The stream's context must be current.
    ///
    /// # Safety
    /// There must be memory at the address for all bytes.
    pub(super) unsafe fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let Self { parts, next, stream } = self;
        in_parts(bytes, next, |part, start, piece| {
            let Part { memory, read } = parts[part];
            let failed = failed("upload");
            // SAFETY: no part is written while the GPU reads it; a piece is no longer than a part.
            unsafe {
                result::event::synchronize(read).map_err(&failed)?;
                std::ptr::copy_nonoverlapping(piece.as_ptr(), memory.cast(), piece.len());
                let piece = std::slice::from_raw_parts(memory.cast::<u8>(), piece.len());
                result::memcpy_htod_async(address + start as u64, piece, stream.stream).map_err(&failed)?;
                result::event::record(read, stream.stream).map_err(&failed)
            }
        })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.stream.context.bind().is_err() {
            return;
        }
        for Part { memory, read } in &self.parts {
            // SAFETY: nobody has them any more, and what still reads them is waited for.
            unsafe {
                if !read.is_null() {
                    let _ = result::event::synchronize(*read);
                    let _ = result::event::destroy(*read);
                }
                if !memory.is_null() {
                    let _ = result::free_host(*memory);
                }
            }
        }
    }
}
