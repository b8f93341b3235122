//! Convolution on blocked activations: which kernels run it.
//!
//! [`direct`] serves any shape, [`grouped`] narrow groups, [`winograd`] 3x3 kernels where it pays; [`rounded`] rounds operands where that is
//! asked for and faster.

mod axis;
mod bias;
mod blocking;
mod call;
mod direct;
mod disjoint;
mod grouped;
mod map;
mod rounded;
mod target;
mod winograd;

use super::{foreign, Conv2d, ConvShape, Forward, FusedNorm, InputGradient, InputRange, Kernels, WeightGradient};
use crate::algorithm::Pass;
use crate::batch_norm::cpu::{plane, Summands};
use crate::blocked::{self, LANES};
use crate::executor::Cpu;
use crate::{Buffer, GradientTarget, Result, View};
use call::OutputsCall;
use direct::Direct;
use disjoint::PlaneSums;
use grouped::Grouped;
pub use rounded::quantize_row;
use rounded::{Bf16, Int8};
use target::{PostOp, Target};
use winograd::Winograd;

/// The kernels of a shape.
pub(super) enum CpuKernels {
    Direct(Direct),
    Grouped(Grouped),
    /// Winograd's, and direct ones for batches that are too small for them.
    Winograd {
        winograd: Winograd,
        small: Direct,
    },
    /// Those that round to bf16, and others for passes that are faster without.
    Bf16 {
        bf16: Box<Bf16>,
        other: Box<CpuKernels>,
    },
    /// Those of bytes, and others for passes other than the forward one.
    Int8 {
        int8: Box<Int8>,
        other: Box<CpuKernels>,
    },
}

/// The kernels of a batch.
enum Chosen<'a> {
    Direct(&'a Direct),
    Grouped(&'a Grouped),
    Winograd(&'a Winograd),
    Bf16(&'a Bf16),
    Int8(&'a Int8),
}

impl CpuKernels {
    pub(super) fn new(cpu: &Cpu, shape: &ConvShape) -> Self {
        let other = Self::exact(cpu, shape);
        match Bf16::new(cpu, shape) {
            Some(bf16) => Self::Bf16 { bf16: Box::new(bf16), other: Box::new(other) },
            None => other,
        }
    }

    /// Those for an input of this range: where they are faster, of bytes.
    pub(super) fn quantized(cpu: &Cpu, shape: &ConvShape, range: InputRange) -> Self {
        let other = Self::new(cpu, shape);
        match Int8::new(cpu, shape, range) {
            Some(int8) => Self::Int8 { int8: Box::new(int8), other: Box::new(other) },
            None => other,
        }
    }

    /// Those that do not round operands.
    fn exact(cpu: &Cpu, shape: &ConvShape) -> Self {
        if let Some(grouped) = Grouped::new(cpu, shape) {
            return Self::Grouped(grouped);
        }
        let direct = Direct::new(cpu, shape);
        match Winograd::new(cpu, shape) {
            Some(winograd) => Self::Winograd { winograd, small: direct },
            None => Self::Direct(direct),
        }
    }

    /// From here on weights change from call to call.
    pub(super) fn train(&mut self) {
        match self {
            Self::Direct(_) | Self::Grouped(_) => {}
            Self::Winograd { winograd, .. } => winograd.train(),
            Self::Bf16 { other, .. } | Self::Int8 { other, .. } => other.train(),
        }
    }

    pub(super) fn packed_len(&self, pass: Pass) -> usize {
        match self {
            Self::Direct(direct) => direct.packed_len(pass),
            Self::Grouped(grouped) => grouped.packed_len(pass),
            Self::Winograd { winograd, small } => winograd.packed_len(pass).max(small.packed_len(pass)),
            Self::Bf16 { bf16, .. } if bf16.takes(pass) => bf16.packed_len(pass),
            Self::Int8 { int8, .. } if pass == Pass::Forward => int8.packed_len(),
            Self::Bf16 { other, .. } | Self::Int8 { other, .. } => other.packed_len(pass),
        }
    }

    pub(super) fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match self {
            Self::Direct(direct) => direct.scratch_len(pass, n),
            Self::Grouped(grouped) => grouped.scratch_len(pass, n),
            Self::Winograd { winograd, small } => winograd.scratch_len(pass, n).max(small.scratch_len(pass, n)),
            Self::Bf16 { bf16, .. } if bf16.takes(pass) => bf16.scratch_len(pass, n),
            Self::Int8 { int8, .. } if pass == Pass::Forward => int8.scratch_len(n),
            Self::Bf16 { other, .. } | Self::Int8 { other, .. } => other.scratch_len(pass, n),
        }
    }

    pub(super) fn packs_alike(&self, n: usize, m: usize) -> bool {
        match self {
            Self::Direct(_) | Self::Grouped(_) => true,
            Self::Winograd { winograd, .. } => winograd.takes(n) == winograd.takes(m),
            Self::Bf16 { other, .. } => other.packs_alike(n, m),
            // Of the pass that they are for.
            Self::Int8 { .. } => true,
        }
    }

    /// Those that run a pass of `n` images.
    fn of_batch(&self, pass: Pass, n: usize) -> Chosen<'_> {
        match self {
            Self::Direct(direct) => Chosen::Direct(direct),
            Self::Grouped(grouped) => Chosen::Grouped(grouped),
            Self::Winograd { winograd, .. } if winograd.takes(n) => Chosen::Winograd(winograd),
            Self::Winograd { small, .. } => Chosen::Direct(small),
            Self::Bf16 { bf16, .. } if bf16.takes(pass) => Chosen::Bf16(bf16),
            Self::Int8 { int8, .. } if pass == Pass::Forward => Chosen::Int8(int8),
            Self::Bf16 { other, .. } | Self::Int8 { other, .. } => other.of_batch(pass, n),
        }
    }
}

/// Those that a convolution was prepared with.
fn kernels(conv: &Conv2d) -> Result<&CpuKernels> {
    match &conv.kernels {
        Kernels::Cpu(kernels) => Ok(kernels),
        Kernels::Reference => foreign(),
        #[cfg(feature = "cuda-kernels")]
        Kernels::Cuda(_) => foreign(),
    }
}

pub(super) fn pack(cpu: &Cpu, conv: &Conv2d, n: usize, pass: Pass, params: View, packed: &mut Buffer) -> Result<()> {
    let (params, packed) = (params.slice()?, packed.slice_mut()?);
    match kernels(conv)?.of_batch(pass, n) {
        Chosen::Direct(direct) => direct.pack(cpu, pass, params, packed),
        Chosen::Grouped(grouped) => grouped.pack(cpu, pass, params, packed),
        Chosen::Winograd(winograd) => winograd.pack(cpu, pass, params, packed),
        Chosen::Bf16(bf16) => bf16.pack(cpu, pass, params, packed),
        Chosen::Int8(int8) => int8.pack(cpu, params, packed),
    }
    Ok(())
}

pub(super) fn forward(cpu: &Cpu, conv: &Conv2d, calls: Vec<Forward>) -> Result<()> {
    let [height, width] = conv.shape.output();
    let planes = |n: usize| n * blocked::blocks(conv.shape.out_channels);
    let (mut operands, mut moments) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
    for Forward { n, x, params, packed, scratch, y, shortcut, relu, moments: wanted } in calls {
        moments.push(wanted.map(|wanted| PlaneSums::new(wanted.sums, planes(n))).transpose()?);
        operands.push((n, [x, packed], params, scratch, y, shortcut, relu));
    }
    let post_ops = moments.iter().map(|moments| {
        let moments = moments.as_ref()?;
        // SAFETY: a plane is complete once.
        Some(|index: usize, y: &mut [f32]| plane::moments(cpu.isa, y, unsafe { moments.of(index) }))
    });
    let post_ops: Vec<_> = post_ops.collect();
    let mut outputs = Vec::with_capacity(operands.len());
    for ((n, [x, packed], params, scratch, y, shortcut, relu), post_op) in operands.into_iter().zip(&post_ops) {
        let post_op = post_op.as_ref().map(|post_op| post_op as PostOp);
        let target = Target::new(y, [planes(n), height * width * LANES], shortcut, relu, post_op)?;
        let (source, params, packed) = (x.slice()?, params.slice()?, packed.slice()?);
        outputs.push((OutputsCall { pass: Pass::Forward, n, source, params, packed, target }, scratch));
    }
    write_outputs(cpu, conv, outputs)
}

pub(super) fn input_gradient(cpu: &Cpu, conv: &Conv2d, calls: Vec<InputGradient>) -> Result<()> {
    let [height, width] = conv.shape.input;
    let planes = |n: usize| n * blocked::blocks(conv.shape.in_channels);
    let (mut operands, mut norms) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
    for InputGradient { n, dy, params, packed, scratch, dx, norm } in calls {
        let norm = norm.map(|FusedNorm { op, x, params, saved, y, sums }| -> Result<_> {
            Ok((Summands::new(op, n, x, params, saved, y)?, PlaneSums::new(sums, planes(n))?))
        });
        norms.push(norm.transpose()?);
        operands.push((n, [dy, packed], params, scratch, dx));
    }
    let post_ops = norms.iter().map(|norm| {
        let (summands, sums) = norm.as_ref()?;
        // SAFETY: a plane is complete once.
        Some(|index: usize, dx: &mut [f32]| summands.sum(cpu.isa, index, dx, unsafe { sums.of(index) }))
    });
    let post_ops: Vec<_> = post_ops.collect();
    let mut outputs = Vec::with_capacity(operands.len());
    for ((n, [dy, packed], params, scratch, dx), post_op) in operands.into_iter().zip(&post_ops) {
        let GradientTarget { buffer: dx, accumulate } = dx;
        let post_op = post_op.as_ref().map(|post_op| post_op as PostOp);
        let mut target = Target::new(dx, [planes(n), height * width * LANES], None, false, post_op)?;
        if accumulate {
            target = target.adding();
        }
        let (source, params, packed) = (dy.slice()?, params.slice()?, packed.slice()?);
        outputs.push((OutputsCall { pass: Pass::InputGradient, n, source, params, packed, target }, scratch));
    }
    write_outputs(cpu, conv, outputs)
}

/// Runs calls of one pass, each with its scratch space.
fn write_outputs(cpu: &Cpu, conv: &Conv2d, calls: Vec<(OutputsCall, &mut Buffer)>) -> Result<()> {
    let kernels = kernels(conv)?;
    let mut by_winograd = Vec::new();
    let mut winograd = None;
    for (call, scratch) in calls {
        match kernels.of_batch(call.pass, call.n) {
            Chosen::Direct(direct) => direct.outputs(cpu, &call, scratch.slice_mut()?),
            Chosen::Grouped(grouped) => grouped.outputs(cpu, &call),
            Chosen::Winograd(chosen) => {
                winograd = Some(chosen);
                by_winograd.push((call, scratch.slice_mut()?));
            }
            Chosen::Bf16(bf16) => bf16.outputs(cpu, &call, scratch.slice_mut()?),
            Chosen::Int8(int8) => int8.outputs(cpu, &call, scratch.slice_mut()?),
        }
    }
    if let Some(winograd) = winograd {
        winograd.outputs(cpu, by_winograd);
    }
    Ok(())
}

pub(super) fn weight_gradient(cpu: &Cpu, conv: &Conv2d, call: WeightGradient) -> Result<()> {
    match kernels(conv)?.of_batch(Pass::WeightGradient, call.n) {
        Chosen::Direct(direct) => direct.weight_gradient(cpu, call),
        Chosen::Grouped(grouped) => grouped.weight_gradient(cpu, call),
        Chosen::Winograd(winograd) => winograd.weight_gradient(cpu, call),
        Chosen::Bf16(bf16) => bf16.weight_gradient(cpu, call),
        Chosen::Int8(_) => foreign(),
    }
}
