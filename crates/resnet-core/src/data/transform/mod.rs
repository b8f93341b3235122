//! What is done to an image on its way into a batch.
//!
//! A transform is a file here with its settings and one function of an image; a variant of [`Transform`], as it is asked for, and one of
//! `Stage`, as it is applied to images of one shape.

mod normalise;
mod resize;

pub use normalise::Normalise;
pub use resize::{Interpolation, Resize};

pub(super) use resize::check_size;

use super::pixels::PixelsRef;
use crate::error::{Code, Error, Result};
use resize::{ResizeScratch, Resizer};
use resnet_ops::resample::ResidentImages;
use resnet_ops::Executor;
use serde::Deserialize;

/// Something that is done to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Transform {
    /// It is brought to another size.
    Resize(Resize),
}

/// Transforms, one after the other, of images of one shape.
pub(super) struct Transforms {
    /// With the shape of what each makes.
    stages: Vec<(Stage, [usize; 3])>,
    input: [usize; 3],
}

enum Stage {
    Resize(Resizer),
}

/// Memory that transforms need, kept from image to image.
#[derive(Default)]
pub(super) struct TransformScratch {
    /// The image after each stage but the last.
    between: Vec<Vec<f32>>,
    resize: ResizeScratch,
}

impl Transform {
    /// The transforms of a list such as `[{"type":"resize","size":[96,96],"interpolation":"pil"}]`, in its order.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn list_from_json(json: &str) -> Result<Vec<Self>> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("transforms: {error}")))
    }
}

impl Transforms {
    /// No transforms of images of this shape: channels, height and width.
    pub fn none(input: [usize; 3]) -> Self {
        Self { stages: Vec::new(), input }
    }

    /// The transforms of images of this shape. What would leave them as they are is left out.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a size is out of range.
    pub fn new(list: &[Transform], input: [usize; 3]) -> Result<Self> {
        let mut transforms = Self::none(input);
        for transform in list {
            let [channels, height, width] = transforms.output();
            match *transform {
                Transform::Resize(resize) if resize.size == [height, width] => {}
                Transform::Resize(resize) => {
                    let stage = Stage::Resize(Resizer::new(resize, [height, width])?);
                    transforms.stages.push((stage, [channels, resize.size[0], resize.size[1]]));
                }
            }
        }
        Ok(transforms)
    }

    /// Channels, height and width of what they make.
    pub fn output(&self) -> [usize; 3] {
        self.stages.last().map_or(self.input, |(_, output)| *output)
    }

    /// Writes what becomes of an image to `out`, which has the length of the output. Bytes are scaled to \[0, 1\].
    pub fn apply(&self, image: PixelsRef, out: &mut [f32], scratch: &mut TransformScratch) {
        let Some(((last, _), others)) = self.stages.split_last() else { return image.write(out) };
        let TransformScratch { between, resize } = scratch;
        between.resize_with(others.len().max(between.len()), Vec::new);
        let mut image = image;
        for ((stage, shape), out) in others.iter().zip(between) {
            out.resize(shape.iter().product(), 0.0);
            stage.apply(image, out, resize);
            image = PixelsRef::F32(out);
        }
        last.apply(image, out, resize);
    }

    /// Writes what becomes of an image of bytes to `out` as bytes; false, and nothing is written, where it does not stay bytes.
    pub fn apply_to_bytes(&self, image: PixelsRef, out: &mut Vec<u8>, scratch: &mut TransformScratch) -> bool {
        match (&self.stages[..], image) {
            ([], PixelsRef::U8(image)) => {
                out.clear();
                out.extend_from_slice(image);
                true
            }
            ([(Stage::Resize(resizer), _)], image) => resizer.apply_to_bytes(image, out, &mut scratch.resize),
            ([], PixelsRef::F32(_)) | ([_, _, ..], _) => false,
        }
    }

    /// Whether images of bytes stay bytes.
    pub fn keep_bytes(&self) -> bool {
        match &self.stages[..] {
            [] => true,
            [(Stage::Resize(resizer), _)] => resizer.keeps_bytes(),
            [_, _, ..] => false,
        }
    }

    /// The images on the GPU that computes, where they are transformed when a batch is made of them; None if no GPU computes, if it
    /// has not the room, or if it cannot do these transforms.
    pub fn resident(&self, executor: &Executor, images: PixelsRef) -> Result<Option<ResidentImages>> {
        Ok(match (&self.stages[..], images) {
            ([], PixelsRef::U8(images)) => ResidentImages::new(executor, images, self.input)?,
            ([], PixelsRef::F32(images)) => ResidentImages::new(executor, images, self.input)?,
            ([(Stage::Resize(resizer), _)], images) => resizer.resident(executor, images, self.input)?,
            ([_, _, ..], _) => None,
        })
    }
}

impl Stage {
    fn apply(&self, image: PixelsRef, out: &mut [f32], scratch: &mut ResizeScratch) {
        match self {
            Self::Resize(resizer) => resizer.apply(image, out, scratch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [u8; 12] = [0, 40, 80, 120, 160, 200, 250, 210, 170, 130, 90, 50];

    fn resize(size: [usize; 2], interpolation: Interpolation) -> Transform {
        Transform::Resize(Resize { size, interpolation })
    }

    fn applied(list: &[Transform], input: [usize; 3], image: PixelsRef) -> Vec<f32> {
        let transforms = Transforms::new(list, input).unwrap();
        let mut out = vec![f32::NAN; transforms.output().iter().product()];
        transforms.apply(image, &mut out, &mut TransformScratch::default());
        out
    }

    #[test]
    fn json_gives_the_list_in_its_order() {
        let json = r#"[{"type":"resize","size":[96,64],"interpolation":"pil"},
                       {"type":"resize","size":[3,5],"interpolation":"float"}]"#;
        let expected = [resize([96, 64], Interpolation::Pil), resize([3, 5], Interpolation::Float)];
        assert_eq!(Transform::list_from_json(json).unwrap(), expected);
        assert_eq!(Transform::list_from_json("[]").unwrap(), []);
        for (from, to) in
            [("resize", "rotate"), ("size", "sides"), ("float", "cubic"), ("[3,5]", "[3]"), ("[3,5]", "3")]
        {
            let error = Transform::list_from_json(&json.replace(from, to)).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.starts_with("transforms: "), "{error}");
        }
    }

    #[test]
    fn without_transforms_bytes_are_scaled_and_numbers_stay() {
        let scaled = IMAGE.map(|byte| f32::from(byte) / 255.0);
        assert_eq!(applied(&[], [3, 2, 2], PixelsRef::U8(&IMAGE)), scaled);
        let numbers = [-1.5, 300.0, f32::INFINITY, 0.1];
        assert_eq!(applied(&[], [1, 2, 2], PixelsRef::F32(&numbers)), numbers);
        let same = resize([2, 2], Interpolation::Pil);
        assert!(Transforms::new(&[same], [3, 2, 2]).unwrap().stages.is_empty());
    }

    #[test]
    fn each_transform_works_on_what_the_one_before_it_made() {
        let [first, second, third] =
            [([5, 7], Interpolation::Pil), ([4, 2], Interpolation::Float), ([9, 9], Interpolation::Pil)]
                .map(|(size, interpolation)| resize(size, interpolation));
        let once = applied(&[first], [2, 2, 3], PixelsRef::U8(&IMAGE));
        let twice = applied(&[second], [2, 5, 7], PixelsRef::F32(&once));
        let thrice = applied(&[third], [2, 4, 2], PixelsRef::F32(&twice));
        assert_eq!(applied(&[first, second], [2, 2, 3], PixelsRef::U8(&IMAGE)), twice);
        assert_eq!(applied(&[first, second, third], [2, 2, 3], PixelsRef::U8(&IMAGE)), thrice);
    }

    #[test]
    fn one_scratch_serves_all_lists() {
        let [first, second] = [[5, 7], [4, 2]].map(|size| resize(size, Interpolation::Pil));
        let mut scratch = TransformScratch::default();
        for list in [&[first, second][..], &[], &[second], &[second, first, second], &[first, second]] {
            let transforms = Transforms::new(list, [2, 2, 3]).unwrap();
            let mut out = vec![f32::NAN; transforms.output().iter().product()];
            transforms.apply(PixelsRef::U8(&IMAGE), &mut out, &mut scratch);
            assert_eq!(out, applied(list, [2, 2, 3], PixelsRef::U8(&IMAGE)));
        }
    }
}
