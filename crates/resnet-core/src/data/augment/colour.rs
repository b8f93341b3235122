//! Random changes of colours.

use super::canvas::Canvas;
use super::tone::Tone;
use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// Changes brightness, contrast, saturation and hue, in random order: torchvision's `ColorJitter` on Pillow's images. The first three
/// numbers are most of a factor's distance from 1; the last is most of a turn, up to 0.5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// Of brightness.
    pub brightness: f64,
    /// Of contrast.
    pub contrast: f64,
    /// Of saturation.
    pub saturation: f64,
    /// Of hue.
    pub hue: f64,
}

impl ColorJitter {
    pub(super) fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        let mut order = [0, 1, 2, 3];
        for last in (1..4).rev() {
            order.swap(last, stream.below(last as u64 + 1) as usize);
        }
        for which in order {
            let mut factor = |most: f64| stream.between((1.0 - most).max(0.0), 1.0 + most);
            let tone = match which {
                0 if self.brightness > 0.0 => Tone::Brightness(factor(self.brightness)),
                1 if self.contrast > 0.0 => Tone::Contrast(factor(self.contrast)),
                2 if self.saturation > 0.0 => Tone::Saturation(factor(self.saturation)),
                3 if self.hue > 0.0 => Tone::Hue(stream.between(-self.hue, self.hue)),
                _ => continue,
            };
            tone.apply(canvas);
        }
    }
}
