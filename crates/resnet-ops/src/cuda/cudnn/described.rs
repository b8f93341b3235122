//! Plans for GPUs that are not there, for tests: cuDNN makes them from a description.

use super::descriptor::Descriptor;
use super::library;
use super::plans::{Engine, Target, TIMED};
use crate::cuda::device::Geometry;
use crate::cuda::recorder::AskedConvolution;
use crate::precision::Precision;
use candle_core::Result;
use cudarc::cudnn::sys::cudnnBackendDescriptorType_t as Kind;
use cudarc::cudnn::sys::{cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type};
use std::cell::OnceCell;
use std::collections::HashSet;

/// What cuDNN is told of a GPU, from NVIDIA's tables.
struct Description {
    capability: (i32, i32),
    name: &'static str,
    processors: u32,
    /// Threads and blocks of a processor, bytes of shared memory that a block may ask for.
    threads: u32,
    blocks: u32,
    shared: u32,
    /// Bytes of the second cache and in all.
    cache: u64,
    memory: u64,
    /// Width in bits and clock in kHz of the memory, clock of the processors.
    bus: u32,
    memory_clock: u32,
    clock: u32,
}

const MIB: u64 = 1 << 20;

#[rustfmt::skip]
const GPUS: [Description; 6] = [
    Description { capability: (8, 0), name: "NVIDIA A100-SXM4-80GB", processors: 108, threads: 2048, blocks: 32, shared: 166_912, cache: 40 * MIB, memory: 81_920 * MIB, bus: 5120, memory_clock: 1_593_000, clock: 1_410_000 },
    Description { capability: (8, 6), name: "NVIDIA A10", processors: 72, threads: 1536, blocks: 16, shared: 101_376, cache: 6 * MIB, memory: 23_028 * MIB, bus: 384, memory_clock: 6_251_000, clock: 1_695_000 },
    Description { capability: (8, 9), name: "NVIDIA L4", processors: 58, threads: 1536, blocks: 24, shared: 101_376, cache: 48 * MIB, memory: 23_034 * MIB, bus: 192, memory_clock: 6_251_000, clock: 2_040_000 },
    Description { capability: (9, 0), name: "NVIDIA H100 80GB HBM3", processors: 132, threads: 2048, blocks: 32, shared: 232_448, cache: 50 * MIB, memory: 81_559 * MIB, bus: 5120, memory_clock: 2_619_000, clock: 1_980_000 },
    Description { capability: (10, 0), name: "NVIDIA B200", processors: 148, threads: 2048, blocks: 32, shared: 232_448, cache: 126 * MIB, memory: 183_359 * MIB, bus: 7680, memory_clock: 3_996_000, clock: 1_965_000 },
    Description { capability: (12, 0), name: "NVIDIA GeForce RTX 5090", processors: 170, threads: 1536, blocks: 24, shared: 101_376, cache: 96 * MIB, memory: 32_607 * MIB, bus: 512, memory_clock: 14_001_000, clock: 2_407_000 },
];

impl Description {
    fn json(&self) -> String {
        let (major, minor) = self.capability;
        let fields = [
            ("deviceVer", u64::from((major * 100 + minor * 10) as u32)),
            ("driverVer", 13_000),
            ("cudaDeviceId", 0),
            ("regsPerBlock", 65_536),
            ("multiProcessorCount", self.processors.into()),
            ("warpSize", 32),
            ("maxSharedMemoryPerBlock", 49_152),
            ("maxSharedMemoryPerBlockOptin", self.shared.into()),
            ("reservedSharedMemoryPerBlock", 1024),
            ("maxRegistersPerSM", 65_536),
            ("maxCtasPerSM", self.blocks.into()),
            ("maxThreadsPerBlock", 1024),
            ("maxThreadsPerSM", self.threads.into()),
            ("pciDeviceId", 0),
            ("isTccDriver", 0),
            ("supportCoopLaunch", 1),
            ("totalGlobalMem", self.memory),
            ("smClockRateKHz", self.clock.into()),
            ("memClockRateKHz", self.memory_clock.into()),
            ("memoryBusWidth", self.bus.into()),
            ("l2CacheSize", self.cache),
        ];
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let (grid, block) = ("[2147483647,65535,65535]", "[1024,1024,64]");
        format!(
            "{{\"maxGridSize\":{grid},\"maxBlockSize\":{block},\"deviceName\":\"{}\",{}}}",
            self.name,
            fields.join(",")
        )
    }

    fn described(&self) -> Result<Descriptor> {
        let (name, kind) = (Name::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, Type::CUDNN_TYPE_CHAR);
        Descriptor::new(Kind::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?
            .set(name, kind, self.json().as_bytes())?
            .finalize("device")
    }
}

/// What became of having a GPU that is not there plan convolutions.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The GPU's, major and minor.
    pub compute_capability: (i32, i32),
    /// How it rounds.
    pub precision: Precision,
    /// Whether only engines were taken that give the same bits each time.
    pub deterministic: bool,
    /// How many convolutions have plans.
    pub planned: usize,
    /// The fewest plans that one of them has, of at most as many as are timed.
    pub fewest: usize,
    /// The most bytes that the first plan of one of them works in, and that any works in.
    pub workspaces: [i64; 2],
    /// Those that have none.
    pub without: Vec<String>,
}

/// Has a GPU of each compute capability that there are kernels for plan convolutions in each precision, deterministic or not. None where
/// there is no cuDNN.
///
/// # Errors
/// If cuDNN does not take the descriptions.
///
/// # Panics
/// If `RESNET_NATIVE_TESTS_CUDNN` is 1 and there is no cuDNN.
pub fn plan_for_tests(asked: &HashSet<AskedConvolution>) -> Result<Option<Vec<Planned>>> {
    if let Err(problem) = library::find() {
        let demanded = std::env::var("RESNET_NATIVE_TESTS_CUDNN").is_ok_and(|value| value == "1");
        assert!(!demanded, "RESNET_NATIVE_TESTS_CUDNN: expected cuDNN, got none: {problem}");
        return Ok(None);
    }
    std::thread::scope(|scope| {
        // cuDNN takes its time: two GPUs at once.
        let (first, second) = GPUS.split_at(GPUS.len() / 2);
        let first = scope.spawn(|| each(first, asked));
        let second = each(second, asked)?;
        let first = first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Some([first, second].concat()))
    })
}

fn each(gpus: &[Description], asked: &HashSet<AskedConvolution>) -> Result<Vec<Planned>> {
    let planned = gpus.iter().map(|gpu| {
        let (target, capability) = (Target::Described(gpu.described()?), gpu.capability);
        let rows = [Precision::Bf16, Precision::Tf32, Precision::Fp32]
            .map(|precision| [false, true].map(|deterministic| Planned::new(capability, precision, deterministic)));
        let mut rows = rows.concat();
        for AskedConvolution { geometry, pass } in asked {
            // What has the same graph is asked for once: TF32 and fp32 differ in the engines that may be used.
            let (bf16, f32) = rows.split_at_mut(2);
            for rows in [bf16, f32] {
                let geometry = Geometry { precision: rows[0].precision, ..geometry.clone() };
                let engines: Vec<Result<Engine>> = target.engines(&geometry, *pass)?.collect();
                let plans: Vec<OnceCell<Result<i64>>> = engines.iter().map(|_| OnceCell::new()).collect();
                for row in rows {
                    let found = row.add(&target, &engines, &plans);
                    match found {
                        0 => row.without.push(format!("{pass:?} of {geometry:?}")),
                        // Some of them as a GPU that is there would be asked.
                        _ if row.planned <= 2 => {
                            let geometry = Geometry { precision: row.precision, ..geometry.clone() };
                            let plans = target.plans(&geometry, *pass, row.deterministic, most(row.deterministic))?;
                            assert_eq!(plans.len(), found, "{geometry:?}");
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(rows)
    });
    Ok(planned.collect::<Result<Vec<_>>>()?.concat())
}

impl Planned {
    fn new(compute_capability: (i32, i32), precision: Precision, deterministic: bool) -> Self {
        let (planned, fewest, workspaces, without) = (0, usize::MAX, [0; 2], Vec::new());
        Self { compute_capability, precision, deterministic, planned, fewest, workspaces, without }
    }

    /// Adds a convolution: its engines, and what came of preparing those that have been so far. Returns how many plans it has.
    fn add(&mut self, target: &Target, engines: &[Result<Engine>], prepared: &[OnceCell<Result<i64>>]) -> usize {
        let plans = engines.iter().zip(prepared).filter_map(|(engine, prepared)| {
            let engine = engine.as_ref().ok().filter(|one| one.may_be_used(self.precision, self.deterministic))?;
            prepared.get_or_init(|| Ok(target.plan(engine)?.workspace)).as_ref().ok().copied()
        });
        let plans: Vec<i64> = plans.take(most(self.deterministic)).collect();
        let Some(&first_plan) = plans.first() else { return 0 };
        self.planned += 1;
        self.fewest = self.fewest.min(plans.len());
        let [first, any] = &mut self.workspaces;
        *first = first_plan.max(*first);
        *any = plans.iter().copied().fold(*any, i64::max);
        plans.len()
    }
}

fn most(deterministic: bool) -> usize {
    if deterministic {
        1
    } else {
        TIMED
    }
}
