//! Kernels of residual networks on candle storage: one folder per op.
//!
//! In an op's folder `mod.rs` says what the op means (parameters, shapes, public functions), `reference.rs` is its
//! plain definition in f32 and f64, `cpu.rs` (or `cpu/`) its multi-threaded, vectorised form, and `cuda.rs` its form for a
//! GPU, whose kernels are in `*.cu`.
//! Every op's function takes an [`Executor`], which decides which of them runs. It works on the first elements of its buffers, which may be
//! longer. One that is too short makes it panic, except on a GPU, where that is an error.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod accumulate;
pub mod adam;
pub mod add;
pub mod allocate;
pub mod average;
pub mod avg_pool2d;
pub mod batch_norm;
pub mod binary_cross_entropy;
pub mod concat;
pub mod conv2d;
pub mod cross_entropy;
pub mod dropout;
pub mod finite;
pub mod global_avg_pool;
pub mod layout;
pub mod linear;
pub mod lion;
pub mod max_pool2d;
pub mod muon;
pub mod norm_pool;
pub mod pad_channels;
pub mod random;
pub mod relu;
pub mod resample;
pub mod rmsprop;
pub mod sgd;
pub mod silu;
pub mod sum_of_squares;
pub mod update;

mod affine;
mod algorithm;
mod blocked;
mod buffer;
#[cfg(feature = "cuda-kernels")]
mod cuda;
mod denormals;
mod element;
mod error;
mod executor;
mod gradient;
mod matrix;
#[cfg(not(all(feature = "cuda-kernels", target_os = "linux")))]
mod nccl_stub;
mod outcome;
mod pool;
mod precision;
mod probe;
mod simd;

pub use algorithm::{Algorithm, Pass};
pub use buffer::{Buffer, View, ViewMut};
pub use candle_core::{DType, Error, Result};
#[cfg(all(feature = "cuda-host", feature = "cudnn"))]
pub use cuda::cudnn::described::{plan_for_tests, Planned};
#[cfg(all(feature = "cuda-host", target_os = "linux"))]
pub use cuda::nccl::imitated::imitate_nccl_for_tests;
#[cfg(all(feature = "cuda-kernels", target_os = "linux"))]
pub use cuda::nccl::NcclCommunicator;
#[cfg(feature = "cuda-host")]
pub use cuda::recorder::{Asked, AskedConvolution, AskedLaunch, Paper};
pub use element::{Element, Real};
pub use error::DeviceError;
pub use executor::{Capture, CapturedGraph, Cpu, Executor};
pub use gradient::GradientTarget;
#[cfg(not(all(feature = "cuda-kernels", target_os = "linux")))]
pub use nccl_stub::NcclCommunicator;
pub use outcome::Outcome;
pub use pool::Pool;
pub use precision::Precision;
pub use probe::{DeviceProbe, GpuDescription};
pub use simd::{Bf16Products, Int8Products, Isa};
