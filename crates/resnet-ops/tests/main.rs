//! What the ops compute, in one program: linked once.

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
