//! Mirroring.

use super::canvas::{Canvas, Redraw, Value};
use super::Streams;
use serde::{Deserialize, Serialize};

/// Mirrors images, left to right unless `vertical`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// How often.
    pub p: f64,
    /// Whether top becomes bottom.
    pub vertical: bool,
    /// Whether each image is mirrored in every second epoch, beginning with the first or the second by chance, instead of by `p`
    /// (Jordan, 2024, <https://arxiv.org/abs/2404.00498>).
    pub alternating: bool,
}

impl Flip {
    pub(super) fn apply(&self, canvas: &mut Canvas, streams: &mut Streams) {
        let turned = match self.alternating {
            true => (streams.stable.bits() ^ streams.epoch) & 1 == 1,
            false => streams.varying.chance(self.p),
        };
        if turned {
            canvas.redraw(self);
        }
    }
}

impl Redraw for Flip {
    fn redraw<T: Value>(&self, from: &[T], to: &mut [T], [_, height, width]: [usize; 3]) {
        for (plane, out) in from.chunks_exact(height * width).zip(to.chunks_exact_mut(height * width)) {
            let rows = plane.chunks_exact(width);
            if self.vertical {
                rows.rev().zip(out.chunks_exact_mut(width)).for_each(|(row, out)| out.copy_from_slice(row));
            } else {
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    row.iter().rev().zip(out).for_each(|(&value, out)| *out = value);
                }
            }
        }
    }
}
