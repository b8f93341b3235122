//! Why a file cannot be read: what every reader of a part of one returns.

use std::io;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Problem {
    /// The system's reason.
    Io(io::Error),
    /// What is wrong with its contents.
    Damaged(String),
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

pub(super) fn damaged<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Problem::Damaged(reason.into()))
}

/// Room for so many bytes, which the caller has compared with the file's.
pub(super) fn zeroed(len: usize) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(len).is_err() {
        return damaged(format!("no memory for {len} bytes"));
    }
    bytes.resize(len, 0);
    Ok(bytes)
}
