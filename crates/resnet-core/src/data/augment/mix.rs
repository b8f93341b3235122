//! Mixing the images of a batch with each other.

use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// Mixes each image with another of its batch, and the loss of its label with that of the other's (Zhang et al., 2017,
/// <https://arxiv.org/abs/1710.09412>): torchvision's `MixUp` and `CutMix`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixup {
    /// The share of an image follows Beta(alpha, alpha); more than 0.
    pub alpha: f64,
}

/// How the images of one step are mixed, each with the one before it, the first with the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    /// Share of an image's own label.
    pub share: f64,
    /// First and last row and column (exclusive) that come from the other image; of mixup none, there all pixels are mixed.
    pub cut: Option<[usize; 4]>,
}

impl Mixup {
    pub(super) fn draw(&self, cut: bool, [height, width]: [usize; 2], stream: &mut Stream) -> Mixing {
        let share = beta(self.alpha, stream);
        if !cut {
            return Mixing { share, cut: None };
        }
        let (x, y) = (stream.below(width as u64) as f64, stream.below(height as u64) as f64);
        let half = 0.5 * (1.0 - share).sqrt();
        let [half_w, half_h] = [half * width as f64, half * height as f64].map(f64::trunc);
        let span = |middle: f64, half: f64, side: usize| {
            [(middle - half).max(0.0) as usize, ((middle + half) as usize).min(side)]
        };
        let ([left, right], [top, bottom]) = (span(x, half_w, width), span(y, half_h, height));
        // What the other image really covers.
        let share = 1.0 - ((right - left) * (bottom - top)) as f64 / (height * width) as f64;
        Mixing { share, cut: Some([top, bottom, left, right]) }
    }
}

impl Mixing {
    /// Mixes images of this shape, one after the other in `images`.
    pub fn apply(&self, images: &mut [f32], [channels, height, width]: [usize; 3]) {
        let len = channels * height * width;
        let Some(last) = images.chunks_exact(len).next_back() else { return };
        let first_other = last.to_vec();
        let count = images.len() / len;
        for index in (0..count).rev() {
            let (before, from) = images.split_at_mut(index * len);
            let other = if index == 0 { &first_other[..] } else { &before[(index - 1) * len..] };
            self.mix(&mut from[..len], other, [height, width]);
        }
    }

    fn mix(&self, image: &mut [f32], other: &[f32], [height, width]: [usize; 2]) {
        match self.cut {
            None => {
                let (share, rest) = (self.share as f32, (1.0 - self.share) as f32);
                image.iter_mut().zip(other).for_each(|(value, other)| *value = *value * share + *other * rest);
            }
            Some([top, bottom, left, right]) => {
                let area = height * width;
                for (plane, other) in image.chunks_exact_mut(area).zip(other.chunks_exact(area)) {
                    for row in top..bottom {
                        let range = row * width + left..row * width + right;
                        plane[range.clone()].copy_from_slice(&other[range]);
                    }
                }
            }
        }
    }
}

/// A draw of Beta(alpha, alpha).
fn beta(alpha: f64, stream: &mut Stream) -> f64 {
    let [a, b] = [gamma_log(alpha, stream), gamma_log(alpha, stream)];
    1.0 / (1.0 + (b - a).exp())
}

/// The logarithm of a draw of Gamma(alpha), which may be too small for a number (Marsaglia and Tsang, 2000).
fn gamma_log(alpha: f64, stream: &mut Stream) -> f64 {
    if alpha < 1.0 {
        let unit = 1.0 - stream.between(0.0, 1.0);
        return gamma_log(alpha + 1.0, stream) + unit.ln() / alpha;
    }
    let d = alpha - 1.0 / 3.0;
    loop {
        let x = stream.normal(1.0);
        let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
        let unit = 1.0 - stream.between(0.0, 1.0);
        if v > 0.0 && unit.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{stream, Purpose};

    #[test]
    fn each_image_is_mixed_with_the_one_before_it() {
        let images: Vec<f32> = (0..3 * 4).map(|i| i as f32).collect();
        let mut mixed = images.clone();
        Mixing { share: 0.75, cut: None }.apply(&mut mixed, [1, 2, 2]);
        for i in 0..12 {
            assert_eq!(mixed[i], images[i] * 0.75 + images[(i + 8) % 12] * 0.25);
        }
        let mut cut = images.clone();
        Mixing { share: 0.5, cut: Some([0, 1, 0, 2]) }.apply(&mut cut, [1, 2, 2]);
        assert_eq!(cut, [8.0, 9.0, 2.0, 3.0, 0.0, 1.0, 6.0, 7.0, 4.0, 5.0, 10.0, 11.0]);
    }

    #[test]
    fn shares_follow_beta() {
        for (alpha, variance) in [(0.2, 0.25 / 1.4), (1.0, 1.0 / 12.0), (3.0, 0.25 / 7.0)] {
            let mut numbers = stream(5, Purpose::Mix, 1, 1);
            let draws: Vec<f64> =
                (0..20_000).map(|_| Mixup { alpha }.draw(false, [8, 8], &mut numbers).share).collect();
            let mean = draws.iter().sum::<f64>() / 2e4;
            let found = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 2e4;
            assert!((mean - 0.5).abs() < 0.01 && (found / variance - 1.0).abs() < 0.05, "{alpha}: {mean} {found}");
        }
    }

    #[test]
    fn a_cut_s_share_is_what_is_left() {
        let mut numbers = stream(5, Purpose::Mix, 1, 2);
        for _ in 0..200 {
            let Mixing { share, cut } = Mixup { alpha: 1.0 }.draw(true, [20, 30], &mut numbers);
            let [top, bottom, left, right] = cut.unwrap();
            assert!(bottom <= 20 && right <= 30 && top <= bottom && left <= right);
            assert_eq!(share, 1.0 - ((bottom - top) * (right - left)) as f64 / 600.0);
        }
    }
}
