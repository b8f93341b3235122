//! Convolutions by cuDNN's graph API: an operation is described, cuDNN names engines for it, and the fastest of the first few,
//! or in the deterministic mode the first that always gives the same bits, becomes a plan that is kept for its shape.

use super::device::Geometry;
use super::handles::{Handles, Workspace};
use crate::algorithm::Pass;
use crate::precision::Precision;
use crate::DeviceError;
use candle_core::{bail, Error, Result};
use cudarc::cudnn::sys::{self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type};
use cudarc::cudnn::sys::{cudnnBackendDescriptorType_t as Kind, cudnnStatus_t as Status};
use cudarc::driver::result as driver;
use cudarc::driver::sys::{CUevent_flags, CUresult};
use std::collections::HashMap;
use std::ffi::{c_void, CStr};
use std::sync::Arc;

/// Engines that are timed for a shape, and how often each.
const TIMED: usize = 8;
const RUNS: usize = 5;
/// Most bytes that an engine may work in.
const MOST_WORKSPACE: i64 = 1 << 30;
/// What addresses are multiples of.
const ALIGNMENT: i64 = 16;

/// cuDNN on one stream.
pub struct Cudnn {
    handle: sys::cudnnHandle_t,
    driver: Arc<Handles>,
    deterministic: bool,
    plans: HashMap<(Geometry, Pass), EnginePlan>,
    workspace: Option<Arc<Workspace>>,
    workspace_bytes: i64,
}

/// An engine that cuDNN has prepared for an operation, and the bytes that it works in.
struct EnginePlan {
    descriptor: Descriptor,
    workspace: i64,
}

/// A descriptor of cuDNN's.
struct Descriptor(sys::cudnnBackendDescriptor_t);

/// What the three tensors of an operation are called: a, b and target.
const IDS: [i64; 3] = [1, 2, 3];

fn check(what: &str, status: Status) -> Result<()> {
    if status == Status::CUDNN_STATUS_SUCCESS {
        return Ok(());
    }
    // SAFETY: cuDNN's texts are constants.
    let text = unsafe { CStr::from_ptr(sys::cudnnGetErrorString(status)) };
    let message = format!("cuDNN failed ({what}): {}", text.to_string_lossy());
    Err(DeviceError::Failed(message).into())
}

fn failed(error: driver::DriverError) -> Error {
    if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return DeviceError::OutOfMemory("out of memory: a convolution's workspace".into()).into();
    }
    DeviceError::Failed(format!("the GPU failed (convolution): {:?}", error.0)).into()
}

impl Descriptor {
    fn new(kind: Kind) -> Result<Self> {
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: writes the new descriptor.
        check("descriptor", unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut descriptor) })?;
        Ok(Self(descriptor))
    }

    /// Sets an attribute, whose type must be that of the values.
    fn set<V>(self, name: Name, kind: Type, values: &[V]) -> Result<Self> {
        let (len, values) = (values.len() as i64, values.as_ptr().cast());
        // SAFETY: there are `len` values.
        check(&format!("{name:?}"), unsafe { sys::cudnnBackendSetAttribute(self.0, name, kind, len, values) })?;
        Ok(self)
    }

    fn set_descriptor(self, name: Name, descriptor: &Self) -> Result<Self> {
        self.set(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[descriptor.0])
    }

    fn finalize(self, what: &str) -> Result<Self> {
        // SAFETY: the descriptor was made by `new`.
        check(what, unsafe { sys::cudnnBackendFinalize(self.0) })?;
        Ok(self)
    }

    /// Up to `values.len()` values of an attribute; returns how many there are.
    fn get<V>(&self, name: Name, kind: Type, values: &mut [V]) -> Result<usize> {
        let (mut count, len) = (0, values.len() as i64);
        // SAFETY: there is room for `len` values.
        let status =
            unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, len, &mut count, values.as_mut_ptr().cast()) };
        check(&format!("{name:?}"), status)?;
        Ok((count as usize).min(values.len()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more.
        unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

impl Cudnn {
    /// Its version: major, minor, patch. The error says what to install.
    pub fn find() -> std::result::Result<[usize; 3], String> {
        let install =
            "install cuDNN 9 for CUDA 13 (the package cudnn9-cuda-13, or nvidia-cudnn-cu13 of Python's), its folder \
                       on LD_LIBRARY_PATH";
        // SAFETY: only looks for the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(format!("there is no cuDNN (libcudnn.so.9): {install}"));
        }
        // SAFETY: asks for a number.
        let version = unsafe { sys::cudnnGetVersion() };
        match [version / 10_000, version / 100 % 100, version % 100] {
            [0..=8, ..] => Err(format!("the cuDNN found first is too old (its number is {version}): {install}")),
            version => Ok(version),
        }
    }

    pub fn new(driver: &Arc<Handles>, deterministic: bool) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: writes the new handle; both libraries call the same stream by different names.
        unsafe {
            check("start", sys::cudnnCreate(&mut handle))?;
            check("stream", sys::cudnnSetStream(handle, driver.stream.cast()))?;
        }
        let driver = driver.clone();
        Ok(Self { handle, driver, deterministic, plans: HashMap::new(), workspace: None, workspace_bytes: 0 })
    }

    /// What the convolutions work in.
    pub fn workspace(&self) -> Option<Arc<Workspace>> {
        self.workspace.clone()
    }

    /// Gives everything back; the context must be current.
    pub fn close(&mut self) {
        self.plans.clear();
        // SAFETY: it was made here, and is used no more.
        unsafe { sys::cudnnDestroy(self.handle) };
    }

    /// Runs a convolution, by the plan for its shape, which the first run chooses.
    ///
    /// # Safety
    /// The addresses must lead to as many elements as the geometry says.
    pub unsafe fn run(&mut self, geometry: &Geometry, pass: Pass, a: u64, b: u64, target: u64) -> Result<()> {
        let key = (geometry.clone(), pass);
        if !self.plans.contains_key(&key) {
            // SAFETY: passed on to the caller.
            let plan = unsafe { self.choose(geometry, pass, [a, b, target])? };
            self.plans.insert(key.clone(), plan);
        }
        // SAFETY: passed on to the caller.
        unsafe { self.execute(&self.plans[&key], [a, b, target]) }
    }

    unsafe fn execute(&self, plan: &EnginePlan, addresses: [u64; 3]) -> Result<()> {
        let workspace = self.workspace.as_ref().map_or(0, |workspace| workspace.address);
        let pack = Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, Type::CUDNN_TYPE_INT64, &IDS)?
            .set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, Type::CUDNN_TYPE_VOID_PTR, &addresses.map(pointer))?
            .set(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, Type::CUDNN_TYPE_VOID_PTR, &[pointer(workspace)])?
            .finalize("arguments")?;
        // SAFETY: passed on to the caller; the workspace is as large as the plan wants.
        check("convolution", unsafe { sys::cudnnBackendExecute(self.handle, plan.descriptor.0, pack.0) })
    }

    /// The first plan that suits, or the fastest of the first few.
    unsafe fn choose(&mut self, geometry: &Geometry, pass: Pass, addresses: [u64; 3]) -> Result<EnginePlan> {
        let most = if self.deterministic { 1 } else { TIMED };
        let plans = self.candidates(geometry, pass, most)?;
        let largest = plans.iter().map(|plan| plan.workspace).max().unwrap_or(0);
        self.reserve(largest)?;
        let mut fastest: Option<(f32, EnginePlan)> = None;
        for plan in plans {
            if most == 1 {
                return Ok(plan);
            }
            // SAFETY: passed on to the caller. A plan that cannot run after all is left out.
            let Ok(time) = (unsafe { self.time(&plan, addresses) }) else { continue };
            if fastest.as_ref().is_none_or(|(best, _)| time < *best) {
                fastest = Some((time, plan));
            }
        }
        match fastest {
            Some((_, plan)) => Ok(plan),
            None => bail!("cuDNN has no engine for the {pass:?} of {geometry:?}"),
        }
    }

    /// Milliseconds that a run takes, the least of several.
    unsafe fn time(&self, plan: &EnginePlan, addresses: [u64; 3]) -> Result<f32> {
        let event = || driver::event::create(CUevent_flags::CU_EVENT_DEFAULT).map_err(failed);
        let (start, end) = (event()?, event()?);
        let mut least = f32::INFINITY;
        // SAFETY: passed on to the caller; the events are destroyed after their last use.
        unsafe {
            let timed = || -> Result<f32> {
                driver::event::record(start, self.driver.stream).map_err(failed)?;
                self.execute(plan, addresses)?;
                driver::event::record(end, self.driver.stream).map_err(failed)?;
                driver::event::synchronize(end).map_err(failed)?;
                driver::event::elapsed(start, end).map_err(failed)
            };
            // The first run loads the kernel.
            let mut result = timed();
            for _ in 0..RUNS {
                result = result.and_then(|_| timed());
                least = result.as_ref().map_or(least, |&time| time.min(least));
            }
            let _ = driver::event::destroy(start);
            let _ = driver::event::destroy(end);
            result.map(|_| least)
        }
    }

    /// Makes the workspace at least so large.
    fn reserve(&mut self, bytes: i64) -> Result<()> {
        if bytes <= self.workspace_bytes {
            return Ok(());
        }
        // The old one goes before the new one comes, unless a captured graph needs it.
        (self.workspace, self.workspace_bytes) = (None, 0);
        self.workspace = Some(Arc::new(Workspace::new(&self.driver, bytes as usize).map_err(failed)?));
        self.workspace_bytes = bytes;
        Ok(())
    }

    /// Plans for the first engines, in cuDNN's order, that may be used.
    fn candidates(&self, geometry: &Geometry, pass: Pass, most: usize) -> Result<Vec<EnginePlan>> {
        let graph = self.graph(geometry, pass)?;
        let mut plans = Vec::new();
        for mode in
            [sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_A, sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_FALLBACK]
        {
            for config in configurations(&graph, mode)? {
                if plans.len() == most {
                    return Ok(plans);
                }
                if !self.allowed(&config, geometry.precision)? {
                    continue;
                }
                if let Ok(plan) = self.plan(&config) {
                    plans.push(plan);
                }
            }
        }
        if plans.is_empty() {
            bail!("cuDNN has no engine for the {pass:?} of {geometry:?}");
        }
        Ok(plans)
    }

    fn plan(&self, config: &Descriptor) -> Result<EnginePlan> {
        let descriptor = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Type::CUDNN_TYPE_HANDLE, &[self.handle])?
            .set_descriptor(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config)?
            .finalize("plan")?;
        let mut workspace = [0i64];
        descriptor.get(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, Type::CUDNN_TYPE_INT64, &mut workspace)?;
        match workspace {
            [workspace @ 0..=MOST_WORKSPACE] => Ok(EnginePlan { descriptor, workspace }),
            [other] => bail!("an engine wants a workspace of {other} bytes"),
        }
    }

    /// Whether an engine rounds as it should, can be run without a compiler and, if that matters, gives the same bits each time.
    fn allowed(&self, config: &Descriptor, precision: Precision) -> Result<bool> {
        use sys::cudnnBackendBehaviorNote_t::CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION as COMPILES;
        use sys::cudnnBackendNumericalNote_t::{
            CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS as CONVERTS, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as VARIES,
            CUDNN_NUMERICAL_NOTE_TENSOR_CORE as TENSOR_CORE,
        };
        let engine = Descriptor::new(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
        config.get(Name::CUDNN_ATTR_ENGINECFG_ENGINE, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut [engine.0])?;
        // As numbers: a newer cuDNN may have notes that the bindings do not know.
        let notes = |name, kind| -> Result<Vec<u32>> {
            let mut notes = [0u32; 32];
            let count = engine.get(name, kind, &mut notes)?;
            Ok(notes[..count].to_vec())
        };
        let numerical = notes(Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE)?;
        let behaviour = notes(Name::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, Type::CUDNN_TYPE_BEHAVIOR_NOTE)?;
        let rounds_more = numerical.contains(&(CONVERTS as u32))
            || precision == Precision::Fp32 && numerical.contains(&(TENSOR_CORE as u32));
        let varies = self.deterministic && numerical.contains(&(VARIES as u32));
        Ok(!rounds_more && !varies && !behaviour.contains(&(COMPILES as u32)))
    }

    fn graph(&self, geometry: &Geometry, pass: Pass) -> Result<Descriptor> {
        let operation = operation(geometry, pass)?;
        Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Type::CUDNN_TYPE_HANDLE, &[self.handle])?
            .set_descriptor(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?
            .finalize("graph")
    }
}

/// The engines that cuDNN names for a graph, with their settings, the best first.
fn configurations(graph: &Descriptor, mode: sys::cudnnBackendHeurMode_t) -> Result<Vec<Descriptor>> {
    let heuristics = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .set_descriptor(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)?
        .set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, &[mode])?
        .finalize("heuristics")?;
    const MOST: usize = 32;
    let found: Vec<Descriptor> =
        (0..MOST).map(|_| Descriptor::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)).collect::<Result<_>>()?;
    let mut raw: Vec<sys::cudnnBackendDescriptor_t> = found.iter().map(|descriptor| descriptor.0).collect();
    let count = heuristics.get(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut raw)?;
    Ok(found.into_iter().take(count).collect())
}

/// The convolution itself.
fn operation(geometry: &Geometry, pass: Pass) -> Result<Descriptor> {
    let [x, weights, y] = tensors(geometry, pass)?;
    let convolution = convolution(geometry)?;
    let (kind, names) = match pass {
        Pass::Forward => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Pass::InputGradient => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Pass::WeightGradient => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    };
    let [convolution_name, x_name, weights_name, y_name, alpha, beta] = names;
    Descriptor::new(kind)?
        .set_descriptor(convolution_name, &convolution)?
        .set_descriptor(x_name, &x)?
        .set_descriptor(weights_name, &weights)?
        .set_descriptor(y_name, &y)?
        .set(alpha, Type::CUDNN_TYPE_FLOAT, &[1f32])?
        .set(beta, Type::CUDNN_TYPE_FLOAT, &[0f32])?
        .finalize("operation")
}

fn convolution(geometry: &Geometry) -> Result<Descriptor> {
    let sizes = |values: [usize; 2]| values.map(|value| value as i64);
    let (padding, strides) = (sizes(geometry.padding), sizes(geometry.stride));
    let float = [sys::cudnnDataType_t::CUDNN_DATA_FLOAT];
    let mode = [sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION];
    Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &float)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Type::CUDNN_TYPE_CONVOLUTION_MODE, &mode)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, Type::CUDNN_TYPE_INT64, &[2i64])?
        .set(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, Type::CUDNN_TYPE_INT64, &[1i64, 1])?
        .set(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Type::CUDNN_TYPE_INT64, &strides)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Type::CUDNN_TYPE_INT64, &padding)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Type::CUDNN_TYPE_INT64, &padding)?
        .finalize("convolution")
}

/// x, weights and y or their gradients. cuDNN names sizes in the order N, C, H, W, and strides say how they lie.
fn tensors(geometry: &Geometry, pass: Pass) -> Result<[Descriptor; 3]> {
    let Geometry { n, in_channels, out_channels, input, output, kernel, groups, pixel, precision, .. } = geometry;
    let ids = match pass {
        Pass::Forward => [IDS[0], IDS[1], IDS[2]],
        Pass::InputGradient => [IDS[2], IDS[1], IDS[0]],
        Pass::WeightGradient => [IDS[0], IDS[2], IDS[1]],
    };
    let element = match precision {
        Precision::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        Precision::Tf32 | Precision::Fp32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    };
    let tensor = |id: i64, [n, c, h, w]: [usize; 4], pixel: usize| {
        let strides = [h * w * pixel, 1, w * pixel, pixel].map(|stride| stride as i64);
        Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, Type::CUDNN_TYPE_INT64, &[id])?
            .set(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[element])?
            .set(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, Type::CUDNN_TYPE_INT64, &[ALIGNMENT])?
            .set(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, Type::CUDNN_TYPE_INT64, &[n, c, h, w].map(|size| size as i64))?
            .set(Name::CUDNN_ATTR_TENSOR_STRIDES, Type::CUDNN_TYPE_INT64, &strides)?
            .finalize("tensor")
    };
    let per_group = in_channels / groups;
    Ok([
        tensor(ids[0], [*n, *in_channels, input[0], input[1]], pixel[0])?,
        tensor(ids[1], [*out_channels, per_group, kernel[0], kernel[1]], per_group)?,
        tensor(ids[2], [*n, *out_channels, output[0], output[1]], pixel[1])?,
    ])
}

fn pointer(address: u64) -> *mut c_void {
    address as *mut c_void
}
