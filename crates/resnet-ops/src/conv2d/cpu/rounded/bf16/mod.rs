//! Training and inference with operands rounded to bf16.

pub(super) mod pack;
pub(super) mod round;
mod weights;

use super::choice;
use super::operands::Operands;
use super::outputs::OutputSweep;
use crate::algorithm::Pass;
use crate::conv2d::call::WeightGradient;
use crate::conv2d::cpu::call::OutputsCall;
use crate::conv2d::shape::ConvShape;
use crate::executor::Cpu;
use crate::{Bf16Products, Result};
use weights::WeightSweep;

/// What depends on the shape alone.
pub(in crate::conv2d) struct Bf16 {
    shape: ConvShape,
    products: Bf16Products,
    threads: usize,
    forward: Option<OutputSweep>,
    input_gradient: Option<OutputSweep>,
    weight_gradient: Option<WeightSweep>,
}

impl Bf16 {
    /// None where it is not defined or not to be used.
    pub(in crate::conv2d::cpu) fn new(cpu: &Cpu, shape: &ConvShape) -> Option<Self> {
        let products = cpu.bf16_products()?;
        let takes = |pass| choice::takes(cpu, products, shape, pass);
        let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient];
        let operands = Operands::Bf16(products);
        passes.into_iter().any(takes).then(|| Self {
            shape: shape.clone(),
            products,
            threads: cpu.pool.threads(),
            forward: takes(Pass::Forward).then(|| OutputSweep::new(shape, Pass::Forward, operands)),
            input_gradient: takes(Pass::InputGradient).then(|| OutputSweep::new(shape, Pass::InputGradient, operands)),
            weight_gradient: takes(Pass::WeightGradient).then(|| WeightSweep::new(shape)),
        })
    }

    /// Whether it is the one to run a pass.
    pub(in crate::conv2d::cpu) fn takes(&self, pass: Pass) -> bool {
        match pass {
            Pass::Forward | Pass::InputGradient => self.sweep(pass).is_some(),
            Pass::WeightGradient => self.weight_gradient.is_some(),
        }
    }

    fn sweep(&self, pass: Pass) -> Option<&OutputSweep> {
        match pass {
            Pass::Forward => self.forward.as_ref(),
            Pass::InputGradient => self.input_gradient.as_ref(),
            Pass::WeightGradient => None,
        }
    }

    pub(in crate::conv2d::cpu) fn packed_len(&self, pass: Pass) -> usize {
        self.sweep(pass).map_or(0, |_| pack::packed_len(&self.shape, pass))
    }

    pub(in crate::conv2d::cpu) fn scratch_len(&self, pass: Pass, n: usize) -> usize {
        match pass {
            Pass::Forward | Pass::InputGradient => {
                self.sweep(pass).map_or(0, |sweep| sweep.scratch_len(self.threads, n))
            }
            Pass::WeightGradient => self.weight_gradient.as_ref().map_or(0, |sweep| sweep.scratch_len(self.threads, n)),
        }
    }

    /// Writes the weights that a pass other than the weight gradient reads, and the bias.
    pub(in crate::conv2d::cpu) fn pack(&self, cpu: &Cpu, pass: Pass, params: &[f32], packed: &mut [f32]) {
        pack::pack(cpu, self.products, &self.shape, pass, params, packed);
    }

    /// Computes every target pixel.
    pub(in crate::conv2d::cpu) fn outputs(&self, cpu: &Cpu, call: &OutputsCall, scratch: &mut [f32]) {
        self.sweep(call.pass).expect("a pass that it takes").run(cpu, call, scratch);
    }

    /// Writes the gradients of weights and bias.
    pub(in crate::conv2d::cpu) fn weight_gradient(&self, cpu: &Cpu, call: WeightGradient) -> Result<()> {
        self.weight_gradient.as_ref().expect("a pass that it takes").run(cpu, self.products, call)
    }
}
