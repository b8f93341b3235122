//! Convolutions, run by the plans that are chosen for them.

#![allow(clippy::wildcard_enum_match_arm, reason = "errors are many")]

use super::choice::{fastest, is_out_of_memory};
use super::descriptor::{check, Descriptor};
use super::operation::IDS;
use super::plans::{none_for, EnginePlan, Target, TIMED};
use super::room::Room;
use crate::algorithm::Pass;
use crate::cuda::device::Geometry;
use crate::cuda::handles::{failed, Context, DriverStream, Workspace};
use candle_core::Result;
use cudarc::cudnn::sys::cudnnBackendDescriptorType_t as Kind;
use cudarc::cudnn::sys::{self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type};
use cudarc::driver::result as driver;
use cudarc::driver::sys::CUevent_flags;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How often each of several plans is timed.
const RUNS: usize = 5;

/// cuDNN on a GPU, with the plans that were chosen so far: all models of a process share it, so that a shape is timed once.
struct Cudnn {
    target: Target,
    handle: sys::cudnnHandle_t,
    deterministic: bool,
    plans: HashMap<(Geometry, Pass), Arc<EnginePlan>>,
    context: Arc<Context>,
}

// SAFETY: cuDNN's handles may be used from any thread, one at a time, which the lock around it sees to.
unsafe impl Send for Cudnn {}

/// Those that are there, by context and whether they are deterministic.
static SHARED: Mutex<Vec<Weak<Mutex<Cudnn>>>> = Mutex::new(Vec::new());

impl Cudnn {
    fn shared(context: &Arc<Context>, deterministic: bool) -> Result<Arc<Mutex<Self>>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|cudnn| cudnn.strong_count() > 0);
        let alike = |cudnn: &Arc<Mutex<Self>>| {
            let cudnn = cudnn.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::ptr_eq(&cudnn.context, context) && cudnn.deterministic == deterministic
        };
        if let Some(cudnn) = shared.iter().filter_map(Weak::upgrade).find(alike) {
            return Ok(cudnn);
        }
        let mut handle = std::ptr::null_mut();
        context.bind()?;
        // SAFETY: writes the new handle.
        check("start", unsafe { sys::cudnnCreate(&mut handle) })?;
        let (target, context) = (Target::Handle(handle), context.clone());
        let cudnn = Arc::new(Mutex::new(Self { target, handle, deterministic, plans: HashMap::new(), context }));
        shared.push(Arc::downgrade(&cudnn));
        Ok(cudnn)
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            self.plans.clear();
            // SAFETY: it was made here, and is used no more.
            unsafe { sys::cudnnDestroy(self.handle) };
        }
    }
}

/// The convolutions of one stream, with the memory that they work in.
pub struct Convolutions {
    cudnn: Arc<Mutex<Cudnn>>,
    stream: Arc<DriverStream>,
    room: Room<Workspace>,
    /// Plans in place of the shared ones that there was no memory for here.
    smaller: HashMap<(Geometry, Pass), Arc<EnginePlan>>,
}

impl Convolutions {
    pub fn new(stream: &Arc<DriverStream>, deterministic: bool) -> Result<Self> {
        let cudnn = Cudnn::shared(&stream.context, deterministic)?;
        Ok(Self { cudnn, stream: stream.clone(), room: Room::new(), smaller: HashMap::new() })
    }

    /// What the convolutions work in.
    pub fn workspace(&self) -> Option<Arc<Workspace>> {
        self.room.memory().cloned()
    }

    /// Runs a convolution, by the plan for its shape, which the first run chooses. The context must be current.
    ///
    /// # Safety
    /// The addresses must lead to as many elements as the geometry says.
    pub unsafe fn run(&mut self, geometry: &Geometry, pass: Pass, a: u64, b: u64, target: u64) -> Result<()> {
        let (key, addresses) = ((geometry.clone(), pass), [a, b, target]);
        let shared = self.cudnn.clone();
        let mut cudnn = shared.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the stream lives as long as this; both libraries call it by different names.
        check("stream", unsafe { sys::cudnnSetStream(cudnn.handle, self.stream.stream.cast()) })?;
        let known = self.smaller.get(&key).or_else(|| cudnn.plans.get(&key)).cloned();
        let reserved = known.map(|plan| self.reserve(plan.workspace).map(|()| plan));
        let plan = match reserved {
            Some(Err(error)) if !cudnn.deterministic && is_out_of_memory(&error) => {
                // SAFETY: passed on to the caller.
                let plan = Arc::new(unsafe { self.choose(&cudnn, geometry, pass, addresses)? });
                self.smaller.insert(key, plan.clone());
                plan
            }
            Some(reserved) => reserved?,
            None => {
                // SAFETY: passed on to the caller.
                let plan = Arc::new(unsafe { self.choose(&cudnn, geometry, pass, addresses)? });
                cudnn.plans.insert(key, plan.clone());
                plan
            }
        };
        self.reserve(plan.workspace)?;
        // SAFETY: passed on to the caller.
        unsafe { self.execute(&cudnn, &plan, addresses) }
    }

    unsafe fn execute(&self, cudnn: &Cudnn, plan: &EnginePlan, addresses: [u64; 3]) -> Result<()> {
        let workspace = self.room.memory().map_or(0, |workspace| workspace.address);
        let pack = Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, Type::CUDNN_TYPE_INT64, &IDS)?
            .set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, Type::CUDNN_TYPE_VOID_PTR, &addresses.map(pointer))?
            .set(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, Type::CUDNN_TYPE_VOID_PTR, &[pointer(workspace)])?
            .finalize("arguments")?;
        // SAFETY: passed on to the caller; the workspace is as large as the plan wants.
        check("convolution", unsafe { sys::cudnnBackendExecute(cudnn.handle, plan.descriptor.0, pack.0) })
    }

    /// The first plan that suits, or the fastest of the first few. The first is not given up where there is no memory for its workspace:
    /// another would give other bits.
    unsafe fn choose(
        &mut self,
        cudnn: &Cudnn,
        geometry: &Geometry,
        pass: Pass,
        addresses: [u64; 3],
    ) -> Result<EnginePlan> {
        let most = if cudnn.deterministic { 1 } else { TIMED };
        let mut plans = cudnn.target.plans(geometry, pass, cudnn.deterministic, most)?;
        if plans.len() == 1 {
            return Ok(plans.remove(0));
        }
        let workspaces: Vec<i64> = plans.iter().map(|plan| plan.workspace).collect();
        // Timing would add to the target again and again.
        let bytes = geometry.accumulate.then(|| geometry.target_bytes(pass) as i64);
        let spare = match bytes.map(|bytes| Workspace::new(&self.stream.context, bytes)).transpose() {
            Ok(spare) => spare,
            // Without room to time them in, the one that wants the least.
            Err(error) if is_out_of_memory(&error) => {
                plans.sort_by_key(|plan| plan.workspace);
                return Ok(plans.swap_remove(0));
            }
            Err(error) => return Err(error),
        };
        let [a, b, target] = addresses;
        let addresses = [a, b, spare.as_ref().map_or(target, |spare| spare.address)];
        let this = RefCell::new(&mut *self);
        let chosen = fastest(
            &workspaces,
            |bytes| {
                let mut this = this.borrow_mut();
                let Self { room, stream, .. } = &mut **this;
                room.make(bytes, |bytes| Workspace::new(&stream.context, bytes))
            },
            // SAFETY: passed on to the caller.
            |plan| unsafe { this.borrow().time(cudnn, &plans[plan], addresses) },
        );
        self.room.settle(chosen.as_ref().ok().map(|&plan| workspaces[plan]));
        // An error that is not memory's is told with the shape.
        let plan = chosen.map_err(|error| match is_out_of_memory(&error) {
            true => error,
            false => none_for(geometry, pass, Some(error)),
        })?;
        Ok(plans.swap_remove(plan))
    }

    /// Milliseconds that a run takes, the least of several.
    unsafe fn time(&self, cudnn: &Cudnn, plan: &EnginePlan, addresses: [u64; 3]) -> Result<f32> {
        let failed = failed("timing");
        let event = || driver::event::create(CUevent_flags::CU_EVENT_DEFAULT).map_err(&failed);
        let (start, end) = (event()?, event()?);
        let mut least = f32::INFINITY;
        // SAFETY: passed on to the caller; the events are destroyed after their last use.
        unsafe {
            let timed = || -> Result<f32> {
                driver::event::record(start, self.stream.stream).map_err(&failed)?;
                self.execute(cudnn, plan, addresses)?;
                driver::event::record(end, self.stream.stream).map_err(&failed)?;
                driver::event::synchronize(end).map_err(&failed)?;
                driver::event::elapsed(start, end).map_err(&failed)
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

    /// Makes room for a plan that wants so many bytes.
    fn reserve(&mut self, bytes: i64) -> Result<()> {
        let Self { room, stream, .. } = self;
        room.reserve(bytes, |bytes| Workspace::new(&stream.context, bytes))
    }
}

impl Drop for Convolutions {
    fn drop(&mut self) {
        // Before cuDNN's handle, for which they were made.
        let _ = self.stream.context.bind();
        self.smaller.clear();
    }
}

fn pointer(address: u64) -> *mut c_void {
    address as *mut c_void
}
