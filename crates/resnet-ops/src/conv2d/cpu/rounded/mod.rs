//! Dense convolutions whose products are of operands rounded to bf16, summed up in f32, or of bytes, summed up as integers.
//!
//! Source, weights and target stay f32 in memory: so all other kernels, and what is done with a plane as soon as it is complete, are the
//! same as ever. What is rounded is a part of the source at a time, as rows of 64 bytes (32 depths of bf16 in [`round`], 64 of bytes in
//! [`bytes`]), which a micro-kernel multiplies by packed weights ([`tile`], [`pack`]):
//!
//! ```text
//!   forward, input gradient   [`outputs`]   rows: pixels     depths: channels, kernel places      columns: channels of the target
//!   weight gradient           [`weights`]   rows: inputs     depths: pixels                       columns: outputs
//! ```
//!
//! [`bf16`] has all passes, [`int8`] the forward one. [`operands`] says how they differ, [`axis`] which place of a rounded map a kernel
//! place meets, [`prefetch`] what is prefetched, [`choice`] for which shapes this is faster.

mod axis;
mod bf16;
mod bytes;
mod choice;
mod int8;
mod operands;
mod outputs;
mod pack;
mod prefetch;
mod round;
mod tile;
mod weights;

pub(in crate::conv2d) use bf16::Bf16;
pub use bytes::quantize_row;
pub(in crate::conv2d) use int8::Int8;
