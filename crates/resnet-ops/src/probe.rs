//! What there is on this machine for the CUDA backend: a device probe.

use crate::DeviceError;
use std::sync::{Mutex, PoisonError, Weak};

/// Driver, libraries and GPUs, as far as they were found.
#[derive(Clone, Debug, Default)]
pub struct DeviceProbe {
    /// The driver's version, such as 580.95.05.
    pub driver: Option<String>,
    /// The newest version of CUDA that the driver supports, major and minor.
    pub cuda: Option<(i32, i32)>,
    /// cuDNN's version: major, minor, patch.
    pub cudnn: Option<[usize; 3]>,
    /// The GPUs, by number.
    pub gpus: Vec<GpuDescription>,
    /// Why none of it can be used, if that is so.
    pub problem: Option<DeviceError>,
    /// Why a GPU refused to do a list as one captured graph, the last of those in this process that it was asked for and still has not.
    pub refused_capture: Option<String>,
}

/// A GPU as the driver describes it.
#[derive(Clone, Debug)]
pub struct GpuDescription {
    /// Its name.
    pub name: String,
    /// Major and minor.
    pub compute_capability: (i32, i32),
    /// Bytes in all.
    pub memory: usize,
}

impl GpuDescription {
    /// Whether there are kernels for it: from Ampere (2020) on.
    pub fn is_supported(&self) -> bool {
        self.compute_capability >= (8, 0)
    }
}

impl DeviceProbe {
    /// The number of the first GPU that can be used.
    pub fn first_usable(&self) -> Option<usize> {
        self.gpus.iter().position(|gpu| self.can_use(gpu))
    }

    /// Whether one of its GPUs can be used.
    pub fn can_use(&self, gpu: &GpuDescription) -> bool {
        self.problem.is_none() && gpu.is_supported()
    }
}

#[cfg(not(feature = "cuda"))]
impl DeviceProbe {
    /// Probes this machine: in this build, which has no CUDA backend, there is nothing to look for.
    pub fn new() -> Self {
        Self { problem: Some(no_cuda()), refused_capture: refused_capture(), ..Self::default() }
    }
}

/// Why GPUs refused to capture something, while somebody keeps the reasons.
static REFUSED: Mutex<Vec<Weak<str>>> = Mutex::new(Vec::new());

/// Notes why, for as long as it is kept.
#[cfg(feature = "cuda-kernels")]
pub(crate) fn noted_refusal(reason: String) -> std::sync::Arc<str> {
    let reason = std::sync::Arc::from(reason);
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.retain(|reason| reason.strong_count() > 0);
    refused.push(std::sync::Arc::downgrade(&reason));
    reason
}

/// See [`DeviceProbe::refused_capture`].
pub(crate) fn refused_capture() -> Option<String> {
    let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.iter().rev().find_map(Weak::upgrade).map(|reason| reason.to_string())
}

/// The error of a build without the feature `cuda`.
#[cfg(not(feature = "cuda"))]
pub(crate) fn no_cuda() -> DeviceError {
    DeviceError::Unavailable(
        "this addon computes on the CPU alone: install resnet-native-cuda13 for NVIDIA GPUs".into(),
    )
}
