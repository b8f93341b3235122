//! What the ops compute, in one program: linked once.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod asked;
mod batch_norm;
mod binary_cross_entropy;
mod buffer;
mod capture;
mod cross_entropy;
mod dropout;
mod finite;
mod gradients;
mod kernels;
mod semantics;
mod support;
mod winograd;
