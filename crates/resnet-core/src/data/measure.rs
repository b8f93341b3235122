//! Looking at all images once: their mean and deviation, and whether all can be read.

use super::dataset::{Dataset, ImageScratch};
use super::pass::usual_threads;
use super::sweep::sweep;
use super::transform::Normalise;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use resnet_ops::allocate::zeros;

/// Sums over the values of a channel, and their squares.
type Sums = Vec<[f64; 2]>;

impl Dataset {
    /// Mean and standard deviation (of the population) of each channel, over all pixels of all images, before they are normalised.
    ///
    /// # Errors
    /// `ERR_ABORTED`; `ERR_IO`, `ERR_DATA_CORRUPT` if a picture cannot be read; `ERR_INVALID_ARGUMENT` if no image is there, or
    /// all values of a channel are the same.
    pub fn measure(&self, cancel: &Cancel) -> Result<Normalise> {
        let plain = self.normalised(None)?;
        let [channels, height, width] = self.image_shape();
        // A sum for each image, added up in order: threads cannot matter.
        let images = plain.each(cancel, |image| {
            let sums = |plane: &[f32]| {
                plane.iter().fold([0.0, 0.0], |[sum, squares], &value| {
                    let value = f64::from(value);
                    [sum + value, squares + value * value]
                })
            };
            image.chunks_exact(height * width).map(sums).collect::<Sums>()
        })?;
        let mut total = vec![[0.0; 2]; channels];
        for image in images.iter().flatten() {
            total.iter_mut().zip(image).for_each(|(total, sums)| *total = [total[0] + sums[0], total[1] + sums[1]]);
        }
        let count = (images.iter().flatten().count() * height * width) as f64;
        if count == 0.0 {
            return Err(Error::expected(
                Code::InvalidArgument,
                "measure",
                "at least one image that can be read",
                "none",
            ));
        }
        let mean: Vec<f64> = total.iter().map(|[sum, _]| sum / count).collect();
        let variance = |([_, squares], mean): (&[f64; 2], &f64)| (squares / count - mean * mean).max(0.0);
        let std: Vec<f64> = total.iter().zip(&mean).map(variance).map(f64::sqrt).collect();
        let normalise = Normalise { mean, std };
        match normalise.check(channels) {
            Ok(()) => Ok(normalise),
            Err(_) => Err(Error::expected(
                Code::InvalidArgument,
                "measure",
                "values that differ, in each channel",
                format!("standard deviations {:?}", normalise.std),
            )),
        }
    }

    /// Reads all images once, so that what cannot be read shows before training.
    ///
    /// # Errors
    /// `ERR_ABORTED`; `ERR_IO`, `ERR_DATA_CORRUPT` if a picture cannot be read.
    pub fn verify(&self, cancel: &Cancel) -> Result<()> {
        self.each(cancel, |_| ()).map(drop)
    }

    /// What `of` makes of each image, in order; None for pictures that are skipped. On the usual number of threads.
    fn each<T: Send>(&self, cancel: &Cancel, of: impl Fn(&[f32]) -> T + Sync) -> Result<Vec<Option<T>>> {
        let memory = || Ok((zeros(self.image_shape().iter().product())?, ImageScratch::default()));
        sweep(self.len(), usual_threads(self), cancel, memory, |(image, scratch), index| {
            Ok(self.image(index, None, image, scratch)?.then(|| of(image)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pixels;
    use super::*;
    use crate::cancel::CancelFlag;

    #[test]
    fn is_the_definition() {
        let bytes: Vec<u8> = (0..3 * 2 * 20).map(|i: usize| (i * i * 37 % 251) as u8).collect();
        let data = Dataset::from_arrays(Pixels::U8(bytes.clone()), [3, 2, 4, 5], vec![0, 1, 1], None).unwrap();
        let Normalise { mean, std } = data.measure(&Cancel::default()).unwrap();
        for channel in 0..2 {
            let values: Vec<f64> = (0..3)
                .flat_map(|image| bytes[(image * 2 + channel) * 20..][..20].to_vec())
                .map(|byte| f64::from(byte) / 255.0)
                .collect();
            let expected = values.iter().sum::<f64>() / 60.0;
            let variance = values.iter().map(|value| (value - expected).powi(2)).sum::<f64>() / 60.0;
            assert!((mean[channel] - expected).abs() < 1e-7 && (std[channel] - variance.sqrt()).abs() < 1e-7);
        }
        // Normalised by it, they have mean 0 and deviation 1; measured again, they are as before.
        let normalised = data.normalised(Some(Normalise { mean: mean.clone(), std: std.clone() })).unwrap();
        let mut images = vec![0.0; 120];
        normalised.fill(&[0, 1, 2], &mut images, &mut [0; 3]).unwrap();
        let [sum, squares] =
            images.iter().fold([0.0, 0.0], |[sum, squares], value| [sum + value, squares + value * value]);
        assert!(sum.abs() < 1e-3 && (squares / 120.0 - 1.0).abs() < 1e-4, "{sum} {squares}");
        assert_eq!(normalised.measure(&Cancel::default()).unwrap(), Normalise { mean, std });
    }

    #[test]
    fn refuses_what_has_no_deviation_and_stops_when_told() {
        let flat = Dataset::from_arrays(Pixels::U8(vec![7; 4]), [1, 1, 2, 2], vec![0], None).unwrap();
        let error = flat.measure(&Cancel::default()).unwrap_err();
        assert!(error.message.starts_with("measure: expected values that differ"), "{error}");
        let flag = CancelFlag::default();
        flag.raise();
        assert_eq!(flat.verify(&Cancel::by([flag])).unwrap_err().code, Code::Aborted);
        assert_eq!(flat.verify(&Cancel::default()), Ok(()));
    }
}
