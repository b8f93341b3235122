//! Pixels, as bytes or as numbers.

use std::ops::Range;

/// Pixels of all images, (N, C, H, W) in row-major order.
pub enum Pixels {
    /// Bytes; batches hold them divided by 255.
    U8(Vec<u8>),
    /// Numbers that batches hold as they are.
    F32(Vec<f32>),
}

/// Pixels of one image or several, likewise.
#[derive(Clone, Copy)]
pub(super) enum PixelsRef<'a> {
    U8(&'a [u8]),
    F32(&'a [f32]),
}

impl Pixels {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::F32(pixels) => pixels.len(),
        }
    }

    /// What they take in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::U8(pixels) => pixels.len(),
            Self::F32(pixels) => size_of_val(&pixels[..]),
        }
    }

    /// The first value that is NaN or infinite, and its place.
    pub(super) fn non_finite(&self) -> Option<(usize, f32)> {
        match self {
            Self::U8(_) => None,
            Self::F32(pixels) => pixels.iter().copied().enumerate().find(|(_, pixel)| !pixel.is_finite()),
        }
    }

    /// The image at a place, of these channels, height and width.
    pub(super) fn image(&self, place: usize, image: &[usize; 3]) -> PixelsRef<'_> {
        let len: usize = image.iter().product();
        self.part(place * len..(place + 1) * len)
    }

    /// A copy of the images at these places, each of so many values.
    pub(super) fn gather(&self, places: &[u32], len: usize) -> Self {
        fn copied<T: Copy>(pixels: &[T], places: &[u32], len: usize) -> Vec<T> {
            places.iter().flat_map(|&place| &pixels[place as usize * len..][..len]).copied().collect()
        }
        match self {
            Self::U8(pixels) => Self::U8(copied(pixels, places, len)),
            Self::F32(pixels) => Self::F32(copied(pixels, places, len)),
        }
    }

    /// The values at these places.
    pub(super) fn part(&self, range: Range<usize>) -> PixelsRef<'_> {
        match self {
            Self::U8(pixels) => PixelsRef::U8(&pixels[range]),
            Self::F32(pixels) => PixelsRef::F32(&pixels[range]),
        }
    }
}

impl PixelsRef<'_> {
    /// Writes them as batches hold them, to a slice of the same length.
    pub fn write(self, out: &mut [f32]) {
        match self {
            Self::U8(pixels) => scale(pixels, out),
            Self::F32(pixels) => out.copy_from_slice(pixels),
        }
    }
}

/// 8-bit pixels as numbers from 0 to 1, as torchvision's `ToTensor` makes them. Both slices have the same length.
pub(super) fn scale(pixels: &[u8], out: &mut [f32]) {
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = f32::from(pixel) / 255.0;
    }
}
