//! Where data sets come from. Each source checks what it reads in its own words, and makes data sets of it.

mod arrays;
mod cifar;
pub mod fashion_mnist;
mod idx;
pub mod image_folder;
mod image_list;
mod natural;

pub use cifar::Cifar;
pub use image_folder::{ImageFolder, Skipped};

use super::dataset::Splits;
use super::transform::Transform;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// Files that a data set is loaded from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// See [`fashion_mnist::load`].
    FashionMnist {
        /// Where the four files are.
        folder: PathBuf,
    },
    /// MNIST: as Fashion-MNIST, of digits.
    Mnist {
        /// Where the four files are.
        folder: PathBuf,
    },
    /// See [`Cifar::load`].
    Cifar {
        /// Which of the two.
        kind: Cifar,
        /// The folder of the files, or the archive of them.
        path: PathBuf,
    },
    /// See [`ImageFolder::load`].
    ImageFolder(ImageFolder),
}

impl Source {
    /// The source of a description such as `{"type":"fashion_mnist","folder":"…"}`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("source: {error}")))
    }

    /// Reads the files; all parts get the transforms, but for pictures, whose source has one of its own.
    /// Also tells what was left out.
    ///
    /// # Errors
    /// `ERR_DATA_NOT_FOUND`, `ERR_DATA_CORRUPT` or `ERR_IO` as the source says, `ERR_INVALID_ARGUMENT` if a transform does not fit;
    /// `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn load(&self, transforms: &[Transform], cancel: &Cancel) -> Result<(Splits, Skipped)> {
        let Splits { train, validation } = match self {
            Self::FashionMnist { folder } => fashion_mnist::load(folder, cancel)?,
            Self::Mnist { folder } => fashion_mnist::load_named(folder, fashion_mnist::DIGITS, cancel)?,
            Self::Cifar { kind, path } => kind.load(path, cancel)?,
            Self::ImageFolder(folder) => return folder.load(cancel),
        };
        let validation = validation.map(|data| data.with_transforms(transforms)).transpose()?;
        Ok((Splits { train: train.with_transforms(transforms)?, validation }, Skipped::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Interpolation, Resize};

    #[test]
    fn a_described_source_is_loaded_with_transforms() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/fashion-mnist-sample");
        let source = Source::from_json(&format!(r#"{{"type":"fashion_mnist","folder":{folder:?}}}"#)).unwrap();
        let resize = Resize { size: [12, 16], interpolation: Interpolation::Float };
        let (Splits { train, validation }, _) = source.load(&[Transform::Resize(resize)], &Cancel::default()).unwrap();
        let validation = validation.unwrap();
        assert_eq!((train.len(), train.image_shape()), (4096, [1, 12, 16]));
        assert_eq!((validation.len(), validation.image_shape()), (1024, [1, 12, 16]));
        let none = Resize { size: [0, 16], ..resize };
        assert_eq!(
            source.load(&[Transform::Resize(none)], &Cancel::default()).unwrap_err().code,
            Code::InvalidArgument
        );
    }

    #[test]
    fn what_describes_no_source_is_refused() {
        for json in [r#"{"type":"svhn","folder":"a"}"#, r#"{"type":"fashion_mnist"}"#, r#"{"folder":"a"}"#, "a"] {
            let error = Source::from_json(json).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument);
            assert!(error.message.starts_with("source: "), "{error}");
        }
    }
}
