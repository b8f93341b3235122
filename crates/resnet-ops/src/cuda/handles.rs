//! The CUDA driver's handles, and how its errors are described.

#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's errors are many")]

use crate::DeviceError;
use candle_core::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ptr::null_mut;
use std::sync::Arc;

/// The kernels as machine code for compute capability 8.0 and 9.0, and what the driver compiles for later ones.
static KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// The driver's handles, given back when dropped; those that could not be had are null.
pub(super) struct Handles {
    device: sys::CUdevice,
    context: sys::CUcontext,
    pub(super) stream: sys::CUstream,
    pub(super) module: sys::CUmodule,
}

/// Memory of convolutions, given back when dropped.
pub(super) struct Workspace {
    pub(super) address: u64,
    handles: Arc<Handles>,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the context current.
unsafe impl Send for Handles {}
// SAFETY: as above.
unsafe impl Sync for Handles {}

/// The driver's name of an error and what it says of it.
pub(super) fn description(error: DriverError) -> String {
    let text = |text: std::result::Result<&std::ffi::CStr, DriverError>| {
        text.map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned())
    };
    format!("{} ({})", text(error.error_string()), text(error.error_name()))
}

pub(super) fn failed(what: &str) -> impl Fn(DriverError) -> Error + '_ {
    move |error| {
        let message = format!("the GPU failed ({what}): {}", description(error));
        match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory(message),
            _ => DeviceError::Failed(message),
        }
        .into()
    }
}

impl Workspace {
    /// So many bytes.
    pub(super) fn new(handles: &Arc<Handles>, bytes: usize) -> std::result::Result<Self, DriverError> {
        // SAFETY: the memory is given back when this is dropped.
        let address = unsafe { result::malloc_sync(bytes) }?;
        Ok(Self { address, handles: handles.clone() })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more; what still uses it is waited for by the driver.
        let _ = self.handles.bind().map(|()| unsafe { result::free_sync(self.address) });
    }
}

impl Handles {
    pub(super) fn new(ordinal: i32) -> Result<Self> {
        let device = result::device::get(ordinal).map_err(failed("device"))?;
        // SAFETY: the driver gave the device; the context is released with the handles.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed("context"))?;
        let mut handles = Self { device, context, stream: null_mut(), module: null_mut() };
        handles.bind()?;
        handles.stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("stream"))?;
        // SAFETY: the image is the one that nvcc made.
        handles.module = unsafe { result::module::load_data(KERNELS.as_ptr().cast()) }.map_err(failed("kernels"))?;
        Ok(handles)
    }

    pub(super) fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as this.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("context"))
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        // What fails here fails on a device that was lost, where there is nothing to give back.
        if self.bind().is_err() {
            return;
        }
        // SAFETY: all were made by `new`, and nobody has them any more.
        unsafe {
            if !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}
