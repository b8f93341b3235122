//! What is in the files of a data set, before it is trained on.

use super::dataset::Dataset;
use super::pass::usual_threads;
use super::picture::{details, PictureDetails};
use super::sweep::sweep;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

impl Dataset {
    /// Reads and decodes each file once, and tells what it holds, in the order of the set.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if these are no pictures in files; `ERR_ABORTED`.
    pub fn inspect(&self, cancel: &Cancel) -> Result<Vec<PictureDetails>> {
        let files = (0..self.len()).map(|index| self.file(index)).collect::<Option<Vec<_>>>();
        let files = files
            .ok_or_else(|| Error::expected(Code::InvalidArgument, "data", "pictures in files", "images in memory"))?;
        sweep(files.len(), usual_threads(self), cancel, || Ok(Vec::new()), |bytes, index| details(files[index], bytes))
    }
}
