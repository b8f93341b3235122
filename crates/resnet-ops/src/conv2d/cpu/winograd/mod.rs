//! Winograd's convolution, for 3x3 kernels of stride 1 or 2 and padding 1.
//!
//! Tiles of an activation, 16 channels at a time, are taken to 16, 36, 49 or 64 points ([`tiles`]), where the convolution is one
//! product of matrices a point ([`gemm`]), and back:
//!
//! ```text
//!   weights ─▶ U ─┐                       x ─▶ V ─┐
//!                 ├─▶ M ─▶ y, or dx                ├─▶ dU ─▶ dw
//!   x, or dy ─▶ V ┘                      dy ─▶ D ─┘
//!       [`outputs`]                         [`weights`]              weights, U, dU and dw: [`pack`]
//! ```
//!
//! A third to a fifth of the direct kernels' products, two thirds with stride 2, at relative errors of up to 5e-6.
//! [`form`] has the transforms, [`choice`] says where it pays.

mod choice;
mod factors;
mod few;
mod form;
mod gemm;
mod outputs;
mod pack;
mod prefetch;
mod strips;
mod tiles;
mod weights;

use super::disjoint::Disjoint;
use crate::algorithm::{Algorithm, Pass};
use crate::blocked;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::simd::kernel;
use tiles::Tiling;

/// What depends on the shape alone.
pub(in crate::conv2d) struct Winograd {
    shape: ConvShape,
    tiling: Tiling,
    /// Blocks of channels of input and output.
    input: usize,
    output: usize,
    /// Batches from this size on are to be run by it.
    fewest_images: usize,
    /// Blocks of targets that a micro-kernel covers.
    vectors: usize,
    /// Threads that there is scratch space for.
    threads: usize,
    /// Whether weights change from call to call.
    training: bool,
    /// Whether strips are used wherever they are defined, fast or not.
    always: bool,
}

/// Blocks of channels that a pass goes from and to.
#[derive(Clone, Copy)]
struct Ends {
    source: usize,
    target: usize,
}

kernel! {
    fn vectors<S>() -> usize {
        S::VECTORS
    }
}

impl Winograd {
    /// None where it is not defined or not to be used.
    pub(in crate::conv2d::cpu) fn new(cpu: &Cpu, shape: &ConvShape) -> Option<Self> {
        if !choice::is_defined(shape) {
            return None;
        }
        let tiling = choice::tiling(shape);
        let fewest_images = match cpu.convolution {
            Algorithm::Auto | Algorithm::Bf16(_) | Algorithm::Int8(_) => choice::fewest_images(shape, &tiling)?,
            Algorithm::Direct => return None,
            Algorithm::Winograd => 1,
        };
        Some(Self {
            shape: shape.clone(),
            tiling,
            input: blocked::blocks(shape.in_channels),
            output: blocked::blocks(shape.out_channels),
            fewest_images,
            vectors: vectors(cpu.isa),
            threads: cpu.pool.threads(),
            training: false,
            always: cpu.convolution == Algorithm::Winograd,
        })
    }

    /// From here on weights change from call to call.
    pub(in crate::conv2d::cpu) fn train(&mut self) {
        self.training = true;
    }

    /// Whether it is the one to run a batch of `n` images.
    pub(in crate::conv2d::cpu) fn takes(&self, n: usize) -> bool {
        n >= self.fewest_images
    }

    /// Elements of scratch space that a pass needs for a batch of up to `n` images.
    pub(in crate::conv2d::cpu) fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match pass {
            Pass::WeightGradient => self.weights_scratch(n),
            Pass::Forward | Pass::InputGradient => self.outputs_scratch(pass, n),
        }
    }

    fn ends(&self, pass: Pass) -> Ends {
        match pass {
            Pass::InputGradient => Ends { source: self.output, target: self.input },
            Pass::Forward | Pass::WeightGradient => Ends { source: self.input, target: self.output },
        }
    }
}
