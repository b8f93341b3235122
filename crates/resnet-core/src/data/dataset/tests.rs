//! Data sets of arrays.

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
    assert!(Arc::ptr_eq(&part.images, &data.images));
    assert_eq!((part.len(), part.labels(), part.num_classes()), (2, [0, 1][..].into(), 10));
    assert_eq!(part.take(100).unwrap().len(), 2);
    assert_eq!(data.take(0).unwrap_err().message, "count: expected at least 1, got 0");
    let error = part.fill(&[2], &mut [0.0; 4], &mut [0]).unwrap_err();
    assert_eq!(error.message, "indices[0]: expected an index below 2, got 2");
}

#[test]
fn the_memory_of_images_is_that_of_all_their_parts() {
    let data = bytes([4, 1, 2, 2], &[0, 1, 2, 9]);
    let [memory] = data.memory()[..] else { panic!() };
    assert_eq!(memory.bytes, 16);
    let other = bytes([3, 1, 2, 2], &[0, 1, 9]);
    let both = Dataset::concat(vec![data.take(2).unwrap(), other.clone()]).unwrap();
    assert_eq!(both.subset(&[0]).unwrap().memory(), [data.memory(), other.memory()].concat());
    assert_ne!(data.memory(), other.memory());
    let floats = Dataset::from_arrays(Pixels::F32(vec![0.0; 4]), [2, 2, 1, 1], vec![0, 1], None).unwrap();
    assert_eq!(floats.memory()[0].bytes, 16);
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
