//! Bytes as numbers.

/// 8-bit pixels as numbers from 0 to 1, as torchvision's `ToTensor` makes them. Both slices have the same length.
pub(crate) fn scale(pixels: &[u8], out: &mut [f32]) {
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = f32::from(pixel) / 255.0;
    }
}
