//! Labels on their way from and to JavaScript.

use napi::bindgen_prelude::{Either, Uint32Array, Uint8Array};
use napi_derive::napi;
use resnet_core::data::{Labels, LabelsRef};
use resnet_core::tensor::copy_of;
use resnet_core::Result;

/// Which classes each sample is of: see [`Labels::Multi`].
#[napi(object)]
pub struct NativeMatrix {
    pub data: Uint8Array,
    pub classes: u32,
}

/// A class for each sample, or any number; copied, since JavaScript may write to its arrays.
pub fn labels_of(given: &Either<Uint32Array, NativeMatrix>) -> Result<Labels> {
    Ok(match given {
        Either::A(labels) => Labels::Single(copy_of(labels)?),
        Either::B(NativeMatrix { data, classes }) => {
            Labels::Multi { classes: *classes as usize, matrix: copy_of(data)? }
        }
    })
}

/// The same in JavaScript's arrays.
pub fn labels_to_js(labels: Labels) -> Either<Uint32Array, Uint8Array> {
    match labels {
        Labels::Single(labels) => Either::A(labels.into()),
        Labels::Multi { matrix, .. } => Either::B(matrix.into()),
    }
}

/// A copy of them in JavaScript's arrays.
pub fn labels_ref_to_js(labels: LabelsRef) -> Either<Uint32Array, Uint8Array> {
    match labels {
        LabelsRef::Single(labels) => Either::A(labels.to_vec().into()),
        LabelsRef::Multi { matrix, .. } => Either::B(matrix.to_vec().into()),
    }
}
