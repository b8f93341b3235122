//! Pictures that a program hands over, to be classified say.

use super::decode::{decode, from_pixels, NoPicture, Picture};
use super::file::read_file;
use super::fit::{FitScratch, PictureTransform};
use crate::cancel::Cancel;
use crate::data::transform::Normalise;
use crate::error::{Code, Error, Result};
use crate::tensor::Tensor;
use resnet_ops::allocate::zeros;
use std::path::PathBuf;

/// A picture in one of the forms in which programs have them.
#[derive(Clone, Debug, PartialEq)]
pub enum GivenPicture {
    /// A JPEG, PNG or WebP file.
    File(PathBuf),
    /// The bytes of such a file.
    Bytes(Vec<u8>),
    /// Decoded pixels.
    Pixels {
        /// (H, W, C), bytes.
        data: Vec<u8>,
        /// Height and width.
        size: [usize; 2],
        /// 1: grey, 2: grey and alpha, 3: red, green and blue, 4: with alpha.
        channels: usize,
    },
}

impl PictureTransform {
    /// Makes of pictures what a batch would hold: (N, C, H, W).
    ///
    /// # Errors
    /// `ERR_IO` if a file cannot be read, `ERR_DATA_CORRUPT` if it or bytes are no picture, `ERR_SHAPE` if pixels are not those of their
    /// size; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn images(&self, pictures: &[GivenPicture], cancel: &Cancel) -> Result<Tensor> {
        let [channels, height, width] = self.output();
        let len = channels * height * width;
        let mut data = zeros(len.saturating_mul(pictures.len()))?;
        let (mut fitted, mut scratch) = (Vec::new(), FitScratch::default());
        for (index, (picture, out)) in pictures.iter().zip(data.chunks_exact_mut(len)).enumerate() {
            cancel.check()?;
            self.fit(&self.decoded(&format!("pictures[{index}]"), picture)?, &mut fitted, &mut scratch)?;
            Normalise::write_bytes(self.normalise.as_ref(), &fitted, channels, out);
        }
        Ok(Tensor { data, shape: vec![pictures.len(), channels, height, width] })
    }

    /// The same of one picture, in bytes, before they are scaled and normalised; `name` is what errors call it.
    ///
    /// # Errors
    /// As above.
    pub fn fitted(&self, name: &str, picture: &GivenPicture) -> Result<Vec<u8>> {
        let mut fitted = Vec::new();
        self.fit(&self.decoded(name, picture)?, &mut fitted, &mut FitScratch::default())?;
        Ok(fitted)
    }

    fn decoded(&self, name: &str, picture: &GivenPicture) -> Result<Picture> {
        let no_picture = |name: &str, why| match why {
            NoPicture::Damaged(got) => Error::expected(Code::DataCorrupt, name, "a JPEG, PNG or WebP picture", got),
            NoPicture::Memory(error) => error,
        };
        match picture {
            GivenPicture::File(path) => {
                let mut bytes = Vec::new();
                read_file(path, &mut bytes).map_err(|error| Error::io("read", path, &error))?;
                decode(&bytes, self.colours()).map_err(|why| no_picture(&path.display().to_string(), why))
            }
            GivenPicture::Bytes(bytes) => decode(bytes, self.colours()).map_err(|why| no_picture(name, why)),
            GivenPicture::Pixels { data, size: [height, width], channels } => {
                from_pixels(data, [*height, *width], *channels, self.colours())?.ok_or_else(|| {
                    let expected = format!("a byte for each value of {height}x{width} pixels of {channels} channels");
                    Error::expected(Code::Shape, name, expected, format!("{} bytes", data.len()))
                })
            }
        }
    }
}
