//! The one error type: a stable code and a message that says what was expected and what was given.

use resnet_ops::DeviceError;
use std::any::Any;
use std::fmt;

/// What went wrong, for a program to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An argument is of the wrong type or outside its range.
    InvalidArgument,
    /// Shapes do not fit each other or the network.
    Shape,
    /// A label is outside the classes.
    Label,
    /// The network's input channels are not known yet.
    NotBuilt,
    /// Another call is writing to the model.
    Busy,
    /// The data set is in none of the places where it was looked for.
    DataNotFound,
    /// A data file is damaged or not what it should be.
    DataCorrupt,
    /// A state dict does not fit the network.
    StateDict,
    /// A model file is damaged or not what it should be.
    ModelFile,
    /// A checkpoint belongs to another run.
    Checkpoint,
    /// A file could not be read or written.
    Io,
    /// The system starts no more threads.
    NoThread,
    /// The loss is NaN or infinite.
    NonFiniteLoss,
    /// Weights or running statistics are NaN or infinite.
    NonFiniteWeights,
    /// The call was cancelled.
    Aborted,
    /// The object was disposed of.
    Disposed,
    /// A GPU cannot be used, or failed.
    Device,
    /// There is not so much memory.
    OutOfMemory,
    /// The processes of a run do not agree, or one of them is lost.
    Distributed,
    /// A defect in this package.
    Internal,
}

impl Code {
    const ALL: [Self; 20] = [
        Self::InvalidArgument,
        Self::Shape,
        Self::Label,
        Self::NotBuilt,
        Self::Busy,
        Self::DataNotFound,
        Self::DataCorrupt,
        Self::StateDict,
        Self::ModelFile,
        Self::Checkpoint,
        Self::Io,
        Self::NoThread,
        Self::NonFiniteLoss,
        Self::NonFiniteWeights,
        Self::Aborted,
        Self::Disposed,
        Self::Device,
        Self::OutOfMemory,
        Self::Distributed,
        Self::Internal,
    ];

    /// The code with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The code's name, as JavaScript sees it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "ERR_INVALID_ARGUMENT",
            Self::Shape => "ERR_SHAPE",
            Self::Label => "ERR_LABEL",
            Self::NotBuilt => "ERR_NOT_BUILT",
            Self::Busy => "ERR_BUSY",
            Self::DataNotFound => "ERR_DATA_NOT_FOUND",
            Self::DataCorrupt => "ERR_DATA_CORRUPT",
            Self::StateDict => "ERR_STATE_DICT",
            Self::ModelFile => "ERR_MODEL_FILE",
            Self::Checkpoint => "ERR_CHECKPOINT",
            Self::Io => "ERR_IO",
            Self::NoThread => "ERR_NO_THREAD",
            Self::NonFiniteLoss => "ERR_NON_FINITE_LOSS",
            Self::NonFiniteWeights => "ERR_NON_FINITE_WEIGHTS",
            Self::Aborted => "ERR_ABORTED",
            Self::Disposed => "ERR_DISPOSED",
            Self::Device => "ERR_DEVICE",
            Self::OutOfMemory => "ERR_OUT_OF_MEMORY",
            Self::Distributed => "ERR_DISTRIBUTED",
            Self::Internal => "ERR_INTERNAL",
        }
    }
}

/// An error with its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What went wrong, for a program.
    pub code: Code,
    /// What went wrong, for a person.
    pub message: String,
}

/// A text in a message: if it is long, its beginning and its end.
pub(crate) fn brief(text: &impl fmt::Display) -> String {
    /// Bytes of either.
    const KEPT: usize = 200;
    let text = text.to_string();
    if text.len() <= 2 * KEPT {
        return text;
    }
    let whole = |&at: &usize| text.is_char_boundary(at);
    let (start, end) = ((0..=KEPT).rev().find(whole), (text.len() - KEPT..).find(whole));
    format!("{} … {}", &text[..start.unwrap_or_default()], &text[end.unwrap_or_default()..])
}

/// The same of a path.
pub(crate) fn told(path: &std::path::Path) -> String {
    brief(&path.display())
}

/// The same of a value as `{:?}` writes it: a text in quotes.
pub(crate) fn quoted(value: &impl fmt::Debug) -> String {
    brief(&format_args!("{value:?}"))
}

/// A number as JavaScript writes it, in messages about those that are not finite.
pub(crate) fn named(value: f64) -> String {
    match value {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        other => other.to_string(),
    }
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a message of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The usual form: `parameter: expected …, got …`.
    pub fn expected(code: Code, parameter: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::new(code, format!("{parameter}: expected {expected}, got {got}"))
    }

    /// A failed read or write, with the path.
    pub fn io(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Code::Io, format!("cannot {action} {}: {error}", path.display()))
    }

    /// A thread that the system did not start. It may start later, so nothing else has failed.
    pub fn no_thread(error: &std::io::Error) -> Self {
        let limits = "the limit is that of processes (ulimit -u, pids of a container) or of memory";
        Self::new(Code::NoThread, format!("cannot start a thread: {error}; {limits}"))
    }

    /// A panic, as [`std::panic::catch_unwind`] or a thread's `join` gives it, after words on where it was caught.
    pub fn panicked(caught: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::new(Code::Internal, format!("{caught}: {}", text.unwrap_or("no message")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Kernels check their arguments too, but what reaches them was checked before: but for a device's, their errors are our
/// defects.
impl From<resnet_ops::Error> for Error {
    fn from(error: resnet_ops::Error) -> Self {
        let code = match DeviceError::of(&error) {
            Some(DeviceError::OutOfMemory(_)) => Code::OutOfMemory,
            Some(DeviceError::Unavailable(_) | DeviceError::Failed(_)) => Code::Device,
            Some(DeviceError::Nccl(_)) => Code::Distributed,
            None => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(brief(&"a".repeat(400)), "a".repeat(400));
        assert_eq!(brief(&"a".repeat(401)), format!("{0} … {0}", "a".repeat(200)));
        for letter in ["é", "…", "🐍"] {
            for [before, behind] in [["", ""], ["x", ""], ["", "x"], ["xy", "xyz"]] {
                let text = format!("{before}{}{behind}", letter.repeat(300));
                let short = brief(&text);
                let (start, end) = short.split_once(" … ").unwrap();
                assert!(text.starts_with(start) && text.ends_with(end), "{short}");
                assert!([start, end].iter().all(|part| (197..=200).contains(&part.len())), "{short}");
            }
        }
    }
}
