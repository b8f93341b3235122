//! Arrays with their shape, as they pass between the core and whoever calls it.

use crate::error::{Code, Error, Result};

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

impl<T> Tensor<T> {
    /// Adds another's rows after its own; all other sizes are the same.
    pub(crate) fn append(&mut self, other: Self) {
        debug_assert_eq!(self.shape[1..], other.shape[1..]);
        self.data.extend(other.data);
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
