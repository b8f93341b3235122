//! Data sets of images that are in memory already.

use crate::data::classes::check_class_names;
use crate::data::dataset::{Dataset, Samples};
use crate::data::labels::Labels;
use crate::data::pixels::Pixels;
use crate::error::{named, Code, Error, Result};

impl Dataset {
    /// A data set of images of shape (N, C, H, W), all sizes at least 1, with a label each, or any number. Labels count from 0 and are below
    /// the number of class names; without class names the largest label tells the number of classes.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there are no images or no class names in the list, or a pixel is NaN or infinite, of which every epoch
    /// would fail; `ERR_SHAPE` if lengths do not fit the shape, `ERR_LABEL` if a label is outside the classes.
    pub fn from_arrays(
        images: Pixels,
        shape: [usize; 4],
        labels: impl Into<Labels>,
        class_names: Option<Vec<String>>,
    ) -> Result<Self> {
        let labels = labels.into();
        let [count, channels, height, width] = shape;
        if count == 0 {
            return Err(Error::expected(Code::InvalidArgument, "images", "at least one image", "none"));
        }
        if shape.contains(&0) {
            return Err(Error::expected(Code::Shape, "shape", "sizes of at least 1", format!("{shape:?}")));
        }
        let total = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if total != Some(images.len()) {
            let expected = format!("as many values as shape {shape:?} has");
            return Err(Error::expected(Code::Shape, "images", expected, images.len()));
        }
        labels.check("labels")?;
        if labels.len() != count {
            return Err(Error::expected(
                Code::Shape,
                "labels",
                format!("one for each of {count} images"),
                labels.len(),
            ));
        }
        if class_names.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::expected(Code::InvalidArgument, "classNames", "at least one name", "none"));
        }
        class_names.as_deref().map_or(Ok(()), check_class_names)?;
        let num_classes = count_of_classes(&labels, class_names.as_deref())?;
        if let Some((index, pixel)) = images.non_finite() {
            let (name, got) = (format!("images[{index}]"), named(pixel.into()));
            return Err(Error::expected(Code::InvalidArgument, &name, "a finite number", got));
        }
        let image = [channels, height, width];
        Ok(Self::new(Samples { pixels: images, image, labels, num_classes, class_names }))
    }
}

/// As many as there are names, or what the labels say.
fn count_of_classes(labels: &Labels, names: Option<&[String]>) -> Result<usize> {
    match labels {
        Labels::Single(labels) => {
            let largest = labels.iter().max().map_or(0, |&label| label as usize);
            let count = names.map_or(largest + 1, <[String]>::len);
            match labels.iter().position(|&label| label as usize >= count) {
                Some(index) => {
                    let (name, expected) = (format!("labels[{index}]"), format!("a class below {count}"));
                    Err(Error::expected(Code::Label, &name, expected, labels[index]))
                }
                None => Ok(count),
            }
        }
        Labels::Multi { classes, .. } => match names.map(<[String]>::len).filter(|count| count != classes) {
            Some(got) => {
                let expected = format!("a name for each of {classes} classes");
                Err(Error::expected(Code::Shape, "classNames", expected, got))
            }
            None => Ok(*classes),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn refuses_arrays_that_do_not_fit() {
        let made = |pixels, shape, labels: &[u32], classes| {
            let error = Dataset::from_arrays(pixels, shape, labels.to_vec(), classes).unwrap_err();
            (error.code, error.message)
        };
        let make = |count, shape, labels: &[u32], classes| made(Pixels::U8(vec![0; count]), shape, labels, classes);
        let floats = |pixels: &[f32]| made(Pixels::F32(pixels.to_vec()), [1, 1, 1, pixels.len()], &[0], None);
        let huge = usize::MAX / 2 + 1;
        for (got, code, message) in [
            (make(0, [0, 1, 2, 2], &[], None), Code::InvalidArgument, "images: expected at least one image, got none"),
            (make(0, [1, 0, 2, 2], &[0], None), Code::Shape, "shape: expected sizes of at least 1, got [1, 0, 2, 2]"),
            (
                make(7, [2, 1, 2, 2], &[0, 1], None),
                Code::Shape,
                "images: expected as many values as shape [2, 1, 2, 2] has, got 7",
            ),
            (
                make(0, [2, huge, 1, 1], &[0, 1], None),
                Code::Shape,
                "images: expected as many values as shape [2, 9223372036854775808, 1, 1] has, got 0",
            ),
            (make(8, [2, 1, 2, 2], &[0], None), Code::Shape, "labels: expected one for each of 2 images, got 1"),
            (
                make(4, [1, 1, 2, 2], &[0], names(&[])),
                Code::InvalidArgument,
                "classNames: expected at least one name, got none",
            ),
            (
                make(4, [1, 1, 2, 2], &[0], names(&["a", "b", "a"])),
                Code::InvalidArgument,
                "classNames: expected a name of its own for each class, got \"a\" twice",
            ),
            (
                make(8, [2, 1, 2, 2], &[1, 3], names(&["a", "b", "c"])),
                Code::Label,
                "labels[1]: expected a class below 3, got 3",
            ),
            (floats(&[3e38, f32::NAN]), Code::InvalidArgument, "images[1]: expected a finite number, got NaN"),
            (
                floats(&[f32::NEG_INFINITY, f32::NAN]),
                Code::InvalidArgument,
                "images[0]: expected a finite number, got -Infinity",
            ),
        ] {
            assert_eq!(got, (code, message.to_owned()));
        }
    }
}
