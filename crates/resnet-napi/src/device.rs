//! What models compute with on this machine.

use crate::error::raise;
use napi_derive::napi;
use resnet_core::device::DeviceInfo;

/// See [`DeviceInfo`].
#[napi(object)]
pub struct NativeDeviceInfo {
    pub device: String,
    pub why: String,
    pub instruction_set: String,
    pub instruction_sets: Vec<String>,
    pub bf16: String,
    pub int8: String,
    pub threads: u32,
    pub driver: Option<String>,
    pub version: Option<String>,
    pub cudnn: Option<String>,
    pub gpus: Vec<NativeGpu>,
    pub problem: Option<String>,
    pub refused_capture: Option<String>,
}

/// A GPU as its driver describes it.
#[napi(object)]
pub struct NativeGpu {
    pub name: String,
    pub compute_capability: String,
    pub memory: f64,
    pub usable: bool,
}

/// What a model without options of its own computes with, and what else there is. `ERR_INVALID_ARGUMENT` if
/// `RESNET_NATIVE_ISA` names what the machine has not.
#[napi]
pub fn device_info() -> napi::Result<NativeDeviceInfo> {
    let DeviceInfo { device, why, instruction_set, instruction_sets, bf16, int8, threads, probe } =
        DeviceInfo::new().map_err(raise)?;
    let dotted = |(major, minor)| format!("{major}.{minor}");
    let gpus = probe.gpus.iter().map(|gpu| NativeGpu {
        name: gpu.name.clone(),
        compute_capability: dotted(gpu.compute_capability),
        memory: gpu.memory as f64,
        usable: probe.can_use(gpu),
    });
    let gpus = gpus.collect();
    Ok(NativeDeviceInfo {
        device: device.to_string(),
        why,
        instruction_set: instruction_set.to_owned(),
        instruction_sets: instruction_sets.into_iter().map(str::to_owned).collect(),
        bf16: bf16.to_owned(),
        int8: int8.to_owned(),
        threads: threads as u32,
        driver: probe.driver,
        version: probe.cuda.map(dotted),
        cudnn: probe.cudnn.map(|version| version.map(|part| part.to_string()).join(".")),
        gpus,
        problem: probe.problem.map(|problem| problem.to_string()),
        refused_capture: probe.refused_capture,
    })
}
