//! The ops that plans are made of, a file for each: how it is lowered, which calls its forward and backward passes are, which
//! storage they name, and how a call is run.

mod add;
mod avg_pool2d;
mod batch_norm;
mod concat;
mod conv2d;
mod dropout;
mod global_avg_pool;
mod import;
mod linear;
mod max_pool2d;
mod norm_pool;
mod pad_channels;
mod relu;
mod silu;

pub(super) use add::{Add, AddCall};
pub(super) use avg_pool2d::AvgPool;
pub(super) use batch_norm::{Moments, Norm, NormCall, Updating};
pub(super) use concat::Concatenation;
pub(super) use conv2d::{ConvCall, Convolution, FusedNormBackward};
pub(super) use dropout::DropoutLayer;
pub(super) use global_avg_pool::GlobalPool;
pub(super) use import::Import;
pub(super) use linear::FullyConnected;
pub(super) use max_pool2d::MaxPool;
pub(super) use norm_pool::PooledNorm;
pub(super) use pad_channels::ChannelPadding;
pub(super) use relu::{Activation, ReluCall};
pub(super) use silu::Silu;

use super::instruction::{Accumulated, Operands, Read, Request, Write};
use super::mode::Mode;
use super::slots::{Slot, Slots};
use super::tape::Wires;
use crate::model::graph::Kind;
use crate::model::layer::Layer;
use crate::model::params::ParamRanges;
use crate::model::shape::Shape;
use crate::weights::Weights;
use resnet_ops::batch_norm::Total;
use resnet_ops::conv2d::InputRange;
use resnet_ops::dropout::Grain;
use resnet_ops::{Buffer, Executor, GradientTarget, Result};
use std::cell::{Ref, RefMut};

/// The tape that ops write on.
pub(super) type Tape<'a> = super::tape::Tape<'a, Instruction>;

/// An op in a plan. It is lowered by a function of its own, from the layer's settings and a [`Site`].
pub(super) trait PlanOp: Clone {
    /// The kernel calls that it is made of.
    type Call: Operands;

    /// Writes the forward calls, and leaves with the tape how the backward ones are written.
    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>);

    /// Runs a call.
    fn run(&self, call: &Self::Call, context: &mut Context) -> Result<()>;

    /// Runs a call for several shards, to the bits of a run for each, if there is something in it that is done for all of them once.
    fn run_together(&self, _call: &Self::Call, _shards: &Together) -> Result<bool> {
        Ok(false)
    }

    /// What a call needs of all shards of a batch, if it does more than to run for each of them; `synced` if statistics are the whole batch's.
    fn joint(&self, _call: &Self::Call, _synced: bool) -> Option<Joint> {
        None
    }

    /// Runs the first half of such a call, up to a shard's part.
    fn run_part(&self, call: &Self::Call, context: &mut Context, _part: &mut [f64]) -> Result<()> {
        self.run(call, context)
    }

    /// Runs the second half, with what the parts of all shards came to; also of a shard without images.
    fn finish(&self, call: &Self::Call, context: &mut Context, _total: Total) -> Result<()> {
        self.run(call, context)
    }
}

/// What a call that needs all shards of a batch has of each.
#[derive(Clone, Copy)]
pub(super) struct Joint {
    /// Numbers of a shard's part.
    pub len: usize,
    /// How parts become one.
    pub merge: Merge,
}

/// How the parts of shards become one.
#[derive(Clone, Copy)]
pub enum Merge {
    /// Added up.
    Sum,
    /// See [`resnet_ops::batch_norm::joint::merge_moments`].
    Moments {
        /// Of a map.
        pixels: usize,
    },
}

/// The instruction that makes a gradient of a shape that of another value too.
pub(super) fn add_gradient(shape: Shape, source: Read, target: Accumulated) -> Instruction {
    (&Add { shape, relu: false }, AddCall::AddGradient { source, target }).into()
}

/// Where in a network an op stands.
pub(super) struct Site<'a> {
    pub executor: &'a Executor,
    pub mode: &'a Mode,
    /// Shapes of the inputs.
    pub inputs: Vec<Shape>,
    /// Where its parameters and running statistics lie in flat storage.
    pub ranges: &'a ParamRanges,
    /// Whether it reads the images as they come.
    pub plain_input: bool,
    /// What the input of a quantised convolution lies between.
    pub input_range: Option<InputRange>,
    /// The value that it writes, which has the same number in every backend.
    pub output: usize,
}

impl Site<'_> {
    /// Channels or features of the first input.
    pub fn channels(&self) -> usize {
        self.inputs[0].channels()
    }

    /// Whether some of its parameters have gradients.
    pub fn is_trained(&self) -> bool {
        self.mode.trains_any(&self.ranges.params)
    }

    /// Height and width of the first input.
    pub fn size(&self) -> [usize; 2] {
        self.inputs[0].size()
    }
}

/// What a call runs with.
pub(super) struct Context<'a> {
    pub executor: &'a Executor,
    pub buffers: Buffers<'a>,
    pub weights: &'a mut Weights,
    /// Images in the batch, or in the shard of it.
    pub n: usize,
    /// The shard's first image in the batch.
    pub first: usize,
    /// What this step's dropout masks are drawn from.
    pub dropout_seed: u64,
}

/// Shards that a call runs with, which does not touch gradients of parameters.
pub(super) struct Together<'a> {
    pub executor: &'a Executor,
    /// Of the network.
    pub parameters: &'a Buffer,
    /// The storage of each, and its images.
    pub shards: Vec<(Buffers<'a>, usize)>,
}

impl Context<'_> {
    /// The batch as a shard.
    fn alone(&self) -> Together<'_> {
        let Self { executor, buffers, weights, n, .. } = self;
        Together { executor, parameters: &weights.parameters, shards: vec![(*buffers, *n)] }
    }

    /// Elements of a value of this shape in the batch at hand.
    fn len(&self, shape: Shape) -> usize {
        let [h, w] = shape.size();
        self.executor.activation_len(self.n, shape.channels(), h, w)
    }
}

/// The storage behind the operands of a plan. Operands of one call are live together, so each has a slot of its own; a call that named
/// one storage twice and wrote it would panic here.
#[derive(Clone, Copy)]
pub(super) struct Buffers<'a> {
    pub slots: &'a Slots,
    /// The slot of each request.
    pub assigned: &'a [Slot],
}

impl<'a> Buffers<'a> {
    pub fn read(self, operand: Read) -> Ref<'a, Buffer> {
        self.slots.read(self.assigned[operand.0 .0])
    }

    pub fn write(self, operand: Write) -> RefMut<'a, Buffer> {
        self.slots.write(self.assigned[operand.0 .0])
    }

    fn target(self, operand: Accumulated) -> BorrowedTarget<'a> {
        BorrowedTarget { buffer: self.write(Write(operand.target)), accumulate: operand.accumulate }
    }
}

/// A borrowed target of a gradient.
struct BorrowedTarget<'a> {
    buffer: RefMut<'a, Buffer>,
    accumulate: bool,
}

impl BorrowedTarget<'_> {
    fn gradient(&mut self) -> GradientTarget<'_> {
        GradientTarget { buffer: &mut self.buffer, accumulate: self.accumulate }
    }
}

/// The table of ops: what a node is, what an instruction is, and who writes and runs them.
macro_rules! ops {
    ($($(#[$doc:meta])* $op:ident: $type:ty;)*) => {
        /// An op with what depends on its shapes worked out.
        pub(super) enum Op {
            $($(#[$doc])* $op($type)),*
        }

        /// A call of an op.
        pub(super) enum Instruction {
            $($op($type, <$type as PlanOp>::Call)),*
        }

        impl Op {
            /// See [`PlanOp::write`].
            pub fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
                match self {
                    $(Self::$op(op) => op.write(wires, tape)),*
                }
            }
        }

        impl Instruction {
            /// See [`PlanOp::run`].
            pub fn run(&self, context: &mut Context) -> Result<()> {
                match self {
                    $(Self::$op(op, call) => op.run(call, context)),*
                }
            }
        }

        impl Instruction {
            /// See [`PlanOp::run_together`].
            pub fn run_together(&self, shards: &Together) -> Result<bool> {
                match self {
                    $(Self::$op(op, call) => op.run_together(call, shards)),*
                }
            }

            /// See [`PlanOp::joint`].
            pub fn joint(&self, synced: bool) -> Option<Joint> {
                match self {
                    $(Self::$op(op, call) => op.joint(call, synced)),*
                }
            }

            /// See [`PlanOp::run_part`].
            pub fn run_part(&self, context: &mut Context, part: &mut [f64]) -> Result<()> {
                match self {
                    $(Self::$op(op, call) => op.run_part(call, context, part)),*
                }
            }

            /// See [`PlanOp::finish`].
            pub fn finish(&self, context: &mut Context, total: Total) -> Result<()> {
                match self {
                    $(Self::$op(op, call) => op.finish(call, context, total)),*
                }
            }
        }

        impl Operands for Instruction {
            fn each(&self, visit: &mut dyn FnMut(Request)) {
                match self {
                    $(Self::$op(_, call) => call.each(visit)),*
                }
            }
        }

        $(impl From<(&$type, <$type as PlanOp>::Call)> for Instruction {
            fn from((op, call): (&$type, <$type as PlanOp>::Call)) -> Self {
                Self::$op(op.clone(), call)
            }
        })*
    };
}

ops! {
    /// Brings images (N, C, H, W) to the backend's layout.
    Import: Import;
    /// With one input, or with the shortcut as the second.
    Conv2d: Convolution;
    /// With one input, or with the shortcut as the second.
    BatchNorm: Norm;
    Relu: Activation;
    Silu: Silu;
    Add: Add;
    Concat: Concatenation;
    Dropout: DropoutLayer;
    MaxPool2d: MaxPool;
    /// A batch norm and the max-pooling behind it.
    NormPool: PooledNorm;
    AvgPool2d: AvgPool;
    GlobalAvgPool: GlobalPool;
    PadChannels: ChannelPadding;
    Linear: FullyConnected;
}

impl Op {
    /// The op of a node that stands there.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`, `ERR_SHAPE` if a backend cannot have it.
    pub fn lower(site: &Site, kind: &Kind) -> crate::error::Result<Self> {
        let layer = match kind {
            Kind::Add { relu } => return Ok(Self::Add(Add::lower(site, *relu))),
            Kind::StochasticDepth { p } => return Ok(Self::Dropout(DropoutLayer::lower(site, *p, Grain::Image))),
            Kind::Concat => return Ok(Self::Concat(Concatenation::lower(site))),
            Kind::Layer(layer) => *layer,
        };
        Ok(match layer {
            Layer::Conv2d { out_channels, kernel, stride, padding, groups, bias, init: _ } => {
                Self::Conv2d(Convolution::lower(site, *out_channels, [*kernel, *stride, *padding], *groups, *bias)?)
            }
            Layer::BatchNorm2d { eps, momentum, zero_init: _ } => Self::BatchNorm(Norm::lower(site, *eps, *momentum)),
            Layer::Relu => Self::Relu(Activation::lower(site)),
            Layer::Silu => Self::Silu(Silu::lower(site)),
            Layer::MaxPool2d { kernel, stride, padding } => {
                Self::MaxPool2d(MaxPool::lower(site, [*kernel, *stride, *padding])?)
            }
            Layer::AvgPool2d { kernel, stride, padding, ceil_mode, count_include_pad } => {
                Self::AvgPool2d(AvgPool::lower(site, [*kernel, *stride, *padding], *ceil_mode, *count_include_pad)?)
            }
            Layer::GlobalAvgPool2d => Self::GlobalAvgPool(GlobalPool::lower(site)),
            Layer::PadChannels { out_channels, stride } => {
                Self::PadChannels(ChannelPadding::lower(site, *out_channels, *stride)?)
            }
            Layer::Dropout { p } => Self::Dropout(DropoutLayer::lower(site, *p, Grain::Element)),
            Layer::Linear { out_features, bias, init: _ } => {
                Self::Linear(FullyConnected::lower(site, *out_features, *bias))
            }
            Layer::Sequential { .. } | Layer::Residual { .. } | Layer::Concat { .. } => {
                unreachable!("a trace has no layers made of others")
            }
        })
    }
}
