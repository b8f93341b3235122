//! Changing images at random, each time they are trained on.
//!
//! An augmentation is a file here with its settings and one function of an image and a stream of random numbers, which is named by seed,
//! epoch and sample, so that neither threads nor order can matter.

mod affine;
mod canvas;
mod colour;
mod crop;
mod erasing;
mod flip;
mod mix;
mod resized_crop;
mod tone;
mod trivial;

pub use affine::{Affine, AffineMatrix, Sampling};
pub use colour::ColorJitter;
pub use crop::RandomCrop;
pub use erasing::Erasing;
pub use flip::Flip;
pub use mix::{Mixing, Mixup};
pub use resized_crop::ResizedCrop;
pub use trivial::TrivialAugment;

pub(super) use canvas::Canvas;

use crate::error::{Code, Error, Result};
use crate::rng::{stream, Purpose, Stream};
use serde::{Deserialize, Serialize};

/// A way to change images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Augmentation {
    /// See [`Flip`].
    Flip(Flip),
    /// See [`RandomCrop`].
    RandomCrop(RandomCrop),
    /// See [`ResizedCrop`].
    ResizedCrop(ResizedCrop),
    /// See [`Affine`].
    Affine(Affine),
    /// See [`ColorJitter`].
    ColorJitter(ColorJitter),
    /// See [`TrivialAugment`].
    TrivialAugment(TrivialAugment),
    /// See [`Erasing`].
    Erasing(Erasing),
    /// See [`Mixup`].
    Mixup(Mixup),
    /// The same with a rectangle of the other image (Yun et al., 2019, <https://arxiv.org/abs/1905.04899>).
    Cutmix(Mixup),
}

/// Augmentations, one after the other; what erases comes after all that changes colours, what mixes images comes last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Augment {
    list: Vec<Augmentation>,
}

/// The random numbers of one sample.
pub(super) struct Streams {
    /// Of this epoch.
    pub varying: Stream,
    /// The same in all epochs.
    pub stable: Stream,
    pub epoch: u64,
}

impl Augment {
    /// The augmentations of a list such as `[{"type":"flip","p":0.5,"vertical":false,"alternating":false}]`, in its order.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("augment: {error}")))
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Refuses what does not fit images of this shape (C, H, W), which are bytes or numbers.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check(&self, [channels, height, width]: [usize; 3], bytes: bool) -> Result<()> {
        let refused = |index: usize, expected: String, got: String| {
            Err(Error::expected(Code::InvalidArgument, &format!("augment[{index}]"), expected, got))
        };
        for (index, augmentation) in self.list.iter().enumerate() {
            let needs_bytes = match augmentation {
                Augmentation::Flip(_) | Augmentation::Affine(_) | Augmentation::Erasing(_) => false,
                Augmentation::Mixup(_) | Augmentation::Cutmix(_) => {
                    let is_mixing =
                        |other: &&Augmentation| matches!(other, Augmentation::Mixup(_) | Augmentation::Cutmix(_));
                    if self.list.iter().filter(is_mixing).count() > 2 {
                        return refused(index, "at most one mixup and one cutmix".into(), "more".into());
                    }
                    false
                }
                Augmentation::RandomCrop(crop) => {
                    if crop.reflect && crop.padding >= height.min(width) {
                        let expected = format!("a padding below {} with mode \"reflect\"", height.min(width));
                        return refused(index, expected, crop.padding.to_string());
                    }
                    false
                }
                Augmentation::ResizedCrop(_) => {
                    if index > 0 {
                        return refused(index, "resizedCrop as the first of the list".into(), "it later".into());
                    }
                    true
                }
                Augmentation::ColorJitter(_) | Augmentation::TrivialAugment(_) => {
                    if ![1, 3].contains(&channels) {
                        return refused(index, "images of 1 or 3 channels".into(), format!("{channels}"));
                    }
                    true
                }
            };
            if needs_bytes && !bytes {
                let expected = "images of bytes (a Uint8Array, not resized with interpolation \"float\")";
                return refused(index, expected.into(), "images of numbers".into());
            }
        }
        Ok(())
    }

    /// The random numbers of a sample in an epoch, which counts from 1.
    pub(super) fn streams(&self, seed: u64, epoch: u64, sample: u64) -> Streams {
        let [varying, stable] = [epoch, 0].map(|epoch| stream(seed, Purpose::Augment, epoch, sample));
        Streams { varying, stable, epoch }
    }

    /// The section that the list begins with, which is taken from the picture as it came.
    pub(super) fn resized_crop(&self) -> Option<ResizedCrop> {
        match self.list.first() {
            Some(Augmentation::ResizedCrop(crop)) => Some(*crop),
            Some(_) | None => None,
        }
    }

    /// Changes an image, but for what [`Self::resized_crop`] gives and [`Self::finish`] does.
    pub(super) fn apply(&self, canvas: &mut Canvas, streams: &mut Streams) {
        for augmentation in &self.list {
            match augmentation {
                Augmentation::Flip(flip) => flip.apply(canvas, streams),
                Augmentation::RandomCrop(crop) => crop.apply(canvas, &mut streams.varying),
                Augmentation::Affine(affine) => affine.apply(canvas, &mut streams.varying),
                Augmentation::ColorJitter(jitter) => jitter.apply(canvas, &mut streams.varying),
                Augmentation::TrivialAugment(trivial) => trivial.apply(canvas, &mut streams.varying),
                Augmentation::ResizedCrop(_)
                | Augmentation::Erasing(_)
                | Augmentation::Mixup(_)
                | Augmentation::Cutmix(_) => {}
            }
        }
    }

    /// Changes an image (C, H, W) as a batch holds it.
    pub(super) fn finish(&self, image: &mut [f32], shape: [usize; 3], streams: &mut Streams) {
        for augmentation in &self.list {
            if let Augmentation::Erasing(erasing) = augmentation {
                erasing.apply(image, shape, &mut streams.varying);
            }
        }
    }

    /// How the images of a step are mixed: by one of mixup and cutmix, if both are in the list by either as often.
    pub(super) fn mixing(&self, seed: u64, epoch: u64, step: u64, size: [usize; 2]) -> Option<Mixing> {
        let ways: Vec<(Mixup, bool)> = self
            .list
            .iter()
            .filter_map(|augmentation| match augmentation {
                Augmentation::Mixup(mixup) => Some((*mixup, false)),
                Augmentation::Cutmix(mixup) => Some((*mixup, true)),
                Augmentation::Flip(_)
                | Augmentation::RandomCrop(_)
                | Augmentation::ResizedCrop(_)
                | Augmentation::Affine(_)
                | Augmentation::ColorJitter(_)
                | Augmentation::TrivialAugment(_)
                | Augmentation::Erasing(_) => None,
            })
            .collect();
        let mut stream = stream(seed, Purpose::Mix, epoch, step);
        let (mixup, cut) = match ways[..] {
            [] => return None,
            [way] => way,
            [..] => ways[stream.below(ways.len() as u64) as usize],
        };
        Some(mixup.draw(cut, size, &mut stream))
    }
}

#[cfg(test)]
mod tests;
