//! Which of cuDNN's engines may compute a convolution, for a GPU that is there or for one that is described.

use super::descriptor::Descriptor;
use super::operation::operation;
use crate::algorithm::Pass;
use crate::cuda::device::Geometry;
use crate::precision::Precision;
use crate::DeviceError;
use candle_core::{bail, Error, Result};
use cudarc::cudnn::sys::cudnnBackendDescriptorType_t as Kind;
use cudarc::cudnn::sys::{self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type};

/// Engines that are timed for a shape.
pub const TIMED: usize = 8;
/// Most bytes that an engine may work in.
pub const MOST_WORKSPACE: i64 = 1 << 30;

/// What plans are made for.
pub enum Target {
    /// The GPU of cuDNN's handle.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Handle(sys::cudnnHandle_t),
    /// A GPU of these properties, which need not be there: such plans cannot be run.
    #[cfg_attr(not(feature = "cuda-host"), allow(dead_code))]
    Described(Descriptor),
}

/// An engine that cuDNN has prepared for an operation, and the bytes that it works in.
pub struct EnginePlan {
    /// The plan itself.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub descriptor: Descriptor,
    /// Bytes.
    pub workspace: i64,
}

// SAFETY: a plan is only read once it is there, and cuDNN may be given it by any thread.
unsafe impl Send for EnginePlan {}
// SAFETY: as above.
unsafe impl Sync for EnginePlan {}

/// The lists of engines that are asked for in turn.
const MODES: [sys::cudnnBackendHeurMode_t; 2] =
    [sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_A, sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_FALLBACK];

/// An engine that cuDNN names for a graph, with its settings and what it notes of itself.
pub struct Engine {
    config: Descriptor,
    numerical: Vec<u32>,
    behaviour: Vec<u32>,
}

impl Target {
    /// Plans for the first engines, in cuDNN's order, that may be used, at most so many and at least one. The error is that of the last
    /// engine that could not be prepared.
    pub fn plans(&self, geometry: &Geometry, pass: Pass, deterministic: bool, most: usize) -> Result<Vec<EnginePlan>> {
        let (mut plans, mut problem) = (Vec::new(), None);
        for engine in self.engines(geometry, pass)? {
            match engine {
                Ok(engine) if !engine.may_be_used(geometry.precision, deterministic) => {}
                Ok(engine) => match self.plan(&engine) {
                    Ok(plan) => plans.push(plan),
                    Err(error) => problem = Some(error),
                },
                Err(error) => problem = Some(error),
            }
            if plans.len() == most {
                break;
            }
        }
        match plans.is_empty() {
            true => Err(none_for(geometry, pass, problem)),
            false => Ok(plans),
        }
    }

    /// The engines for a convolution, in cuDNN's order. A list that cuDNN cannot make is an error in its place, and no reason not to ask
    /// for the next.
    pub fn engines(&self, geometry: &Geometry, pass: Pass) -> Result<impl Iterator<Item = Result<Engine>> + '_> {
        let graph = self.graph(geometry, pass)?;
        Ok(MODES.into_iter().flat_map(move |mode| match self.configurations(&graph, mode) {
            Ok(configurations) => configurations.into_iter().map(Engine::new).collect(),
            Err(error) => vec![Err(error)],
        }))
    }

    fn graph(&self, geometry: &Geometry, pass: Pass) -> Result<Descriptor> {
        let operation = operation(geometry, pass)?;
        let graph = Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
        let graph = match self {
            Self::Handle(handle) => {
                graph.set(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Type::CUDNN_TYPE_HANDLE, &[*handle])?
            }
            Self::Described(_) => graph,
        };
        graph.set_descriptor(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?.finalize("graph")
    }

    /// The engines that cuDNN names for a graph, with their settings, the best first.
    fn configurations(&self, graph: &Descriptor, mode: sys::cudnnBackendHeurMode_t) -> Result<Vec<Descriptor>> {
        let heuristics = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
            .set_descriptor(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)?
            .set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, Type::CUDNN_TYPE_HEUR_MODE, &[mode])?;
        let heuristics = match self {
            Self::Handle(_) => heuristics,
            Self::Described(gpu) => heuristics.set_descriptor(Name::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, gpu)?,
        }
        .finalize("heuristics")?;
        const MOST: usize = 32;
        let found: Vec<Descriptor> =
            (0..MOST).map(|_| Descriptor::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)).collect::<Result<_>>()?;
        let mut raw: Vec<sys::cudnnBackendDescriptor_t> = found.iter().map(|descriptor| descriptor.0).collect();
        let results = (Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR);
        let count = heuristics.get(results.0, results.1, &mut raw)?;
        Ok(found.into_iter().take(count).collect())
    }

    /// Prepares an engine.
    pub fn plan(&self, engine: &Engine) -> Result<EnginePlan> {
        let plan = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        let plan = match self {
            Self::Handle(handle) => {
                plan.set(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, Type::CUDNN_TYPE_HANDLE, &[*handle])?
            }
            Self::Described(gpu) => plan.set_descriptor(Name::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, gpu)?,
        };
        let descriptor =
            plan.set_descriptor(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &engine.config)?.finalize("plan")?;
        let mut workspace = [0i64];
        descriptor.get(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, Type::CUDNN_TYPE_INT64, &mut workspace)?;
        match workspace {
            [workspace @ 0..=MOST_WORKSPACE] => Ok(EnginePlan { descriptor, workspace }),
            [other] => bail!("an engine wants a workspace of {other} bytes"),
        }
    }
}

impl Engine {
    fn new(config: Descriptor) -> Result<Self> {
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
        Ok(Self { config, numerical, behaviour })
    }

    /// Whether it rounds as it should, can be run without a compiler and, if that matters, gives the same bits each time.
    pub fn may_be_used(&self, precision: Precision, deterministic: bool) -> bool {
        use sys::cudnnBackendBehaviorNote_t::CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION as COMPILES;
        use sys::cudnnBackendNumericalNote_t::{
            CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS as CONVERTS, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as VARIES,
            CUDNN_NUMERICAL_NOTE_TENSOR_CORE as TENSOR_CORE,
        };
        let rounds_more = self.numerical.contains(&(CONVERTS as u32))
            || precision == Precision::Fp32 && self.numerical.contains(&(TENSOR_CORE as u32));
        let varies = deterministic && self.numerical.contains(&(VARIES as u32));
        !rounds_more && !varies && !self.behaviour.contains(&(COMPILES as u32))
    }
}

/// That no engine can compute a convolution, and what cuDNN last said of one.
pub fn none_for(geometry: &Geometry, pass: Pass, problem: Option<Error>) -> Error {
    let said = problem.map_or_else(|| "it names none that may be used".to_owned(), |error| error.to_string());
    DeviceError::Failed(format!("cuDNN has no engine for the {pass:?} of {geometry:?}: {said}")).into()
}
