//! The CUDA driver's handles, and how its errors are described.

#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's errors are many")]

use crate::DeviceError;
use candle_core::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::collections::HashMap;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What the driver may read in words.
#[repr(C, align(64))]
struct Aligned<Bytes: ?Sized>(Bytes);

/// The kernels as machine code for compute capability 8.0 and 9.0, and what the driver compiles for later ones.
static KERNELS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")));

/// Their names.
const NAMES: &[&str] = &include!(concat!(env!("OUT_DIR"), "/kernel_names.rs"));

/// A GPU's context with the kernels in it, which all that computes there shares; given back with the last of them. Handles that could
/// not be had are null.
pub(super) struct Context {
    pub(super) device: sys::CUdevice,
    context: sys::CUcontext,
    module: sys::CUmodule,
    functions: HashMap<&'static str, sys::CUfunction>,
    ordinal: usize,
    /// How many the GPU has.
    pub(super) processors: usize,
}

/// A stream of a context.
pub(super) struct DriverStream {
    pub(super) stream: sys::CUstream,
    pub(super) context: Arc<Context>,
}

/// Memory of convolutions, given back when dropped.
pub(super) struct Workspace {
    pub(super) address: u64,
    context: Arc<Context>,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the context current.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}
// SAFETY: as above.
unsafe impl Send for DriverStream {}
// SAFETY: as above.
unsafe impl Sync for DriverStream {}

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

impl Context {
    /// The GPU's, if it is there already, or a new one.
    pub(super) fn of(ordinal: usize) -> Result<Arc<Self>> {
        static SHARED: Mutex<Vec<Weak<Context>>> = Mutex::new(Vec::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|context| context.strong_count() > 0);
        if let Some(context) = shared.iter().filter_map(Weak::upgrade).find(|context| context.ordinal == ordinal) {
            return Ok(context);
        }
        let context = Arc::new(Self::new(ordinal)?);
        shared.push(Arc::downgrade(&context));
        Ok(context)
    }

    fn new(ordinal: usize) -> Result<Self> {
        let device = result::device::get(ordinal as i32).map_err(failed("device"))?;
        // SAFETY: the driver gave the device; the context is released with this.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed("context"))?;
        let mut this = Self { device, context, module: null_mut(), functions: HashMap::new(), ordinal, processors: 1 };
        this.bind()?;
        let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        // SAFETY: the driver gave the device.
        let processors = unsafe { result::device::get_attribute(device, count) }.map_err(failed("device"))?;
        this.processors = processors.max(1) as usize;
        // SAFETY: the image is the one that nvcc made.
        this.module = unsafe { result::module::load_data(KERNELS.0.as_ptr().cast()) }.map_err(failed("kernels"))?;
        for name in NAMES {
            let symbol = CString::new(*name).expect("a name without zeros");
            // Loaded now: the first launch may be part of a capture.
            // SAFETY: the module lives as long as its functions are used.
            let function = unsafe {
                result::module::get_function(this.module, symbol)
                    .and_then(|function| sys::cuFuncLoad(function).result().map(|()| function))
            };
            this.functions.insert(name, function.map_err(failed(name))?);
        }
        Ok(this)
    }

    /// A kernel.
    pub(super) fn function(&self, name: &str) -> Result<sys::CUfunction> {
        let missing = || DeviceError::Failed(format!("there is no kernel {name}"));
        Ok(self.functions.get(name).copied().ok_or_else(missing)?)
    }

    /// Makes it this thread's.
    pub(super) fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as this.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("context"))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // What fails here fails on a device that was lost. Where the context cannot be made current, the kernels go with it.
        let is_bound = self.bind().is_ok();
        // SAFETY: all were made by `new`, and nobody has them any more.
        unsafe {
            if is_bound && !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

impl DriverStream {
    pub(super) fn new(context: Arc<Context>) -> Result<Self> {
        context.bind()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("stream"))?;
        Ok(Self { stream, context })
    }
}

impl Drop for DriverStream {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more; the driver lets what was asked for come to its end.
        let _ = self.context.bind().map(|()| unsafe { result::stream::destroy(self.stream) });
    }
}

impl Workspace {
    /// So many bytes.
    pub(super) fn new(context: &Arc<Context>, bytes: i64) -> Result<Self> {
        // SAFETY: the memory is given back when this is dropped.
        let address = unsafe { result::malloc_sync(bytes as usize) }.map_err(failed("a convolution's workspace"))?;
        Ok(Self { address, context: context.clone() })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more; what still uses it is waited for by the driver.
        let _ = self.context.bind().map(|()| unsafe { result::free_sync(self.address) });
    }
}
