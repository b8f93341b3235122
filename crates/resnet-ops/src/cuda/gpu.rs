//! A GPU: one context, one stream, memory and kernels, by the CUDA driver that is found at run time.

#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's errors are many")]

use super::cudnn::library;
use super::cudnn::run::Convolutions;
use super::device::{Argument, Captured, Device, Geometry, Graph};
use super::handles::{description, failed, Context, DriverStream, Workspace};
use super::pinned::{Pinned, LEAST};
use super::unusable::Surroundings;
use crate::algorithm::Pass;
use crate::probe::{self, DeviceProbe, GpuDescription};
use crate::DeviceError;
use candle_core::Result;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

/// The CUDA version that a driver must support, as the driver counts: 13.0.
const OLDEST_CUDA: i32 = 13_000;

/// The driver's errors that say why a graph could not be made: from `STREAM_CAPTURE_UNSUPPORTED` to `_WRONG_THREAD`.
const CAPTURE_ERRORS: std::ops::RangeInclusive<u32> = 900..=908;

/// A stream of a GPU, and what its work needs.
pub struct Gpu {
    convolutions: Mutex<Convolutions>,
    uploads: Mutex<Uploads>,
    stream: Arc<DriverStream>,
}

/// How large data go to the GPU.
enum Uploads {
    /// None has gone so far.
    Idle,
    Pinned(Pinned),
    /// There is no pinned memory to be had.
    Pageable,
}

/// A graph of the driver's.
struct DriverGraph {
    graph: sys::CUgraphExec,
    stream: Arc<DriverStream>,
    /// What convolutions among it work in.
    _workspace: Option<Arc<Workspace>>,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the context current, and what is not the driver's
// is behind a lock.
unsafe impl Send for DriverGraph {}

impl DeviceProbe {
    /// Probes this machine; that takes some tens of milliseconds where there is a driver.
    pub fn new() -> Self {
        // Where Linux tells it; elsewhere it stays unknown.
        let driver = std::fs::read_to_string("/sys/module/nvidia/version").ok();
        let mut probe = Self { driver: driver.map(|version| version.trim().to_owned()), ..Self::default() };
        let found = fill(&mut probe);
        probe.problem = found.err().map(DeviceError::Unavailable);
        probe.refused_capture = probe::refused_capture();
        probe
    }
}

/// Fills in what is found until something is missing, which the error tells.
fn fill(probe: &mut DeviceProbe) -> std::result::Result<(), String> {
    let kernel = probe.driver.clone();
    // SAFETY: only looks for the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(Surroundings::new(kernel).no_library());
    }
    let unusable = |error| unusable(error, kernel.clone());
    let mut version = 0;
    // SAFETY: writes the version.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(unusable)?;
    let (major, minor) = (version / 1000, version % 1000 / 10);
    probe.cuda = Some((major, minor));
    if version < OLDEST_CUDA {
        return Err(format!(
            "the NVIDIA driver supports CUDA {major}.{minor}, and 13.0 is needed: install driver 580 or newer"
        ));
    }
    result::init().map_err(unusable)?;
    for ordinal in 0..result::device::get_count().map_err(unusable)? {
        probe.gpus.push(describe(ordinal).map_err(unusable)?);
    }
    let Some(first) = probe.gpus.first() else {
        return Err(unusable(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)));
    };
    probe.cudnn = Some(library::find()?);
    if !probe.gpus.iter().any(GpuDescription::is_supported) {
        return Err(too_old(first));
    }
    Ok(())
}

fn describe(ordinal: i32) -> std::result::Result<GpuDescription, DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(ordinal)?;
    // SAFETY: the driver gave the device.
    let attribute = |name| unsafe { result::device::get_attribute(device, name) };
    Ok(GpuDescription {
        name: result::device::get_name(device)?,
        compute_capability: (attribute(MAJOR)?, attribute(MINOR)?),
        // SAFETY: as above.
        memory: unsafe { result::device::total_mem(device) }?,
    })
}

fn too_old(gpu: &GpuDescription) -> String {
    let (major, minor) = gpu.compute_capability;
    format!(
        "{} has compute capability {major}.{minor}, and 8.0 (Ampere, 2020) is needed: use a newer GPU, or the device cpu",
        gpu.name
    )
}

/// What an error of the driver's first calls means, beside a driver in the kernel of this version, and what helps.
fn unusable(error: DriverError, kernel: Option<String>) -> String {
    use sys::CUresult::{
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, CUDA_ERROR_NO_DEVICE, CUDA_ERROR_STUB_LIBRARY,
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, CUDA_ERROR_SYSTEM_NOT_READY,
    };
    match error.0 {
        CUDA_ERROR_STUB_LIBRARY => {
            "the libcuda.so.1 found first is the toolkit's stand-in for builds: take its folder off the library path"
                .into()
        }
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "libcuda.so.1 and the kernel's NVIDIA driver are of different versions: restart the machine, or take the \
             libcuda.so.1 out that a container's image brings along"
                .into()
        }
        CUDA_ERROR_SYSTEM_NOT_READY => {
            "the NVIDIA driver waits for the service that joins GPUs by NVSwitch: install nvidia-fabricmanager in the \
             driver's version, and sudo systemctl enable --now nvidia-fabricmanager"
                .into()
        }
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "the libcuda.so.1 found first is the package cuda-compat's, which this GPU cannot use: take its folder \
             (/usr/local/cuda/compat) off the library path, and install driver 580 or newer"
                .into()
        }
        other => Surroundings::new(kernel).why(other == CUDA_ERROR_NO_DEVICE).unwrap_or_else(|| match other {
            CUDA_ERROR_NO_DEVICE => {
                "the NVIDIA driver finds no GPU: pass one to this machine or container, until nvidia-smi lists it"
                    .into()
            }
            _ => format!(
                "the NVIDIA driver does not start: {}: see what sudo dmesg | grep NVRM tells, and restart the machine",
                description(error)
            ),
        }),
    }
}

impl Gpu {
    /// The GPU of this number.
    ///
    /// # Errors
    /// If it cannot be used: the message says why, and what helps.
    pub fn new(ordinal: usize, deterministic: bool) -> Result<Self> {
        let DeviceProbe { gpus, problem, .. } = DeviceProbe::new();
        if let Some(problem) = problem {
            return Err(problem.into());
        }
        let unavailable = |why: String| Err(DeviceError::Unavailable(why).into());
        match gpus.get(ordinal) {
            None => return unavailable(format!("expected a GPU's number below {}, got {ordinal}", gpus.len())),
            Some(gpu) if !gpu.is_supported() => return unavailable(too_old(gpu)),
            Some(_) => {}
        }
        let stream = Arc::new(DriverStream::new(Context::of(ordinal)?)?);
        let convolutions = Mutex::new(Convolutions::new(&stream, deterministic)?);
        Ok(Self { convolutions, uploads: Mutex::new(Uploads::Idle), stream })
    }

    /// Makes the context this thread's.
    fn bind(&self) -> Result<()> {
        self.stream.context.bind()
    }
}

impl Device for Gpu {
    fn id(&self) -> Result<[u8; 16]> {
        let id = result::device::get_uuid(self.stream.context.device).map_err(failed("device"))?;
        Ok(id.bytes.map(|byte| byte as u8))
    }

    fn stream(&self) -> Result<*mut c_void> {
        self.bind()?;
        Ok(self.stream.stream.cast())
    }

    fn is_done(&self) -> Result<bool> {
        self.bind()?;
        // SAFETY: the stream lives as long as this.
        match unsafe { sys::cuStreamQuery(self.stream.stream) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            other => other.result().map(|()| true).map_err(failed("stream")),
        }
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        // SAFETY: the memory is given back by `free`, and set before anyone sees it.
        unsafe {
            let address = result::malloc_sync(bytes.max(1)).map_err(|error| match error.0 {
                sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                    let free = result::mem_get_info().map_or(0, |(free, _)| free);
                    let message = format!("out of memory: {bytes} bytes asked for on the GPU, where {free} are free");
                    DeviceError::OutOfMemory(message).into()
                }
                _ => failed("memory")(error),
            })?;
            result::memset_d8_async(address, 0, bytes.max(1), self.stream.stream).map_err(failed("memory"))?;
            Ok(address)
        }
    }

    fn free(&self, address: u64) {
        // SAFETY: the address is one that `allocate` gave; what still uses it is waited for by the driver. A device that was
        // lost has no memory to give back.
        let _ = self.bind().map(|()| unsafe { result::free_sync(address) });
    }

    fn free_memory(&self) -> Result<usize> {
        self.bind()?;
        result::mem_get_info().map(|(free, _)| free).map_err(failed("memory"))
    }

    fn processors(&self) -> usize {
        self.stream.context.processors
    }

    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        if bytes.len() >= LEAST {
            let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            if let Uploads::Idle = *uploads {
                *uploads = Pinned::new(&self.stream).map_or(Uploads::Pageable, Uploads::Pinned);
            }
            if let Uploads::Pinned(pinned) = &mut *uploads {
                // SAFETY: passed on to the caller.
                return unsafe { pinned.upload(address, bytes) };
            }
        }
        // SAFETY: passed on to the caller; the driver has copied pageable memory when this returns.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream.stream) }.map_err(failed("upload"))
    }

    unsafe fn download(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: passed on to the caller; the copy is waited for.
        unsafe {
            result::memcpy_dtoh_async(bytes, address, self.stream.stream).map_err(failed("download"))?;
            result::stream::synchronize(self.stream.stream).map_err(failed("download"))
        }
    }

    unsafe fn launch(&self, kernel: &str, blocks: u32, threads: u32, arguments: &mut [Argument]) -> Result<()> {
        self.bind()?;
        let function = self.stream.context.function(kernel)?;
        let mut pointers: Vec<*mut c_void> =
            arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
        // SAFETY: passed on to the caller.
        unsafe {
            result::launch_kernel(function, (blocks, 1, 1), (threads, 1, 1), 0, self.stream.stream, &mut pointers)
        }
        .map_err(failed(kernel))
    }

    unsafe fn convolve(&self, geometry: &Geometry, pass: Pass, a: u64, b: u64, target: u64) -> Result<()> {
        self.bind()?;
        let mut convolutions = self.convolutions.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: passed on to the caller.
        unsafe { convolutions.run(geometry, pass, a, b, target) }
    }

    fn begin_capture(&self) -> Result<()> {
        self.bind()?;
        // What other threads ask of the driver meanwhile is no part of it, and does not disturb it.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as this.
        unsafe { result::stream::begin_capture(self.stream.stream, mode) }.map_err(failed("capture"))
    }

    fn end_capture(&self) -> Result<Captured> {
        self.bind()?;
        // SAFETY: the capture was begun on this stream; the graph is no longer used when what was made of it is there.
        let made = unsafe {
            result::stream::end_capture(self.stream.stream).and_then(|graph| {
                let made = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags_enum(0));
                result::graph::destroy(graph).and(made)
            })
        };
        match made {
            Ok(graph) => {
                let _workspace = self.convolutions.lock().unwrap_or_else(PoisonError::into_inner).workspace();
                Ok(Ok(Box::new(DriverGraph { graph, stream: self.stream.clone(), _workspace })))
            }
            // Something in it can be done, but not as part of a graph, or there is no memory for a graph.
            Err(error)
                if CAPTURE_ERRORS.contains(&(error.0 as u32)) || error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY =>
            {
                Ok(Err(description(error)))
            }
            Err(error) => Err(failed("capture")(error)),
        }
    }
}

impl Graph for DriverGraph {
    unsafe fn run(&self) -> Result<()> {
        self.stream.context.bind()?;
        // SAFETY: passed on to the caller.
        unsafe { result::graph::launch(self.graph, self.stream.stream) }.map_err(failed("graph"))
    }
}

impl Drop for DriverGraph {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more; the driver lets a launch under way come to its end.
        let _ = self.stream.context.bind().map(|()| unsafe { result::graph::exec_destroy(self.graph) });
    }
}
