//! Convolutions by cuDNN's graph API: an operation is described, cuDNN names engines for it, and the fastest of the first few,
//! or in the deterministic mode the first that always gives the same bits, becomes a plan that is kept for its shape.
//!
//! All but running them needs no GPU: plans are also made for GPUs that are only described.

#[cfg(any(feature = "cuda", test))]
mod choice;
#[cfg(feature = "cuda-host")]
pub(crate) mod described;
mod descriptor;
pub(crate) mod library;
mod operation;
mod plans;
#[cfg(any(feature = "cuda", test))]
mod room;
#[cfg(feature = "cuda")]
pub(in crate::cuda) mod run;
