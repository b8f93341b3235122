//! Bringing the values of each channel to a mean of 0 and a deviation of 1.

use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// What is taken off values from 0 to 1, and what they are divided by then, channel by channel: torchvision's `Normalize`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// One for each channel.
    pub mean: Vec<f64>,
    /// One for each channel, more than 0.
    pub std: Vec<f64>,
}

impl Normalise {
    /// Refuses what does not fit images of so many channels.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check(&self, channels: usize) -> Result<()> {
        for (name, values) in [("normalise.mean", &self.mean), ("normalise.std", &self.std)] {
            let fits = values
                .iter()
                .all(|&value| (value as f32).is_finite() && (name.ends_with("mean") || value as f32 > 0.0));
            if values.len() != channels || !fits {
                let more = if name.ends_with("std") { " above 0" } else { "" };
                let expected = format!("a finite number{more} for each of {channels} channels");
                return Err(Error::expected(Code::InvalidArgument, name, expected, format!("{values:?}")));
            }
        }
        Ok(())
    }

    /// Mean and deviation of a channel.
    fn of(&self, channel: usize) -> (f32, f32) {
        (self.mean[channel] as f32, self.std[channel] as f32)
    }

    /// Normalises planes in place.
    pub(in crate::data) fn apply(&self, planes: &mut [f32]) {
        let area = planes.len() / self.mean.len();
        for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
            let (mean, std) = self.of(channel);
            plane.iter_mut().for_each(|value| *value = (*value - mean) / std);
        }
    }

    /// Writes planes of bytes as batches hold them: scaled to \[0, 1\], then normalised if that is wanted.
    pub(in crate::data) fn write_bytes(normalise: Option<&Self>, planes: &[u8], channels: usize, out: &mut [f32]) {
        let area = planes.len() / channels;
        for (channel, (plane, out)) in planes.chunks_exact(area).zip(out.chunks_exact_mut(area)).enumerate() {
            let (mean, std) = normalise.map_or((0.0, 1.0), |normalise| normalise.of(channel));
            let table: [f32; 256] = std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std);
            out.iter_mut().zip(plane).for_each(|(out, &byte)| *out = table[usize::from(byte)]);
        }
    }
}
