//! Errors and panics as JavaScript sees them.

use resnet_core::{Error, Result};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// The error as `CODE: message`, which TypeScript takes apart again.
pub fn raise(error: Error) -> napi::Error {
    napi::Error::from_reason(format!("{}: {}", error.code.name(), error.message))
}

/// Runs the body; a panic becomes `ERR_INTERNAL`.
pub fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(body));
    result.unwrap_or_else(|panic| Err(Error::panicked("a defect in resnet-native", &*panic)))
}
