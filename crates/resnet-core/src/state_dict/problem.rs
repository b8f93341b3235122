//! Why a file cannot be read: what every reader of a part of one returns.

use std::io;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Problem {
    /// The system's reason.
    Io(io::Error),
    /// What is wrong with its contents.
    Damaged(String),
    /// There is no memory for what it holds.
    OutOfMemory(String),
}

pub(super) type Outcome<T> = Result<T, Problem>;

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Damaged("cut off".into())
        } else {
            Self::Io(error)
        }
    }
}

/// Of what allocates on the way.
impl From<resnet_ops::Error> for Problem {
    fn from(error: resnet_ops::Error) -> Self {
        Self::OutOfMemory(error.to_string())
    }
}

pub(super) fn damaged<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Problem::Damaged(reason.into()))
}
