//! Erasing a rectangle.

use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// Erases a random rectangle of an image as a batch holds it, so after it was normalised: torchvision's `RandomErasing` (Zhong et al.,
/// 2017, <https://arxiv.org/abs/1708.04896>).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasing {
    /// How often.
    pub p: f64,
    /// Least and most of the image's area.
    pub scale: [f64; 2],
    /// Least and most of height over width.
    pub ratio: [f64; 2],
    /// What the rectangle is filled with; noise of mean 0 and deviation 1 if absent.
    pub value: Option<f64>,
}

impl Erasing {
    pub(super) fn apply(&self, image: &mut [f32], [_, height, width]: [usize; 3], stream: &mut Stream) {
        if !stream.chance(self.p) {
            return;
        }
        let Some([top, left, h, w]) = self.draw([height, width], stream) else { return };
        for plane in image.chunks_exact_mut(height * width) {
            for row in plane.chunks_exact_mut(width).skip(top).take(h) {
                match self.value {
                    Some(value) => row[left..left + w].fill(value as f32),
                    None => stream.fill_normal(1.0, &mut row[left..left + w]),
                }
            }
        }
    }

    /// First row and column, height and width; None if no rectangle is found in ten tries.
    fn draw(&self, [height, width]: [usize; 2], stream: &mut Stream) -> Option<[usize; 4]> {
        let (area, logs) = ((height * width) as f64, self.ratio.map(f64::ln));
        (0..10).find_map(|_| {
            let erased = area * stream.between(self.scale[0], self.scale[1]);
            let ratio = stream.between(logs[0], logs[1]).exp();
            let h = (erased * ratio).sqrt().round_ties_even() as usize;
            let w = (erased / ratio).sqrt().round_ties_even() as usize;
            (h < height && w < width).then(|| {
                let top = stream.below((height - h + 1) as u64) as usize;
                [top, stream.below((width - w + 1) as u64) as usize, h, w]
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{stream, Purpose};

    #[test]
    fn a_rectangle_and_nothing_else_is_erased() {
        let erasing = Erasing { p: 0.75, scale: [0.1, 0.2], ratio: [0.5, 2.0], value: Some(-7.0) };
        let mut erased = 0;
        for sample in 0..400 {
            let mut image: Vec<f32> = (0..3 * 20 * 30).map(|i| i as f32).collect();
            erasing.apply(&mut image, [3, 20, 30], &mut stream(3, Purpose::Augment, 1, sample));
            let gone: Vec<usize> = (0..600).filter(|&i| image[i] == -7.0).collect();
            for (i, &value) in image.iter().enumerate() {
                let expected = if gone.contains(&(i % 600)) { -7.0 } else { i as f32 };
                assert_eq!(value, expected, "all channels alike");
            }
            let (Some(first), Some(last)) = (gone.first(), gone.last()) else { continue };
            let sides = [last / 30 - first / 30 + 1, last % 30 - first % 30 + 1];
            assert_eq!(sides[0] * sides[1], gone.len());
            assert!((50..=130).contains(&gone.len()), "{}", gone.len());
            erased += 1;
        }
        assert!((260..340).contains(&erased), "{erased}");
    }

    #[test]
    fn without_a_value_it_is_noise() {
        let erasing = Erasing { p: 1.0, scale: [0.5, 0.5], ratio: [1.0, 1.0], value: None };
        let mut image = vec![100.0; 100 * 100];
        erasing.apply(&mut image, [1, 100, 100], &mut stream(3, Purpose::Augment, 1, 0));
        let noise: Vec<f32> = image.into_iter().filter(|&value| value < 50.0).collect();
        let mean = noise.iter().sum::<f32>() / noise.len() as f32;
        let square = noise.iter().map(|value| value * value).sum::<f32>() / noise.len() as f32;
        assert!(noise.len() == 71 * 71 && mean.abs() < 0.05 && (0.9..1.1).contains(&square), "{mean} {square}");
    }
}
