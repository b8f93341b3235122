//! What a device cannot do, told apart from defects.

#![allow(clippy::wildcard_enum_match_arm, reason = "candle's errors are many")]

use candle_core::Error;
use std::fmt;

/// Why a device did not do what was asked, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// It cannot be used: a driver, a library or the device itself is missing or too old.
    Unavailable(String),
    /// It has not so much memory.
    OutOfMemory(String),
    /// It failed; what it held may be lost.
    Failed(String),
    /// It cannot reach the GPUs of other processes, or one of those has failed.
    Nccl(String),
}

impl DeviceError {
    /// The device's error, if that is what this is.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Cuda(error) => error.downcast_ref(),
            Error::WithBacktrace { inner, .. } => Self::of(inner),
            _ => None,
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let (Self::Unavailable(message) | Self::OutOfMemory(message) | Self::Failed(message) | Self::Nccl(message)) =
            self;
        formatter.write_str(message)
    }
}

impl std::error::Error for DeviceError {}

/// Candle's variant whose source can be got back.
impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Cuda(Box::new(error))
    }
}
