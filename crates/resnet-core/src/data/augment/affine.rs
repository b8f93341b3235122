//! Turning, moving, scaling and shearing, in one pass.

use super::canvas::{Canvas, Redraw, Value};
use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// Turns, moves, scales and shears images at random around their middle: torchvision's `RandomAffine` on Pillow's images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Most degrees, to either side.
    pub degrees: f64,
    /// Most of width and of height, to either side, from 0 to 1.
    pub translate: [f64; 2],
    /// Least and most times the size.
    pub scale: [f64; 2],
    /// Most degrees across and down, to either side.
    pub shear: [f64; 2],
    /// How the pixels between pixels are found.
    pub sampling: Sampling,
    /// Value, from 0 to 255, of what comes from outside the image.
    pub fill: u8,
}

/// How the pixels between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The nearest one.
    Nearest,
    /// Weighted by the distance to four.
    Bilinear,
}

/// Where each pixel comes from: x is 0, 1, 2 and y is 3, 4, 5 of (x, y, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineMatrix(pub [f64; 6]);

/// An image seen through a matrix, as Pillow's `transform` with `AFFINE` shows it.
pub(super) struct Mapped {
    pub matrix: AffineMatrix,
    pub sampling: Sampling,
    pub fill: u8,
}

impl Affine {
    pub(super) fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        let [_, height, width] = canvas.shape;
        let mut either = |most: f64| stream.between(-most, most);
        let angle = either(self.degrees);
        let [x, y] = [self.translate[0] * width as f64, self.translate[1] * height as f64]
            .map(|most| either(most).round_ties_even());
        let shear = self.shear.map(&mut either);
        let scale = stream.between(self.scale[0], self.scale[1]);
        let center = [width as f64 * 0.5, height as f64 * 0.5];
        let matrix = AffineMatrix::inverse(center, angle, [x, y], scale, shear);
        canvas.redraw(&Mapped { matrix, sampling: self.sampling, fill: self.fill });
    }
}

impl AffineMatrix {
    /// For an image that is turned by `angle` degrees clockwise, sheared, scaled and moved, as torchvision's `affine` has it.
    pub fn inverse([cx, cy]: [f64; 2], angle: f64, [tx, ty]: [f64; 2], scale: f64, shear: [f64; 2]) -> Self {
        let (turn, [sx, sy]) = (angle.to_radians(), shear.map(f64::to_radians));
        let a = (turn - sy).cos() / sy.cos();
        let b = -(turn - sy).cos() * sx.tan() / sy.cos() - turn.sin();
        let c = (turn - sy).sin() / sy.cos();
        let d = -(turn - sy).sin() * sx.tan() / sy.cos() + turn.cos();
        let [a, b, c, d] = [d / scale, -b / scale, -c / scale, a / scale];
        let x = a * (-cx - tx) + b * (-cy - ty) + cx;
        let y = c * (-cx - tx) + d * (-cy - ty) + cy;
        Self([a, b, x, c, d, y])
    }
}

impl Redraw for Mapped {
    fn redraw<T: Value>(&self, from: &[T], to: &mut [T], [_, height, width]: [usize; 3]) {
        let area = height * width;
        let fill = T::of_byte(self.fill);
        match self.sampling {
            Sampling::Bilinear => {
                for (plane, out) in from.chunks_exact(area).zip(to.chunks_exact_mut(area)) {
                    self.bilinear(plane, out, [height, width], fill);
                }
            }
            Sampling::Nearest => {
                let places = self.nearest([height, width]);
                for (plane, out) in from.chunks_exact(area).zip(to.chunks_exact_mut(area)) {
                    for (out, place) in out.iter_mut().zip(&places) {
                        *out = plane.get(*place as usize).copied().unwrap_or(fill);
                    }
                }
            }
        }
    }
}

impl Mapped {
    fn bilinear<T: Value>(&self, plane: &[T], out: &mut [T], [height, width]: [usize; 2], fill: T) {
        let AffineMatrix([a, b, c, d, e, f]) = self.matrix;
        let (w, h) = (width as f64, height as f64);
        let clipped = |place: f64, side: usize| (place.max(0.0) as usize).min(side - 1);
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let down = y as f64 + 0.5;
            for (x, out) in out.iter_mut().enumerate() {
                let across = x as f64 + 0.5;
                let [px, py] = [a * across + b * down + c, d * across + e * down + f];
                if !(px >= 0.0 && px < w && py >= 0.0 && py < h) {
                    *out = fill;
                    continue;
                }
                let [px, py] = [px - 0.5, py - 0.5];
                let [x0, y0] = [px.floor(), py.floor()];
                let (dx, dy) = (px - x0, py - y0);
                let columns = [clipped(x0, width), clipped(x0 + 1.0, width)];
                let row = |row: usize| {
                    let [left, right] = columns.map(|column| plane[row * width + column].to_f64());
                    left + (right - left) * dx
                };
                let upper = row(clipped(y0, height));
                let lower = if y0 + 1.0 < h { row(clipped(y0 + 1.0, height)) } else { upper };
                *out = T::of(upper + (lower - upper) * dy);
            }
        }
    }

    /// The place of each pixel's origin in a plane, or one beyond all; in fixed point where Pillow computes so.
    fn nearest(&self, [height, width]: [usize; 2]) -> Vec<u32> {
        let AffineMatrix([a, b, c, d, e, f]) = self.matrix;
        let place = |x: i64, y: i64| match (0..width as i64).contains(&x) && (0..height as i64).contains(&y) {
            true => (y * width as i64 + x) as u32,
            false => u32::MAX,
        };
        if b == 0.0 && d == 0.0 {
            let along = |from: f64, step: f64, side: usize| -> Vec<i64> {
                let mut at = from + step * 0.5;
                let next = |_| {
                    let place = if at < 0.0 { -1 } else { at as i64 };
                    at += step;
                    place
                };
                (0..side).map(next).collect()
            };
            let (columns, rows) = (along(c, a, width), along(f, e, height));
            return rows.iter().flat_map(|&y| columns.iter().map(move |&x| place(x, y))).collect();
        }
        let fixed = |value: f64| (value * 65536.0 + if value < 0.0 { -0.5 } else { 0.5 }) as i64;
        let [across, down] = [[a, d].map(fixed), [b, e].map(fixed)];
        let [x0, y0] = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
        let pixels = (0..height as i64).flat_map(|y| (0..width as i64).map(move |x| (x, y)));
        pixels
            .map(|(x, y)| place((x0 + x * across[0] + y * down[0]) >> 16, (y0 + x * across[1] + y * down[1]) >> 16))
            .collect()
    }
}
