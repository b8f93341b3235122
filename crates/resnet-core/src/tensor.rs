//! Values with their shape, as they cross the border.

/// Values with their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T = f32> {
    /// The values in row-major order.
    pub data: Vec<T>,
    /// The sizes.
    pub shape: Vec<usize>,
}

/// Tensors by state-dict name, in canonical order.
pub type Named<T = f32> = Vec<(String, Tensor<T>)>;

/// A batch of images (N, C, H, W).
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Pixels in row-major order.
    pub data: &'a [f32],
    /// The sizes.
    pub shape: [usize; 4],
}

impl Tensor<f64> {
    /// The values in f32.
    pub fn narrow(self) -> Tensor {
        Tensor { data: self.data.into_iter().map(|value| value as f32).collect(), shape: self.shape }
    }
}

/// The values in f32.
pub(crate) fn narrow(named: Named<f64>) -> Named {
    named.into_iter().map(|(name, tensor)| (name, tensor.narrow())).collect()
}
