//! A data set whose pixels are on the GPU that computes, if one does and has room for them.

use super::dataset::Dataset;
use super::loader::Loader;
use super::pass::{Batch, DataPass, Order};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::tensor::Images;
use resnet_ops::resample::ResidentImages;
use resnet_ops::Executor;
use std::ops::Range;

/// A device-resident data set. On a CPU, or where a GPU has not the room, it is the data set itself.
pub struct ResidentDataset {
    data: Dataset,
    /// The images on the GPU.
    images: Option<ResidentImages>,
}

/// The images of a batch, wherever their pixels are.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// (N, C, H, W).
    pub shape: [usize; 4],
    pixels: BatchPixels<'a>,
}

#[derive(Clone, Copy)]
enum BatchPixels<'a> {
    /// Row-major, on the host.
    Host(&'a [f32]),
    /// On the GPU: the images at these indices.
    Resident(&'a ResidentImages, &'a [u32]),
}

impl ResidentDataset {
    /// Copies the pixels to the GPU, unless they would take more than half of its free memory.
    ///
    /// # Errors
    /// `ERR_DEVICE` if the GPU fails.
    pub fn new(executor: &Executor, data: &Dataset) -> Result<Self> {
        Ok(Self { data: data.clone(), images: data.resident(executor)? })
    }

    /// The data set as it is, with its pixels on the host.
    pub fn on_host(data: &Dataset) -> Self {
        Self { data: data.clone(), images: None }
    }

    /// The data set.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// Starts to prepare all batches of a pass until it is cancelled, without pixels if those are on the GPU; see [`DataPass::new`].
    pub fn loader(&self, batch_size: usize, order: Order, cancel: &Cancel) -> Result<Loader> {
        self.loader_of(DataPass::new(&self.data, batch_size, order, false)?.cancelled_by(cancel), None)
    }

    /// The same of a pass over its data, on so many threads or as many as are usual.
    pub fn loader_of(&self, pass: DataPass, threads: Option<usize>) -> Result<Loader> {
        let threads = threads.unwrap_or(pass.usual_threads());
        Loader::new(if self.images.is_some() { pass.without_pixels() } else { pass }, threads)
    }

    /// The images of a batch that its loader gave.
    pub fn input<'a>(&'a self, batch: &'a Batch) -> Input<'a> {
        let pixels = match &self.images {
            Some(images) => BatchPixels::Resident(images, &batch.indices),
            None => BatchPixels::Host(&batch.images),
        };
        Input { shape: batch.shape, pixels }
    }
}

impl<'a> From<Images<'a>> for Input<'a> {
    fn from(images: Images<'a>) -> Self {
        Self { shape: images.shape, pixels: BatchPixels::Host(images.data) }
    }
}

impl Input<'_> {
    /// Some of the images.
    pub fn part(&self, range: Range<usize>) -> Self {
        let [n, image @ ..] = self.shape;
        let [channels, height, width] = image;
        let shape = [range.len(), channels, height, width];
        let pixels = match self.pixels {
            BatchPixels::Host(data) => {
                BatchPixels::Host(&data[range.start * (data.len() / n)..range.end * (data.len() / n)])
            }
            BatchPixels::Resident(images, indices) => BatchPixels::Resident(images, &indices[range]),
        };
        Self { shape, pixels }
    }

    /// Writes the images, (N, C, H, W), to where the backend computes.
    pub fn write(&self, executor: &Executor, target: &mut resnet_ops::Buffer) -> resnet_ops::Result<()> {
        match self.pixels {
            BatchPixels::Host(data) => target.write(data),
            BatchPixels::Resident(images, indices) => images.gather(executor, indices, target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interpolation, Resize, Transform};
    use super::*;
    use crate::data;
    use resnet_ops::{DType, Precision};

    const IMAGE: [usize; 3] = [3, 13, 9];
    const COUNT: usize = 5;

    fn batches(executor: &Executor, data: &Dataset) -> Vec<(Vec<f64>, data::Labels)> {
        let data = ResidentDataset::new(executor, data).unwrap();
        let mut loader = data.loader(3, Order::Shuffled { seed: 1, epoch: 2 }, &Cancel::default()).unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = loader.next() {
            let batch = batch.unwrap();
            assert_eq!(batch.images.is_empty(), executor.gpu().is_some(), "pixels come from where they are");
            let input = data.input(batch);
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
                let data = plain.with_transforms(&[Transform::Resize(Resize { size, interpolation })]).unwrap();
                for data in [data.clone(), data.take(4).unwrap()] {
                    let (found, expected) = (batches(&gpu, &data), batches(&Executor::ReferenceF32, &data));
                    assert!(found == expected, "{data:?} {interpolation:?}");
                }
            }
        }
    }

    #[test]
    fn indices_outside_the_set_are_refused() {
        let Some(gpu) = Executor::cuda_for_tests(Precision::Fp32) else { return };
        let data = Dataset::from_arrays(data::Pixels::U8(vec![0; 8]), [2, 1, 2, 2], vec![0, 1], None).unwrap();
        let data = ResidentDataset::new(&gpu, &data).unwrap();
        let batch = Batch { indices: vec![1, 2], shape: [2, 1, 2, 2], ..Batch::default() };
        let mut images = gpu.zeros(DType::F32, 8).unwrap();
        let error = data.input(&batch).write(&gpu, &mut images).unwrap_err().to_string();
        assert!(error.starts_with("image 2 of 2"), "{error}");
        let batch = Batch { indices: vec![1; 3], shape: [3, 1, 2, 2], ..Batch::default() };
        let error = data.input(&batch).write(&gpu, &mut images).unwrap_err().to_string();
        assert!(error.contains("in a buffer of 8"), "{error}");
    }
}
