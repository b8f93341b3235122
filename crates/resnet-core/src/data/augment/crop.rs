//! Cutting an image out of its padded self.

use super::canvas::{Canvas, Redraw, Value};
use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// Pads images on all sides and cuts their size out of that at a random place, as torchvision's `RandomCrop` with padding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// Pixels on each side.
    pub padding: usize,
    /// Value of those pixels, from 0 to 255.
    pub fill: u8,
    /// Whether they mirror the image instead, without its outermost pixels.
    pub reflect: bool,
}

/// An image moved by whole pixels.
struct Moved {
    crop: RandomCrop,
    /// Where the cut begins in the padded image, down and across.
    from: [usize; 2],
}

impl RandomCrop {
    pub(super) fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        let end = 2 * self.padding as u64 + 1;
        let from = [stream.below(end) as usize, stream.below(end) as usize];
        canvas.redraw(&Moved { crop: *self, from });
    }
}

impl Redraw for Moved {
    fn redraw<T: Value>(&self, from: &[T], to: &mut [T], [_, height, width]: [usize; 3]) {
        let RandomCrop { padding, fill, reflect } = self.crop;
        // The row or column of the image that one of the cut shows, if it shows one.
        let seen = |place: usize, side: usize| {
            let place = place as isize - padding as isize;
            let last = side as isize - 1;
            match (place, reflect) {
                (0.., _) if place <= last => Some(place as usize),
                (_, false) => None,
                (..0, true) => Some(-place as usize),
                (0.., true) => Some((2 * last - place) as usize),
            }
        };
        let columns: Vec<_> = (0..width).map(|x| seen(x + self.from[1], width)).collect();
        for (plane, out) in from.chunks_exact(height * width).zip(to.chunks_exact_mut(height * width)) {
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                let Some(row) = seen(y + self.from[0], height) else {
                    out.fill(T::of_byte(fill));
                    continue;
                };
                for (out, column) in out.iter_mut().zip(&columns) {
                    *out = column.map_or(T::of_byte(fill), |column| plane[row * width + column]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_out_of_the_padded_image() {
        let image = [1u8, 2, 3, 4, 5, 6, 7, 8, 9];
        let cut = |padding, reflect, from| {
            let mut out = [0u8; 9];
            Moved { crop: RandomCrop { padding, fill: 50, reflect }, from }.redraw(&image, &mut out, [1, 3, 3]);
            out
        };
        assert_eq!(cut(1, false, [1, 1]), image);
        assert_eq!(cut(1, false, [0, 2]), [50, 50, 50, 2, 3, 50, 5, 6, 50]);
        assert_eq!(cut(2, true, [0, 0]), [9, 8, 7, 6, 5, 4, 3, 2, 1], "without the outermost pixels");
        assert_eq!(cut(2, true, [4, 3]), [8, 9, 8, 5, 6, 5, 2, 3, 2]);
    }
}
