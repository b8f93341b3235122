//! Bringing images to another size.

use crate::data::pixels::{scale, PixelsRef};
use crate::error::{Code, Error, Result};
use resnet_ops::resample::{
    fixed_point, pillow_goes_down_first, pillow_windows, torch_windows, Double, Fixed, Passes, ResidentImages, Single,
};
use resnet_ops::Executor;
use serde::Deserialize;

/// The largest height or width: one such plane is a gibibyte of f32.
const MAX_SIDE: usize = 1 << 14;

/// Refuses a height and width that no image is brought to.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT`.
pub(in crate::data) fn check_size(parameter: &str, [height, width]: [usize; 2]) -> Result<()> {
    if [height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        return Ok(());
    }
    let expected = format!("a height and width from 1 to {MAX_SIDE}");
    Err(Error::expected(Code::InvalidArgument, parameter, expected, format!("{height}x{width}")))
}

/// Bringing images to another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Height and width of the result, each from 1 to 16384.
    pub size: [usize; 2],
    /// How the pixels between pixels are found.
    pub interpolation: Interpolation,
}

/// How the pixels between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// As the `resize` of Pillow 13 with `BILINEAR`, bit for bit: antialiased when shrinking; 8-bit pixels (mode `L`, or each
    /// channel of `RGB`) are rounded to 8 bits after each pass, f32 pixels (mode `F`) are not. Earlier versions always go
    /// across first, so they round otherwise where an image loses more than twice as much height as width.
    Pil,
    /// As PyTorch's `interpolate` with `mode="bilinear"`, `align_corners=False` and without antialiasing, on f32 pixels.
    Float,
}

/// A [`Resize`] with its windows and weights for one input size.
pub(super) struct Resizer {
    resize: Resize,
    input: [usize; 2],
    tables: Tables,
}

enum Tables {
    Pil { bytes: Passes<Fixed>, floats: Passes<Double> },
    Float(Passes<Single>),
}

/// Memory that resizing needs, kept from image to image.
#[derive(Default)]
pub(super) struct ResizeScratch {
    bytes: [Vec<u8>; 2],
    floats: [Vec<f32>; 2],
}

impl Resizer {
    /// The tables for images of `input` height and width, both at least 1.
    pub fn new(resize: Resize, input: [usize; 2]) -> Result<Self> {
        check_size("resize", resize.size)?;
        let [height, width] = resize.size;
        let tables = match resize.interpolation {
            Interpolation::Pil => {
                let (down, across) = (pillow_windows(input[0], height), pillow_windows(input[1], width));
                let down_first = pillow_goes_down_first(input, resize.size);
                let bytes = Passes { down: fixed_point(&down), across: fixed_point(&across), down_first };
                Tables::Pil { bytes, floats: Passes { down, across, down_first } }
            }
            Interpolation::Float => {
                let (down, across) = (torch_windows(input[0], height), torch_windows(input[1], width));
                Tables::Float(Passes { down, across, down_first: false })
            }
        };
        Ok(Self { resize, input, tables })
    }

    /// Resizes the planes of an image; bytes are scaled to \[0, 1\].
    pub fn apply(&self, image: PixelsRef, out: &mut [f32], scratch: &mut ResizeScratch) {
        match (image, &self.tables) {
            (PixelsRef::U8(image), Tables::Pil { bytes, .. }) => {
                let [work, resized] = &mut scratch.bytes;
                for (plane, out) in self.planes(image, out) {
                    resized.resize(out.len(), 0);
                    bytes.run(plane, self.input[0], resized, work);
                    scale(resized, out);
                }
            }
            (PixelsRef::U8(image), Tables::Float(passes)) => {
                let [work, scaled] = &mut scratch.floats;
                for (plane, out) in self.planes(image, out) {
                    scaled.resize(plane.len(), 0.0);
                    scale(plane, scaled);
                    passes.run(scaled, self.input[0], out, work);
                }
            }
            (PixelsRef::F32(image), Tables::Pil { floats, .. }) => {
                for (plane, out) in self.planes(image, out) {
                    floats.run(plane, self.input[0], out, &mut scratch.floats[0]);
                }
            }
            (PixelsRef::F32(image), Tables::Float(passes)) => {
                for (plane, out) in self.planes(image, out) {
                    passes.run(plane, self.input[0], out, &mut scratch.floats[0]);
                }
            }
        }
    }

    /// Whether images of bytes stay bytes.
    pub fn keeps_bytes(&self) -> bool {
        matches!(self.tables, Tables::Pil { .. })
    }

    /// Resizes the planes of an image of bytes to bytes, as [`Self::apply`] does before it scales; false where it does not go through bytes.
    pub fn apply_to_bytes(&self, image: PixelsRef, out: &mut Vec<u8>, scratch: &mut ResizeScratch) -> bool {
        let (PixelsRef::U8(image), Tables::Pil { bytes, .. }) = (image, &self.tables) else { return false };
        let ([input, output], len) = ([self.input, self.resize.size].map(|[h, w]| h * w), image.len());
        out.resize(len / input * output, 0);
        for (plane, out) in image.chunks_exact(input).zip(out.chunks_exact_mut(output)) {
            bytes.run(plane, self.input[0], out, &mut scratch.bytes[0]);
        }
        true
    }

    /// Images (N, C, H, W) of shape `image` on the GPU that computes, to be resized when a batch is made of them; None if no GPU
    /// computes, or if it has not the room.
    pub fn resident(
        &self,
        executor: &Executor,
        images: PixelsRef,
        image: [usize; 3],
    ) -> Result<Option<ResidentImages>> {
        Ok(match (images, &self.tables) {
            (PixelsRef::U8(images), Tables::Pil { bytes, .. }) => {
                ResidentImages::resampled(executor, images, image, bytes)?
            }
            (PixelsRef::U8(images), Tables::Float(passes)) => {
                ResidentImages::resampled(executor, images, image, passes)?
            }
            (PixelsRef::F32(images), Tables::Pil { floats, .. }) => {
                ResidentImages::resampled(executor, images, image, floats)?
            }
            (PixelsRef::F32(images), Tables::Float(passes)) => {
                ResidentImages::resampled(executor, images, image, passes)?
            }
        })
    }

    fn planes<'a, T>(&self, image: &'a [T], out: &'a mut [f32]) -> impl Iterator<Item = (&'a [T], &'a mut [f32])> {
        let area = |[height, width]: [usize; 2]| height * width;
        image.chunks_exact(area(self.input)).zip(out.chunks_exact_mut(area(self.resize.size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resize_u8(interpolation: Interpolation, input: [usize; 2], size: [usize; 2], image: &[u8]) -> Vec<f32> {
        let resizer = Resizer::new(Resize { size, interpolation }, input).unwrap();
        let mut out = vec![f32::NAN; image.len() / (input[0] * input[1]) * size[0] * size[1]];
        resizer.apply(PixelsRef::U8(image), &mut out, &mut ResizeScratch::default());
        out
    }

    #[test]
    fn pil_rounds_to_bytes_after_each_pass() {
        // By hand: across (0, 255) gives 0, 63.75, 191.25, 255, kept as 0, 64, 191, 255.
        let out = resize_u8(Interpolation::Pil, [1, 2], [1, 4], &[0, 255]);
        assert_eq!(out, [0.0, 64.0, 191.0, 255.0].map(|byte: f32| byte / 255.0));
        // Down from rows 0 and (0, 64, 191, 255): 0.75 * 0 + 0.25 * 191 = 47.75, kept as 48.
        let out = resize_u8(Interpolation::Pil, [2, 2], [4, 4], &[0, 0, 0, 255]);
        assert_eq!(out[4..8], [0.0, 16.0, 48.0, 64.0].map(|byte: f32| byte / 255.0));
    }

    #[test]
    fn pil_averages_when_shrinking_and_float_does_not() {
        let stripes = [0, 200, 0, 200, 0, 200, 0, 200];
        let pil = resize_u8(Interpolation::Pil, [1, 8], [1, 2], &stripes);
        assert!(pil.iter().all(|&value| (value * 255.0 - 100.0).abs() < 20.0), "{pil:?}");
        let float = resize_u8(Interpolation::Float, [1, 8], [1, 2], &stripes);
        assert_eq!(float, [0.5 * 200.0 / 255.0; 2]);
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let image: Vec<u8> = (0..=255).collect();
        let mut scaled = vec![0.0; 256];
        scale(&image, &mut scaled);
        assert_eq!(scaled[51], 0.2);
        for interpolation in [Interpolation::Pil, Interpolation::Float] {
            assert_eq!(resize_u8(interpolation, [16, 16], [16, 16], &image), scaled);
        }
    }

    #[test]
    fn channels_do_not_mix() {
        let first: Vec<u8> = (0..12).map(|i| i * 20).collect();
        let second: Vec<u8> = (0..12).map(|i| 255 - i * i).collect();
        let both = [first.clone(), second.clone()].concat();
        for interpolation in [Interpolation::Pil, Interpolation::Float] {
            let alone = [&first, &second].map(|image| resize_u8(interpolation, [3, 4], [5, 2], image));
            assert_eq!(resize_u8(interpolation, [3, 4], [5, 2], &both), alone.concat());
        }
    }

    #[test]
    fn one_scratch_serves_all_sizes_and_kinds() {
        let mut scratch = ResizeScratch::default();
        let image: Vec<u8> = (0..200).collect();
        for (input, size) in [([10, 20], [3, 7]), ([2, 5], [40, 1]), ([1, 1], [3, 3])] {
            for interpolation in [Interpolation::Pil, Interpolation::Float] {
                let image = &image[..input[0] * input[1]];
                let resizer = Resizer::new(Resize { size, interpolation }, input).unwrap();
                let mut out = vec![f32::NAN; size[0] * size[1]];
                resizer.apply(PixelsRef::U8(image), &mut out, &mut scratch);
                assert_eq!(out, resize_u8(interpolation, input, size, image));
            }
        }
    }

    #[test]
    fn refuses_sizes_out_of_range() {
        for size in [[0, 96], [96, 0], [1 << 20, 96], [96, usize::MAX]] {
            let resize = Resize { size, interpolation: Interpolation::Pil };
            let error = Resizer::new(resize, [28, 28]).err().unwrap();
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.starts_with("resize: expected a height and width from 1 to 16384, got "), "{error}");
        }
    }
}
