//! What a weight gradient multiplies: V and D, and their products.

use super::pack::PAIR;
use super::prefetch::Prefetch;
use super::tiles::Planes;
use super::{gemm, Winograd};
use crate::blocked::LANES;
use crate::executor::Cpu;
use std::ops::Range;

/// V and D of some tiles.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    pub(super) v: Planes,
    pub(super) d: Planes,
}

impl Winograd {
    /// Floats of V and D of so many tiles.
    pub(super) fn factors_len(&self, tiles: usize) -> usize {
        self.tiling.size.points() * (Planes::plane(self.input, tiles) + Planes::plane(self.output, tiles))
    }

    /// Where V and D of `tiles` tiles are, in a workspace for `at_once`.
    pub(super) fn factors(&self, workspace: *mut f32, at_once: usize, tiles: usize) -> Factors {
        let planes = |start, blocks| Planes { start, point: Planes::plane(blocks, at_once), block: tiles * LANES };
        let v = planes(workspace, self.input);
        Factors { v, d: planes(workspace.wrapping_add(self.tiling.size.points() * v.point), self.output) }
    }

    /// dU (+)= Vᵀ · D at one point of the weights, over some tiles, between all blocks of C and some of K.
    pub(super) fn multiply(
        &self,
        cpu: &Cpu,
        factors: Factors,
        weights: usize,
        tiles: usize,
        k: Range<usize>,
        sums: *mut f32,
        mut accumulate: bool,
        mut prefetch: [Prefetch; 2],
    ) {
        for point in self.tiling.size.points_of(weights) {
            let at = |planes: Planes, block| planes.start.wrapping_add(point * planes.point + block * planes.block);
            let product = gemm::WeightsProduct {
                v: at(factors.v, 0),
                v_block: factors.v.block,
                v_blocks: self.input,
                d: at(factors.d, k.start),
                d_block: factors.d.block,
                d_blocks: k.len(),
                tiles,
                u: sums,
                u_block: self.input * PAIR,
                accumulate,
                prefetch: std::mem::replace(&mut prefetch, [Prefetch::NOTHING; 2]),
            };
            gemm::weights(cpu.isa, &product);
            accumulate = true;
        }
    }
}
