//! Showing a random part of a picture.

use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// A random part of a picture, brought to the network's size: torchvision's `RandomResizedCrop`. It is cut from the picture as it came,
/// whatever the data set's `fit`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCrop {
    /// Least and most of the picture's area.
    pub scale: [f64; 2],
    /// Least and most of width over height.
    pub ratio: [f64; 2],
}

impl ResizedCrop {
    /// First row and column, height and width of a part of a picture of this height and width.
    pub(in crate::data) fn draw(&self, [height, width]: [usize; 2], stream: &mut Stream) -> [usize; 4] {
        let area = (height * width) as f64;
        let logs = self.ratio.map(f64::ln);
        for _ in 0..10 {
            let target = area * stream.between(self.scale[0], self.scale[1]);
            let ratio = stream.between(logs[0], logs[1]).exp();
            let w = (target * ratio).sqrt().round_ties_even() as usize;
            let h = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = stream.below((height - h + 1) as u64) as usize;
                return [top, stream.below((width - w + 1) as u64) as usize, h, w];
            }
        }
        // The middle, in the nearest ratio that is allowed.
        let ratio = (width as f64 / height as f64).clamp(self.ratio[0], self.ratio[1]);
        let w = ((height as f64 * ratio).round_ties_even() as usize).clamp(1, width);
        let h = ((width as f64 / ratio).round_ties_even() as usize).clamp(1, height);
        [(height - h) / 2, (width - w) / 2, h, w]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{stream, Purpose};

    #[test]
    fn parts_are_inside_and_of_the_sizes_and_ratios_asked_for() {
        let crop = ResizedCrop { scale: [0.25, 0.5], ratio: [0.75, 4.0 / 3.0] };
        let (mut places, mut areas) = (Vec::new(), Vec::new());
        for sample in 0..1000 {
            let [top, left, h, w] = crop.draw([300, 400], &mut stream(1, Purpose::Augment, 1, sample));
            assert!(top + h <= 300 && left + w <= 400);
            areas.push((h * w) as f64 / 120_000.0);
            assert!((0.74..1.35).contains(&(w as f64 / h as f64)), "{w}x{h}");
            places.push(top);
        }
        assert!(areas.iter().all(|area| (0.245..0.505).contains(area)));
        let mean = areas.iter().sum::<f64>() / 1000.0;
        assert!((0.36..0.39).contains(&mean), "{mean}");
        assert!(places.contains(&0) && places.iter().any(|&top| top > 100));
    }

    #[test]
    fn where_no_part_fits_it_is_the_middle() {
        let crop = ResizedCrop { scale: [1.0, 1.0], ratio: [0.75, 4.0 / 3.0] };
        assert_eq!(crop.draw([10, 1000], &mut stream(1, Purpose::Augment, 1, 1)), [0, 493, 10, 13]);
        assert_eq!(crop.draw([1, 1], &mut stream(1, Purpose::Augment, 1, 1)), [0, 0, 1, 1]);
    }
}
