//! One random change of random strength.

use super::affine::{AffineMatrix, Mapped, Sampling};
use super::canvas::Canvas;
use super::tone::Tone;
use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// TrivialAugment Wide (Müller and Hutter, 2021, <https://arxiv.org/abs/2103.10158>): one of 14 changes, each as probable, with one of 31
/// strengths, as torchvision's `TrivialAugmentWide` on Pillow's images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrivialAugment {
    /// How the pixels between pixels are found.
    pub sampling: Sampling,
    /// Value, from 0 to 255, of what comes from outside the image.
    pub fill: u8,
}

/// One of the changes, with its strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    Identity,
    ShearX(f64),
    ShearY(f64),
    TranslateX(f64),
    TranslateY(f64),
    Rotate(f64),
    Tone(Tone),
}

/// Strengths of each change.
const BINS: u64 = 31;

impl TrivialAugment {
    pub(super) fn apply(&self, canvas: &mut Canvas, stream: &mut Stream) {
        let (which, bin) = (stream.below(14), stream.below(BINS));
        let negative = stream.chance(0.5);
        self.change(Change::of(which, bin, negative), canvas);
    }

    pub(super) fn change(&self, change: Change, canvas: &mut Canvas) {
        let [_, height, width] = canvas.shape;
        let middle = [width as f64 * 0.5, height as f64 * 0.5];
        let shear = |x, y| AffineMatrix::inverse([0.0; 2], 0.0, [0.0; 2], 1.0, [x, y]);
        let matrix = match change {
            Change::Identity => return,
            Change::Tone(tone) => return tone.apply(canvas),
            Change::ShearX(strength) => shear(strength.atan().to_degrees(), 0.0),
            Change::ShearY(strength) => shear(0.0, strength.atan().to_degrees()),
            Change::TranslateX(by) => AffineMatrix::inverse(middle, 0.0, [by.trunc(), 0.0], 1.0, [0.0; 2]),
            Change::TranslateY(by) => AffineMatrix::inverse(middle, 0.0, [0.0, by.trunc()], 1.0, [0.0; 2]),
            // Degrees against the clock, where a matrix turns with it.
            Change::Rotate(degrees) => AffineMatrix::inverse(middle, -degrees, [0.0; 2], 1.0, [0.0; 2]),
        };
        canvas.redraw(&Mapped { matrix, sampling: self.sampling, fill: self.fill });
    }
}

impl Change {
    /// The change with this number, from 0 to 13, and strength, from 0 to 30; some have a sign.
    pub fn of(which: u64, bin: u64, negative: bool) -> Self {
        // As PyTorch's linspace rounds, from both ends.
        let along = |from: f32, to: f32| {
            let step = (to - from) / (BINS - 1) as f32;
            f64::from(if bin < BINS / 2 { from + step * bin as f32 } else { to - step * (BINS - 1 - bin) as f32 })
        };
        let signed = |most: f32| if negative { -along(0.0, most) } else { along(0.0, most) };
        match which {
            0 => Self::Identity,
            1 => Self::ShearX(signed(0.99)),
            2 => Self::ShearY(signed(0.99)),
            3 => Self::TranslateX(signed(32.0)),
            4 => Self::TranslateY(signed(32.0)),
            5 => Self::Rotate(signed(135.0)),
            6 => Self::Tone(Tone::Brightness(1.0 + signed(0.99))),
            7 => Self::Tone(Tone::Saturation(1.0 + signed(0.99))),
            8 => Self::Tone(Tone::Contrast(1.0 + signed(0.99))),
            9 => Self::Tone(Tone::Sharpness(1.0 + signed(0.99))),
            10 => Self::Tone(Tone::Posterize(8 - (bin as f64 / 5.0).round_ties_even() as u32)),
            11 => Self::Tone(Tone::Solarize(along(255.0, 0.0))),
            12 => Self::Tone(Tone::AutoContrast),
            _ => Self::Tone(Tone::Equalize),
        }
    }
}
