//! What the ops compute, in one program: linked once.

mod batch_norm;
mod bf16;
mod binary_cross_entropy;
mod bits;
mod buffer;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod capture;
mod cross_entropy;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod cudnn_plans;
mod dropout;
mod finite;
mod gradients;
mod int8;
mod kernels;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod launches;
mod semantics;
mod support;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod together;
mod winograd;
