//! The matrices whose product the gradient of the weights is, and what they are made from.

use super::WeightSweep;
use crate::blocked::LANES;
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::cpu::map::Map;
use crate::conv2d::cpu::rounded::bf16::round::{self, NOWHERE};
use crate::conv2d::cpu::rounded::tile::{ROW, SLACK};
use crate::Bf16Products;

/// Pixels of a row of A.
const PIXELS: usize = 2 * ROW;

/// The matrices of some images, or of a part of them.
pub(super) struct Matrices {
    pub(super) images: usize,
    /// The first of the images' rows of A.
    pub(super) first: usize,
    /// Rows of A for each channel, and of B for each block.
    pub(super) chunks: usize,
    pub(super) pairs: usize,
    /// Whether there is a B for odd distances.
    pub(super) odd: bool,
}

/// Where in the maps the places of both matrices are.
pub(super) struct Places {
    /// Of each plane.
    x: Vec<Vec<usize>>,
    dy: Vec<usize>,
}

impl WeightSweep {
    /// Those of some images.
    pub(super) fn matrices(&self, images: usize) -> Matrices {
        let chunks = (images * self.image + self.ahead).div_ceil(PIXELS);
        let odd = self.taps.iter().any(|tap| tap.distance % 2 == 1);
        Matrices { images, first: 0, chunks, pairs: chunks * ROW + self.ahead / 2, odd }
    }

    /// One of the parts of matrices; none is larger than the last.
    pub(super) fn part(&self, whole: &Matrices, part: usize, parts: usize) -> Matrices {
        let (first, end) = (whole.chunks * part / parts, whole.chunks * (part + 1) / parts);
        let (chunks, pairs) = (end - first, (end - first) * ROW + self.ahead / 2);
        Matrices { first, chunks, pairs, ..*whole }
    }

    pub(super) fn a_len(&self, matrices: &Matrices) -> usize {
        (matrices.chunks * self.planes() * self.inputs * LANES + SLACK) * ROW
    }

    pub(super) fn b_len(&self, matrices: &Matrices) -> usize {
        (1 + usize::from(matrices.odd)) * self.outputs * matrices.pairs * ROW
    }

    /// Blocks of channels of both matrices, of each plane and each B.
    pub(super) fn blocks(&self, matrices: &Matrices) -> usize {
        self.planes() * self.inputs + (1 + usize::from(matrices.odd)) * self.outputs
    }

    /// Writes a share of a block of channels of either matrix.
    pub(super) unsafe fn round(
        &self,
        products: Bf16Products,
        matrices: &Matrices,
        places: &Places,
        [x, dy]: [&[f32]; 2],
        [a, b]: [&Disjoint; 2],
        block: usize,
        [share, shares]: [usize; 2],
    ) {
        let Matrices { first: first_chunk, chunks, pairs, .. } = *matrices;
        let blocks_of_a = self.planes() * self.inputs;
        if let Some(block) = block.checked_sub(blocks_of_a) {
            let (shift, block) = (block / self.outputs, block % self.outputs);
            let (first, end) = (pairs * share / shares, pairs * (share + 1) / shares);
            let places = &places.dy[2 * (first_chunk * ROW + first) + 1 - shift..][..2 * (end - first)];
            // SAFETY: the caller grants the rows, and each place is a pixel's.
            unsafe {
                let rows = b.at(((shift * self.outputs + block) * pairs + first) * ROW);
                round::pairs(products, dy[block * self.dy.block..].as_ptr(), places, rows);
            }
            return;
        }
        let (plane, x) = (block / self.inputs, x[block % self.inputs * self.x.block..].as_ptr());
        for chunk in chunks * share / shares..chunks * (share + 1) / shares {
            // SAFETY: as above.
            unsafe {
                let rows = a.at((chunk * blocks_of_a + block) * LANES * ROW);
                round::channels(products, x, &places.x[plane][(first_chunk + chunk) * PIXELS..][..PIXELS], rows);
            }
        }
    }

    pub(super) fn places(&self, matrices: &Matrices) -> Places {
        let Matrices { images, chunks, pairs, .. } = *matrices;
        let x = (0..self.planes()).map(|plane| self.x_places(plane, images, chunks * PIXELS)).collect();
        Places { x, dy: self.dy_places(images, 2 * pairs + 1) }
    }

    /// Where in x, counted from a block's first pixel of the first image, each of `len` places of a plane is.
    fn x_places(&self, plane: usize, images: usize, len: usize) -> Vec<usize> {
        let [down, across] = &self.axes;
        let (line_plane, pixel_plane) = (plane / across.planes, plane % across.planes);
        let mut places = vec![NOWHERE; len];
        for image in 0..images {
            for line in 0..down.stored(line_plane) {
                let first = image * self.image + (down.lead + line) * self.pitch + across.lead;
                let start = image * self.x.image + (line_plane + line * down.step) * self.x.line;
                for pixel in 0..across.stored(pixel_plane) {
                    places[first + pixel] = start + (pixel_plane + pixel * across.step) * self.x.pixel;
                }
            }
        }
        places
    }

    /// Where in dy each place is, from one before the first on.
    fn dy_places(&self, images: usize, len: usize) -> Vec<usize> {
        let [height, width] = self.shape.output();
        let mut places = vec![NOWHERE; len];
        for image in 0..images {
            for line in 0..height {
                let first = 1 + self.ahead + image * self.image + line * self.pitch;
                let start = image * self.dy.image + line * self.dy.line;
                for pixel in 0..width {
                    places[first + pixel] = start + pixel * self.dy.pixel;
                }
            }
        }
        places
    }

    /// What of both maps is rounded for matrices of the images from one on.
    pub(super) fn stretches<'a>(
        &self,
        (image, matrices, places): (usize, Matrices, &Places),
        [x, dy]: [&'a [f32]; 2],
    ) -> [Vec<&'a [f32]>; 2] {
        let Matrices { images, first, chunks, pairs, .. } = matrices;
        let stretches = |map: &'a [f32], of: &Map, blocks: usize, places: &[usize]| {
            let map = &map[image * of.image..(image + images) * of.image];
            let mut there = places.iter().copied().filter(|&place| place != NOWHERE);
            if images > 1 {
                return vec![map];
            }
            let Some(start) = there.next() else { return Vec::new() };
            let end = there.next_back().unwrap_or(start) + LANES;
            (0..blocks).map(|block| &map[block * of.block..][start..end]).collect()
        };
        [
            stretches(x, &self.x, self.inputs, &places.x[0][first * PIXELS..][..chunks * PIXELS]),
            stretches(dy, &self.dy, self.outputs, &places.dy[2 * first * ROW..][..2 * pairs]),
        ]
    }
}
