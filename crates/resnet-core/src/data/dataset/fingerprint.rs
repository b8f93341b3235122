//! Whether two data sets are the same: a digest of what tells them apart.

use super::super::labels::LabelsRef;
use super::super::picture::PictureSet;
use super::super::pixels::{Pixels, PixelsRef};
use super::{Dataset, Images};
use sha2::{Digest as _, Sha256};

/// Pixels are looked at in so many runs, spread over the whole set: enough to tell sets apart, at once even of gigabytes.
const RUNS: usize = 4096;
/// Pixels of a run.
const RUN: usize = 4096;

impl Dataset {
    /// A digest, in hexadecimal digits, of the samples in their order, their labels and class names, and of how images are made. Of pictures
    /// the files' names and lengths count, not where they lie; of pixels in memory at most sixteen million values, spread over all.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        self.add_to(&mut hash);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn add_to(&self, hash: &mut Sha256) {
        let mut text = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        text(&format!("{} {:?} {}", self.len(), self.image_shape(), self.num_classes()));
        self.class_names().into_iter().flatten().for_each(|name| text(name));
        text(&format!("{:?} {:?}", self.normalise(), self.picture_transform()));
        match self.labels() {
            LabelsRef::Single(labels) => labels.iter().for_each(|label| hash.update(label.to_le_bytes())),
            LabelsRef::Multi { matrix, .. } => hash.update(matrix),
        }
        let places = self.places.iter().flat_map(|places| &places[..self.len]);
        places.for_each(|place| hash.update(place.to_le_bytes()));
        match &*self.images {
            Images::Arrays { pixels, .. } => add_pixels(pixels, hash),
            Images::Pictures(pictures) => add_names(pictures, hash),
            Images::Parts(parts) => parts.iter().for_each(|part| part.add_to(hash)),
        }
    }
}

fn add_pixels(pixels: &Pixels, hash: &mut Sha256) {
    let len = pixels.len();
    let runs = len.div_ceil(RUN).min(RUNS);
    for run in 0..runs {
        let start = (len - RUN.min(len)) * run / (runs - 1).max(1);
        match pixels.part(start..(start + RUN).min(len)) {
            PixelsRef::U8(bytes) => hash.update(bytes),
            PixelsRef::F32(numbers) => numbers.iter().for_each(|number| hash.update(number.to_le_bytes())),
        }
    }
}

fn add_names(pictures: &PictureSet, hash: &mut Sha256) {
    for file in pictures.files() {
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        hash.update(name.len().to_le_bytes());
        hash.update(name);
        // Whatever cannot be looked at is told when it is read.
        hash.update(std::fs::metadata(file).map_or(0, |found| found.len()).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pixels: Vec<u8>, labels: &[u32], names: Option<&[&str]>) -> Dataset {
        let names = names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let shape = [labels.len(), 1, pixels.len() / labels.len(), 1];
        Dataset::from_arrays(Pixels::U8(pixels), shape, labels.to_vec(), names).unwrap()
    }

    #[test]
    fn whatever_differs_is_told_apart_and_nothing_else() {
        let pixels: Vec<u8> = (0..12).collect();
        let first = set(pixels.clone(), &[0, 1, 1], None);
        assert_eq!(first.fingerprint(), set(pixels.clone(), &[0, 1, 1], None).fingerprint());
        assert_eq!(first.fingerprint(), first.clone().take(3).unwrap().fingerprint());
        let mut changed = pixels.clone();
        changed[11] += 1;
        let others = [
            set(changed, &[0, 1, 1], None),
            set(pixels.clone(), &[0, 1, 0], None),
            set(pixels.clone(), &[0, 1, 1], Some(&["a", "b"])),
            set(pixels, &[0, 1, 1], Some(&["a", "c"])),
            first.take(2).unwrap(),
            first.subset(&[0, 2, 1]).unwrap(),
            Dataset::concat(vec![first.clone(), first.clone()]).unwrap(),
        ];
        let digests: std::collections::HashSet<String> = others.iter().map(Dataset::fingerprint).collect();
        assert_eq!(digests.len(), others.len());
        assert!(!digests.contains(&first.fingerprint()));
    }

    #[test]
    fn the_last_pixel_of_a_large_set_counts() {
        let mut pixels = vec![0; 3 * RUN * RUNS + 6];
        let before = set(pixels.clone(), &[0, 1, 2], None).fingerprint();
        *pixels.last_mut().unwrap() = 1;
        assert_ne!(set(pixels, &[0, 1, 2], None).fingerprint(), before);
    }
}
