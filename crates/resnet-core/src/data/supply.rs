//! A data set on its way to a network.

use super::{Batch, Dataset, Loader, Order};
use crate::error::Result;
use crate::tensor::Images;
use resnet_ops::resample::ResidentImages;
use resnet_ops::Executor;
use std::ops::Range;

/// A data set as a network is given it: with its pixels on the GPU that computes, if one does and has room for them.
pub struct Supply {
    data: Dataset,
    resident: Option<ResidentImages>,
}

/// Images of a batch on their way to a plan.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// (N, C, H, W).
    pub shape: [usize; 4],
    pixels: Pixels<'a>,
}

#[derive(Clone, Copy)]
enum Pixels<'a> {
    /// Row-major, on the host.
    Host(&'a [f32]),
    /// Those on the GPU at these places.
    Resident(&'a ResidentImages, &'a [u32]),
}

impl Supply {
    /// Brings the pixels to where they are needed.
    pub fn new(executor: &Executor, data: &Dataset) -> Result<Self> {
        Ok(Self { data: data.clone(), resident: data.resident(executor)? })
    }

    /// The data set.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// Starts to prepare batches; see [`Loader::new`].
    pub fn loader(&self, batch_size: usize, order: Order, drop_last: bool) -> Result<Loader> {
        match self.resident {
            Some(_) => Loader::without_pixels(&self.data, batch_size, order, drop_last),
            None => Loader::new(&self.data, batch_size, order, drop_last),
        }
    }

    /// The images of a batch that its loader gave.
    pub fn input<'a>(&'a self, batch: &'a Batch) -> Input<'a> {
        let pixels = match &self.resident {
            Some(images) => Pixels::Resident(images, &batch.indices),
            None => Pixels::Host(&batch.images),
        };
        Input { shape: batch.shape, pixels }
    }
}

impl<'a> From<Images<'a>> for Input<'a> {
    fn from(images: Images<'a>) -> Self {
        Self { shape: images.shape, pixels: Pixels::Host(images.data) }
    }
}

impl Input<'_> {
    /// Some of the images.
    pub fn part(&self, range: Range<usize>) -> Self {
        let [n, image @ ..] = self.shape;
        let [channels, height, width] = image;
        let shape = [range.len(), channels, height, width];
        let pixels = match self.pixels {
            Pixels::Host(data) => Pixels::Host(&data[range.start * (data.len() / n)..range.end * (data.len() / n)]),
            Pixels::Resident(images, indices) => Pixels::Resident(images, &indices[range]),
        };
        Self { shape, pixels }
    }

    /// Writes the images, (N, C, H, W), to where the backend computes.
    pub fn write(&self, executor: &Executor, target: &mut resnet_ops::Buffer) -> resnet_ops::Result<()> {
        match self.pixels {
            Pixels::Host(data) => target.write(data),
            Pixels::Resident(images, indices) => images.gather(executor, indices, target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interpolation, Resize};
    use super::*;
    use crate::data;
    use resnet_ops::{DType, Precision};

    const IMAGE: [usize; 3] = [3, 13, 9];
    const COUNT: usize = 5;

    fn batches(executor: &Executor, data: &Dataset) -> Vec<(Vec<f64>, Vec<u32>)> {
        let supply = Supply::new(executor, data).unwrap();
        let mut loader = supply.loader(3, Order::Shuffled { seed: 1, epoch: 2 }, false).unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = loader.next() {
            let batch = batch.unwrap();
            assert_eq!(batch.images.is_empty(), executor.gpu().is_some(), "pixels come from where they are");
            let input = supply.input(batch);
            let len = input.shape.iter().product();
            // Whole, and by parts.
            let mut images = executor.zeros(DType::F32, len).unwrap();
            input.write(executor, &mut images).unwrap();
            batches.push((images.read(0..len).unwrap(), batch.labels.clone()));
            let part = input.part(1..input.shape[0]);
            part.write(executor, &mut images).unwrap();
            let expected = &batches.last().unwrap().0[len / input.shape[0]..];
            assert_eq!(images.read::<f64>(0..expected.len()).unwrap(), expected);
        }
        batches
    }

    #[test]
    fn a_gpu_makes_the_same_batches_to_the_bit() {
        let Some(gpu) = Executor::cuda_for_tests(Precision::Fp32) else { return };
        let len = COUNT * IMAGE.iter().product::<usize>();
        let bytes: Vec<u8> = (0..len).map(|i| (i * i * 31 % 257) as u8).collect();
        let floats = bytes.iter().map(|&byte| f32::from(byte).sin() * 3.0).collect();
        let sizes = [[13, 9], [26, 18], [5, 4], [3, 20], [2, 9], [40, 3]];
        for pixels in [data::Pixels::U8(bytes), data::Pixels::F32(floats)] {
            let [c, h, w] = IMAGE;
            let plain = Dataset::from_arrays(pixels, [COUNT, c, h, w], vec![4, 1, 0, 3, 2], None).unwrap();
            for (size, interpolation) in sizes
                .into_iter()
                .flat_map(|size| [Interpolation::Pil, Interpolation::Float].map(|interpolation| (size, interpolation)))
            {
                let data = plain.with_resize(Some(Resize { size, interpolation })).unwrap();
                for data in [data.clone(), data.take(4).unwrap()] {
                    let (found, expected) = (batches(&gpu, &data), batches(&Executor::ReferenceF32, &data));
                    assert!(found == expected, "{data:?} {interpolation:?}");
                }
            }
        }
    }

    #[test]
    fn places_that_are_none_are_refused() {
        let Some(gpu) = Executor::cuda_for_tests(Precision::Fp32) else { return };
        let data = Dataset::from_arrays(data::Pixels::U8(vec![0; 8]), [2, 1, 2, 2], vec![0, 1], None).unwrap();
        let supply = Supply::new(&gpu, &data).unwrap();
        let batch = Batch { indices: vec![1, 2], shape: [2, 1, 2, 2], ..Batch::default() };
        let mut images = gpu.zeros(DType::F32, 8).unwrap();
        let error = supply.input(&batch).write(&gpu, &mut images).unwrap_err().to_string();
        assert!(error.starts_with("image 2 of 2"), "{error}");
        let batch = Batch { indices: vec![1; 3], shape: [3, 1, 2, 2], ..Batch::default() };
        let error = supply.input(&batch).write(&gpu, &mut images).unwrap_err().to_string();
        assert!(error.contains("in a buffer of 8"), "{error}");
    }
}
