//! Dense convolutions whose products are of operands rounded to bf16, summed up in f32, or of bytes, summed up as integers.
//!
//! Source, weights and target stay f32 in memory: so all other kernels, and what is done with a plane as soon as it is complete, are the
//! same as ever. What is rounded is a part of the source at a time, as rows of 64 bytes (32 depths of [`bf16`], 64 of
//! [`int8`]), which a micro-kernel ([`tile`]) multiplies by packed weights:
//!
//! ```text
//!   forward, input gradient   [`outputs`]   rows: pixels     depths: channels, kernel places      columns: channels of the target
//!   weight gradient           [`bf16`]      rows: inputs     depths: pixels                       columns: outputs
//! ```
//!
//! [`bf16`] has all passes, [`int8`] the forward one; each rounds and packs for itself. [`operands`] says how they differ, [`axis`] which
//! place of a rounded map a kernel place meets, [`prefetch`] what is prefetched, [`choice`] for which shapes this is faster.

mod axis;
mod bf16;
mod choice;
mod int8;
mod operands;
mod outputs;
mod prefetch;
mod tile;

pub(in crate::conv2d) use bf16::Bf16;
pub use int8::quantize_row;
pub(in crate::conv2d) use int8::Int8;
