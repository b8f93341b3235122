//! What is done with pictures of any format.

use crate::{refused, within, MIB};
use image::ImageReader;
use resnet_core::cancel::Cancel;
use resnet_core::data::{Fit, GivenPicture, PictureTransform};
use resnet_core::Code;
use std::io::Cursor;

/// Pixels of which pictures are decoded here; what takes no more time than a small one is any that has too many.
const FEW: u64 = 1 << 18;
const TOO_MANY: u64 = 100_000_000;

/// Decodes and fits a picture, unless it is a large one: in memory for its pixels as they come, turned and as planes, and some for the decoder.
pub fn picture(bytes: &[u8]) {
    let size = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map(ImageReader::into_dimensions);
    let pixels = match size {
        Ok(Ok((width, height))) => u64::from(width) * u64::from(height),
        Ok(Err(_)) | Err(_) => 0,
    };
    if (FEW..=TOO_MANY).contains(&pixels) {
        return;
    }
    let transform =
        PictureTransform { size: [8, 8], fit: Fit::Pad, channels: 3, background: [255; 3], normalise: None };
    let given = GivenPicture::Bytes(bytes.to_vec());
    within(64 * MIB + 64 * bytes.len(), || match transform.images(&[given], &Cancel::default()) {
        Ok(tensor) => {
            assert!(tensor.data.len() == 3 * 8 * 8 && tensor.data.iter().all(|value| (0.0..=1.0).contains(value)))
        }
        Err(error) => refused(&error, &[Code::DataCorrupt]),
    });
}
