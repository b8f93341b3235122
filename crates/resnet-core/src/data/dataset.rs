//! Images with their labels, in memory.

use super::pixels::Pixels;
use super::transform::{Transform, TransformScratch, Transforms};
use crate::error::{Code, Error, Result};
use resnet_ops::resample::ResidentImages;
use resnet_ops::Executor;
use std::fmt;
use std::sync::Arc;

/// Images with their labels. Clones and parts of it share the images.
#[derive(Clone)]
pub struct Dataset {
    samples: Arc<Samples>,
    len: usize,
    transforms: Arc<Transforms>,
}

/// At least one image, all of one size, with a label each, which is below the number of classes; a name for each class or none.
pub(super) struct Samples {
    pub pixels: Pixels,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    pub labels: Vec<u32>,
    pub num_classes: usize,
    pub class_names: Option<Vec<String>>,
}

impl Dataset {
    /// A data set of samples that were checked where they came in.
    pub(super) fn new(samples: Samples) -> Self {
        let transforms = Arc::new(Transforms::none(samples.image));
        Self { len: samples.labels.len(), samples: Arc::new(samples), transforms }
    }

    /// Number of samples, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Channels, height and width of an image as batches hold it.
    pub fn image_shape(&self) -> [usize; 3] {
        self.transforms.output()
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.samples.num_classes
    }

    /// Names of the classes, if they were given.
    pub fn class_names(&self) -> Option<&[String]> {
        self.samples.class_names.as_deref()
    }

    /// Labels of all samples.
    pub fn labels(&self) -> &[u32] {
        &self.samples.labels[..self.len]
    }

    /// The first `count` samples, or all if there are fewer.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if `count` is 0.
    pub fn take(&self, count: usize) -> Result<Self> {
        if count == 0 {
            return Err(Error::expected(Code::InvalidArgument, "count", "at least 1", 0));
        }
        Ok(Self { len: count.min(self.len), ..self.clone() })
    }

    /// The same samples with these transforms in place of those they had: each is applied, in this order, when a batch is made.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if one does not fit the images.
    pub fn with_transforms(&self, transforms: &[Transform]) -> Result<Self> {
        let transforms = Arc::new(Transforms::new(transforms, self.samples.image)?);
        Ok(Self { transforms, ..self.clone() })
    }

    /// The images on the GPU that computes; None if none does, if it has not the room or cannot transform them.
    pub(super) fn resident(&self, executor: &Executor) -> Result<Option<ResidentImages>> {
        let len = self.len * self.samples.image.iter().product::<usize>();
        self.transforms.resident(executor, self.samples.pixels.part(0..len))
    }

    /// Writes the samples at `indices` as a batch: images (N, C, H, W) of [`Self::image_shape`] and labels (N).
    ///
    /// # Errors
    /// `ERR_SHAPE` if the slices have other lengths, `ERR_INVALID_ARGUMENT` if an index is outside the set.
    pub fn fill(&self, indices: &[usize], images: &mut [f32], labels: &mut [u32]) -> Result<()> {
        let out_len: usize = self.image_shape().iter().product();
        if indices.len().checked_mul(out_len) != Some(images.len()) {
            let expected = format!("{} images of {out_len} values", indices.len());
            return Err(Error::expected(Code::Shape, "images", expected, format!("{} values", images.len())));
        }
        if labels.len() != indices.len() {
            return Err(Error::expected(Code::Shape, "labels", indices.len(), labels.len()));
        }
        if let Some((i, index)) = indices.iter().enumerate().find(|(_, &index)| index >= self.len) {
            let (name, expected) = (format!("indices[{i}]"), format!("an index below {}", self.len));
            return Err(Error::expected(Code::InvalidArgument, &name, expected, index));
        }
        let image_len: usize = self.samples.image.iter().product();
        let mut scratch = TransformScratch::default();
        for ((&index, out), label) in indices.iter().zip(images.chunks_exact_mut(out_len)).zip(labels) {
            let range = index * image_len..(index + 1) * image_len;
            self.transforms.apply(self.samples.pixels.part(range), out, &mut scratch);
            *label = self.samples.labels[index];
        }
        Ok(())
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let [channels, height, width] = self.image_shape();
        let classes = self.num_classes();
        write!(formatter, "Dataset({} images of {channels}x{height}x{width}, {classes} classes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interpolation, Resize};
    use super::*;

    fn bytes(shape: [usize; 4], labels: &[u32]) -> Dataset {
        let pixels = (0..shape.iter().product()).map(|i: usize| i as u8).collect();
        Dataset::from_arrays(Pixels::U8(pixels), shape, labels.to_vec(), None).unwrap()
    }

    fn batch(data: &Dataset, indices: &[usize]) -> (Vec<f32>, Vec<u32>) {
        let mut images = vec![f32::NAN; indices.len() * data.image_shape().iter().product::<usize>()];
        let mut labels = vec![u32::MAX; indices.len()];
        data.fill(indices, &mut images, &mut labels).unwrap();
        (images, labels)
    }

    fn resize(size: [usize; 2], interpolation: Interpolation) -> Transform {
        Transform::Resize(Resize { size, interpolation })
    }

    fn names(count: usize) -> Option<Vec<String>> {
        Some((0..count).map(|class| format!("class {class}")).collect())
    }

    #[test]
    fn fills_in_the_order_of_the_indices() {
        let data = bytes([3, 1, 1, 2], &[4, 5, 6]);
        assert_eq!((data.len(), data.image_shape(), data.num_classes()), (3, [1, 1, 2], 7));
        assert_eq!(data.class_names(), None);
        let expected = [4.0, 5.0, 0.0, 1.0, 4.0, 5.0].map(|byte: f32| byte / 255.0);
        assert_eq!(batch(&data, &[2, 0, 2]), (expected.to_vec(), vec![6, 4, 6]));
    }

    #[test]
    fn floats_stay_as_they_are() {
        let pixels = vec![-1.5, 300.0, f32::MAX, 0.1];
        let data = Dataset::from_arrays(Pixels::F32(pixels.clone()), [2, 2, 1, 1], vec![0, 1], names(3)).unwrap();
        assert_eq!(batch(&data, &[0, 1]).0, pixels);
        assert_eq!(data.num_classes(), 3);
        assert_eq!(data.class_names().unwrap()[2], "class 2");
    }

    #[test]
    fn a_part_shares_the_images_and_keeps_the_classes() {
        let data = bytes([4, 1, 2, 2], &[0, 1, 2, 9]);
        let part = data.take(2).unwrap();
        assert!(Arc::ptr_eq(&part.samples, &data.samples));
        assert_eq!((part.len(), part.labels(), part.num_classes()), (2, &[0, 1][..], 10));
        assert_eq!(part.take(100).unwrap().len(), 2);
        assert_eq!(data.take(0).unwrap_err().message, "count: expected at least 1, got 0");
        let error = part.fill(&[2], &mut [0.0; 4], &mut [0]).unwrap_err();
        assert_eq!(error.message, "indices[0]: expected an index below 2, got 2");
    }

    #[test]
    fn resizes_when_a_batch_is_made() {
        let data = bytes([2, 2, 3, 3], &[0, 1]);
        for interpolation in [Interpolation::Pil, Interpolation::Float] {
            let resized = data.with_transforms(&[resize([6, 4], interpolation)]).unwrap();
            assert_eq!(resized.image_shape(), [2, 6, 4]);
            let (images, labels) = batch(&resized, &[1, 0]);
            assert_eq!(labels, [1, 0]);
            // The second image's first and last corner pixels, which growing keeps.
            assert_eq!((images[0], images[47]), (18.0 / 255.0, 35.0 / 255.0));
            assert_eq!(batch(&resized.with_transforms(&[]).unwrap(), &[1]), batch(&data, &[1]));
        }
        let same = resize([3, 3], Interpolation::Pil);
        assert_eq!(batch(&data.with_transforms(&[same]).unwrap(), &[1]), batch(&data, &[1]));
        let none = resize([0, 4], Interpolation::Pil);
        assert_eq!(data.with_transforms(&[none]).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn float_pixels_are_resized_without_rounding() {
        let data = Dataset::from_arrays(Pixels::F32(vec![0.0, 1.0]), [1, 1, 1, 2], vec![0], None).unwrap();
        for interpolation in [Interpolation::Pil, Interpolation::Float] {
            let resized = data.with_transforms(&[resize([1, 4], interpolation)]).unwrap();
            assert_eq!(batch(&resized, &[0]).0, [0.0, 0.25, 0.75, 1.0]);
        }
    }

    #[test]
    fn refuses_slices_of_other_lengths() {
        let data = bytes([2, 1, 2, 2], &[0, 1]);
        let error = data.fill(&[0, 1], &mut [0.0; 4], &mut [0; 2]).unwrap_err();
        assert_eq!(error.message, "images: expected 2 images of 4 values, got 4 values");
        assert_eq!(data.fill(&[0], &mut [0.0; 4], &mut [0; 2]).unwrap_err().code, Code::Shape);
    }
}
