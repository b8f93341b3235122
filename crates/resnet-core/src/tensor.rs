//! Arrays with their shape, as they pass between the core and whoever calls it.

use crate::error::{Code, Error, Result};
use resnet_ops::allocate::{self, make_room};

/// Values with their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T = f32> {
    /// The values in row-major order.
    pub data: Vec<T>,
    /// Sizes of the axes, the outermost first.
    pub shape: Vec<usize>,
}

/// Tensors by state-dict name, in canonical order.
pub type Named<T = f32> = Vec<(String, Tensor<T>)>;

/// A batch of images (N, C, H, W).
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Pixels in row-major order.
    pub data: &'a [f32],
    /// N, C, H and W.
    pub shape: [usize; 4],
}

/// A copy of these values.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn copy_of<T: Clone>(values: &[T]) -> Result<Vec<T>> {
    Ok(allocate::copy_of(values)?)
}

/// A copy of these parts, one after the other.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn joined<T: Clone>(parts: &[impl AsRef<[T]>]) -> Result<Vec<T>> {
    let mut all = allocate::with_room(parts.iter().map(|part| part.as_ref().len()).sum())?;
    parts.iter().for_each(|part| all.extend_from_slice(part.as_ref()));
    Ok(all)
}

impl<T: Copy> Tensor<T> {
    /// The same with room for `rows` in all, at least as many as there are.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn with_room(mut self, rows: usize) -> Result<Self> {
        let row = self.data.len() / self.shape[0];
        make_room(&mut self.data, row * rows)?;
        Ok(self)
    }

    /// Adds another's rows, for which there is room, after its own; all other sizes are the same.
    pub fn append(&mut self, other: &Self) {
        debug_assert_eq!(self.shape[1..], other.shape[1..]);
        self.data.extend_from_slice(&other.data);
        self.shape[0] += other.shape[0];
    }
}

impl Images<'_> {
    /// Refuses images whose values are not those of their shape, or that have none.
    ///
    /// # Errors
    /// `ERR_SHAPE`.
    pub(crate) fn check(&self) -> Result<()> {
        let elements = self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if elements != Some(self.data.len()) || elements == Some(0) {
            let expected = format!("shape {:?} to hold its values, at least one", self.shape);
            return Err(Error::expected(Code::Shape, "images", expected, format!("{} values", self.data.len())));
        }
        Ok(())
    }
}
