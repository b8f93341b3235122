//! Convolutions, with what a backend does in the same passes: bias, ReLU, the sum at the end of a block, the moments for the batch
//! norm behind them, and the begin of the backward of the one before them.

use super::{Activation, Context, Moments, Norm, PlanOp, ReluCall, Site, Tape, Together};
use crate::error::Result;
use crate::plan::instruction::{calls, Accumulated, Operands, Read, Request, Write};
use crate::plan::slots::Class;
use crate::plan::tape::Wires;
use resnet_ops::batch_norm::{self, BatchNorm};
use resnet_ops::conv2d::{self, Conv2d, ConvShape, InputRange};
use resnet_ops::{Executor, Pass};
use std::ops::Range;
use std::sync::Arc;

/// A convolution with what is done in the same passes.
#[derive(Clone)]
pub(in crate::plan) struct Convolution {
    pub kernels: Arc<Conv2d>,
    /// Where its parameters are.
    pub params: Range<usize>,
    /// The batch norm whose running statistics are folded into the weights.
    pub folded: Option<Norm>,
    pub relu: bool,
    /// The batch norm with the batch's statistics that follows, if one does: it wants the output's moments, and cancels the bias, whose
    /// gradient is zero and need not be computed.
    pub normed: Option<BatchNorm>,
    /// Where the gradient is that its bias's is, too.
    pub bias_gradient: Option<usize>,
    /// What its input lies between, if it multiplies bytes.
    input_range: Option<InputRange>,
}

calls! {
    ConvCall {
        /// Writes weights and bias with the norm folded in.
        Fold { target: Write },
        /// Packs weights, folded or as they are.
        Pack { pass: Pass, folded: Option<Read>, packed: Write },
        /// Packs the weights of several convolutions, in place of a call for each.
        PackTogether { every: Vec<Packing> },
        Forward {
            x: Read,
            packed: Read,
            shortcut: Option<Read>,
            scratch: Write,
            y: Write,
            moments: Option<Moments>,
        },
        WeightGradient { x: Read, dy: Read, scratch: Write },
        /// The same, but that the gradients of the weights stay as they are packed.
        PackedGradient { x: Read, dy: Read, scratch: Write, packed: Write },
        /// Brings such gradients of several convolutions to their places.
        UnpackTogether { every: Vec<Unpacking> },
        InputGradient { dy: Read, packed: Read, scratch: Write, dx: Accumulated, norm: Option<FusedNormBackward> },
    }
}

/// The batch norm that made a convolution's input, if its backward begins in the pass that writes that input's gradient.
#[derive(Clone)]
pub(in crate::plan) struct FusedNormBackward {
    pub norm: Norm,
    pub x: Read,
    /// The norm's output, if something was added before its ReLU.
    pub y: Option<Read>,
    pub saved: Read,
    pub sums: Write,
}

impl Operands for FusedNormBackward {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        let Self { norm: _, x, y, saved, sums } = self;
        x.each(visit);
        y.each(visit);
        saved.each(visit);
        sums.each(visit);
    }
}

/// Weights that a convolution wants packed.
#[derive(Clone)]
pub(in crate::plan) struct Packing {
    pub convolution: Convolution,
    pub packed: Write,
}

/// The gradient of a convolution's weights, packed.
#[derive(Clone)]
pub(in crate::plan) struct Unpacking {
    pub convolution: Convolution,
    pub packed: Read,
}

impl Operands for Packing {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        self.packed.each(visit);
    }
}

impl Operands for Unpacking {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        self.packed.each(visit);
    }
}

impl Convolution {
    /// `sizes` are kernel, stride and padding.
    pub fn lower(site: &Site, out_channels: usize, sizes: [[usize; 2]; 3], groups: usize, bias: bool) -> Result<Self> {
        let [kernel, stride, padding] = sizes;
        let shape = ConvShape {
            in_channels: site.channels(),
            out_channels,
            kernel,
            stride,
            padding,
            groups,
            bias,
            input: site.size(),
            plain_input: site.plain_input,
        };
        let input_range = site.input_range.filter(|_| site.mode.is_inference());
        let kernels = prepared(site.executor, shape, input_range)?;
        let kernels = Arc::new(if site.is_trained() { kernels.for_training() } else { kernels });
        Ok(Self {
            kernels,
            params: site.ranges.params.clone(),
            folded: None,
            relu: false,
            normed: None,
            bias_gradient: None,
            input_range,
        })
    }

    /// The same with a batch norm folded into it.
    pub fn fold(&mut self, executor: &Executor, norm: &Norm) -> Result<()> {
        let shape = ConvShape { bias: true, ..self.kernels.shape().clone() };
        self.kernels = Arc::new(prepared(executor, shape, self.input_range)?);
        self.folded = Some(norm.clone());
        Ok(())
    }

    /// Where its bias is, if it has one.
    pub fn bias(&self) -> Option<Range<usize>> {
        let shape = self.kernels.shape();
        shape.bias.then(|| self.params.start + shape.weight_len()..self.params.end)
    }

    /// Whether the gradient of its bias is not computed: it is zero, or another one.
    fn skips_bias(&self) -> bool {
        self.normed.is_some() || self.bias_gradient.is_some()
    }

    fn scratch(&self, pass: Pass, tape: &mut Tape) -> Write {
        Write(tape.request(Class::Compute, self.kernels.scratch_len(pass, tape.capacity())))
    }

    /// Packs the weights of the forward pass: before each use if they change meanwhile, else beforehand.
    fn pack_forward(&self, wires: &Wires, tape: &mut Tape) -> Read {
        let (pass, packed_len) = (Pass::Forward, self.kernels.packed_len(Pass::Forward));
        if wires.is_trained {
            let packed = tape.request(Class::Compute, packed_len);
            let call = match tape.packs_together() {
                true => {
                    let every = vec![Packing { convolution: self.clone(), packed: Write(packed) }];
                    ConvCall::PackTogether { every }
                }
                false => ConvCall::Pack { pass, folded: None, packed: Write(packed) },
            };
            tape.forward(self, call);
            return Read(packed);
        }
        let folded = self.folded.is_some().then(|| {
            let target = tape.request(Class::Parameter, self.kernels.shape().params_len());
            tape.pack(self, ConvCall::Fold { target: Write(target) });
            Read(target)
        });
        let packed = tape.request(Class::Packed, packed_len);
        tape.pack(self, ConvCall::Pack { pass, folded, packed: Write(packed) });
        Read(packed)
    }

    /// The same for the pass that gives the gradient of the input; `forward` is what is packed for the other.
    fn pack_backward(&self, wires: &Wires, forward: Read, tape: &mut Tape) -> Read {
        let (pass, folded) = (Pass::InputGradient, None);
        if tape.packs_together() && self.folded.is_none() {
            return forward;
        }
        let class = if wires.is_trained { Class::Compute } else { Class::Packed };
        let packed = tape.request(class, self.kernels.packed_len(pass));
        let call = ConvCall::Pack { pass, folded, packed: Write(packed) };
        match wires.is_trained {
            true => tape.backward(self, call),
            false => tape.pack(self, call),
        }
        Read(packed)
    }
}

impl Convolution {
    fn write_weight_gradient(&self, x: Read, dy: Read, tape: &mut Tape) {
        let scratch = self.scratch(Pass::WeightGradient, tape);
        if !tape.packs_together() {
            return tape.backward(self, ConvCall::WeightGradient { x, dy, scratch });
        }
        let packed = tape.request(Class::Compute, self.kernels.packed_len(Pass::WeightGradient));
        tape.backward(self, ConvCall::PackedGradient { x, dy, scratch, packed: Write(packed) });
        let every = vec![Unpacking { convolution: self.clone(), packed: Read(packed) }];
        tape.backward(self, ConvCall::UnpackTogether { every });
    }
}

impl ConvCall {
    /// What a forward pass reads.
    pub fn reads(&self) -> Option<Read> {
        let Self::Forward { x, .. } = self else { return None };
        Some(*x)
    }
}

/// A convolution as a backend runs it.
fn prepared(executor: &Executor, shape: ConvShape, range: Option<InputRange>) -> Result<Conv2d> {
    Ok(match range {
        Some(range) => Conv2d::quantized(executor, shape, range)?,
        None => Conv2d::new(executor, shape)?,
    })
}

impl PlanOp for Convolution {
    type Call = ConvCall;

    fn write<'a>(&'a self, wires: &'a Wires, tape: &mut Tape<'a>) {
        let packed = self.pack_forward(wires, tape);
        let (input, shortcut) = (wires.inputs[0], wires.inputs.get(1).copied());
        let x = Read(tape.value(input));
        let read_shortcut = shortcut.map(|shortcut| Read(tape.value(shortcut)));
        let scratch = self.scratch(Pass::Forward, tape);
        let y = tape.new_value(wires.output);
        let moments = self.normed.as_ref().map(|op| Moments::new(op, tape));
        if let Some(Moments { sums, saved }) = moments {
            tape.set_moments(wires.output, [sums.0, saved.0]);
        }
        tape.forward(self, ConvCall::Forward { x, packed, shortcut: read_shortcut, scratch, y: Write(y), moments });
        tape.on_backward(wires, move |tape, gradient| {
            if self.relu {
                let relu = Activation { shape: tape.shape(wires.output) };
                tape.backward(&relu, ReluCall::Backward { y: Read(y), dy: Write(gradient) });
            }
            let dy = Read(gradient);
            if wires.is_trained {
                self.write_weight_gradient(x, dy, tape);
            }
            tape.accumulate(input, |tape, dx| {
                let packed = self.pack_backward(wires, packed, tape);
                let scratch = self.scratch(Pass::InputGradient, tape);
                tape.backward(self, ConvCall::InputGradient { dy, packed, scratch, dx, norm: None });
            });
            if let Some(shortcut) = shortcut {
                tape.propagate(gradient, shortcut);
            }
        });
    }

    fn run(&self, call: &ConvCall, context: &mut Context) -> resnet_ops::Result<()> {
        let (executor, buffers, n, kernels) = (context.executor, context.buffers, context.n, &*self.kernels);
        let weights = &mut *context.weights;
        let params = weights.parameters.view(self.params.clone());
        match call {
            ConvCall::Fold { target } => {
                let norm = self.folded.as_ref().expect("written where a norm is folded");
                let (norm_params, running) = norm.views(weights);
                let mut target = buffers.write(*target);
                let target = target.view_mut(0..kernels.shape().params_len());
                batch_norm::fold(executor, &norm.op, params, norm_params, running, target)
            }
            ConvCall::Pack { .. } | ConvCall::Forward { .. } | ConvCall::InputGradient { .. } => {
                self.run_together(call, &context.alone()).map(drop)
            }
            ConvCall::PackTogether { every } => {
                let mut packed: Vec<_> = every.iter().map(|packing| buffers.write(packing.packed)).collect();
                let packings = every.iter().zip(&mut packed).map(|(Packing { convolution, .. }, packed)| {
                    let params = weights.parameters.view(convolution.params.clone());
                    conv2d::Packing { conv: &convolution.kernels, params, packed }
                });
                conv2d::pack_together(executor, &mut packings.collect::<Vec<_>>())
            }
            ConvCall::WeightGradient { x, dy, scratch } => {
                let call = conv2d::WeightGradient {
                    n,
                    x: &buffers.read(*x),
                    dy: &buffers.read(*dy),
                    scratch: &mut buffers.write(*scratch),
                    grads: weights.gradients.view_mut(self.params.clone()),
                    skip_bias: self.skips_bias(),
                };
                conv2d::weight_gradient(executor, kernels, call)
            }
            ConvCall::PackedGradient { x, dy, scratch, packed } => {
                let call = conv2d::PackedGradient {
                    n,
                    x: &buffers.read(*x),
                    dy: &buffers.read(*dy),
                    scratch: &mut buffers.write(*scratch),
                    packed: &mut buffers.write(*packed),
                    grads: weights.gradients.view_mut(self.params.clone()),
                    skip_bias: self.skips_bias(),
                };
                conv2d::packed_gradient(executor, kernels, call)
            }
            ConvCall::UnpackTogether { every } => {
                let packed: Vec<_> = every.iter().map(|unpacking| buffers.read(unpacking.packed)).collect();
                let unpackings = every.iter().zip(&packed).map(|(Unpacking { convolution, .. }, packed)| {
                    let (conv, params) = (&*convolution.kernels, convolution.params.clone());
                    let (skip_bias, bias_from) = (convolution.skips_bias(), convolution.bias_gradient);
                    conv2d::Unpacking { conv, packed, params, skip_bias, bias_from }
                });
                conv2d::unpack_together(executor, &unpackings.collect::<Vec<_>>(), &mut weights.gradients)
            }
        }
    }

    /// Shards share packed weights: those that the first has packed of those whose kernels read the same.
    fn run_together(&self, call: &ConvCall, together: &Together) -> resnet_ops::Result<bool> {
        let (Together { executor, parameters, shards }, kernels) = (together, &*self.kernels);
        let params = || parameters.view(self.params.clone());
        let packs = |n: usize| shards.iter().position(|&(_, first)| kernels.packs_alike(first, n)).unwrap_or_default();
        match call {
            ConvCall::Pack { pass, folded, packed } => {
                for (_, &(buffers, n)) in shards.iter().enumerate().filter(|&(index, &(_, n))| packs(n) == index) {
                    let folded = folded.map(|folded| buffers.read(folded));
                    let params =
                        folded.as_ref().map_or(params(), |folded| folded.view(0..kernels.shape().params_len()));
                    conv2d::pack(executor, kernels, n, *pass, params, &mut buffers.write(*packed))?;
                }
            }
            ConvCall::Forward { x, packed, shortcut, scratch, y, moments } => {
                let mut held = Vec::with_capacity(shards.len());
                for &(buffers, n) in shards {
                    let read = [buffers.read(*x), shards[packs(n)].0.read(*packed)];
                    let shortcut = shortcut.map(|shortcut| buffers.read(shortcut));
                    let moments = moments.map(|moments| moments.borrow(buffers));
                    held.push((n, read, shortcut, [buffers.write(*scratch), buffers.write(*y)], moments));
                }
                let calls = held.iter_mut().map(|(n, [x, packed], shortcut, [scratch, y], moments)| conv2d::Forward {
                    n: *n,
                    x,
                    params: params(),
                    packed,
                    scratch,
                    y,
                    shortcut: shortcut.as_deref(),
                    relu: self.relu,
                    moments: self
                        .normed
                        .as_ref()
                        .zip(moments.as_mut())
                        .map(|(op, [sums, saved])| batch_norm::Moments { op, sums, saved }),
                });
                conv2d::forward_together(executor, kernels, calls.collect())?;
            }
            ConvCall::InputGradient { dy, packed, scratch, dx, norm } => {
                let mut held = Vec::with_capacity(shards.len());
                for &(buffers, n) in shards {
                    let norm = norm.as_ref().map(|fused| {
                        let y = fused.y.map(|y| buffers.read(y));
                        (fused, buffers.read(fused.x), y, buffers.read(fused.saved), buffers.write(fused.sums))
                    });
                    let read = [buffers.read(*dy), shards[packs(n)].0.read(*packed)];
                    held.push((n, read, buffers.write(*scratch), buffers.target(*dx), norm));
                }
                let calls = held.iter_mut().map(|(n, [dy, packed], scratch, dx, norm)| conv2d::InputGradient {
                    n: *n,
                    dy,
                    params: params(),
                    packed,
                    scratch,
                    dx: dx.gradient(),
                    norm: norm.as_mut().map(|(fused, x, y, saved, sums)| conv2d::FusedNorm {
                        op: &fused.norm.op,
                        x,
                        params: parameters.view(fused.norm.params.clone()),
                        saved,
                        y: y.as_deref(),
                        sums,
                    }),
                });
                conv2d::input_gradient_together(executor, kernels, calls.collect())?;
            }
            ConvCall::Fold { .. }
            | ConvCall::PackTogether { .. }
            | ConvCall::WeightGradient { .. }
            | ConvCall::PackedGradient { .. }
            | ConvCall::UnpackTogether { .. } => return Ok(false),
        }
        Ok(true)
    }
}
