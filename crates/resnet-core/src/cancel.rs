//! How a long call is told that nobody wants its result any more.

use crate::error::{Code, Error, Result};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What another thread raises to end a call, for good. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Raises the flag.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The flags that end a call: any one of them does. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flags: Vec<CancelFlag>,
    #[cfg(test)]
    looks: Option<tests::Looks>,
}

impl Cancel {
    /// Ended by any of these flags.
    pub fn by(flags: impl IntoIterator<Item = CancelFlag>) -> Self {
        let flags = flags.into_iter().collect();
        Self {
            flags,
            #[cfg(test)]
            looks: None,
        }
    }

    /// Whether the call should end.
    pub fn is_raised(&self) -> bool {
        #[cfg(test)]
        tests::look(self.looks.as_ref());
        self.flags.iter().any(CancelFlag::is_raised)
    }

    /// # Errors
    /// `ERR_ABORTED` if the call should end.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() {
            return Err(Error::new(Code::Aborted, "the call was cancelled"));
        }
        Ok(())
    }
}

/// A file whose reads and writes fail once the call should end; whoever gets the error looks at [`Cancel::check`] first.
pub(crate) struct Cancellable<'a, F> {
    file: F,
    cancel: &'a Cancel,
}

impl<'a, F> Cancellable<'a, F> {
    pub fn new(file: F, cancel: &'a Cancel) -> Self {
        Self { file, cancel }
    }

    fn check(&self) -> io::Result<()> {
        self.cancel.check().map_err(io::Error::other)
    }
}

impl<F: Read> Read for Cancellable<'_, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.file.read(bytes)
    }
}

impl<F: Write> Write for Cancellable<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<F: Seek> Seek for Cancellable<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cancel, CancelFlag};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    /// How many looks are left, and what is raised after them.
    #[derive(Clone, Debug)]
    pub(super) struct Looks(Arc<AtomicUsize>, CancelFlag);

    pub(super) fn look(looks: Option<&Looks>) {
        let Some(Looks(left, flag)) = looks else { return };
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            flag.raise();
        }
    }

    impl Cancel {
        /// What is raised when it has been looked at so often: the same moment on any machine.
        pub(crate) fn after_looks(looks: usize) -> Self {
            let flag = CancelFlag::default();
            Self { flags: vec![flag.clone()], looks: Some(Looks(Arc::new(AtomicUsize::new(looks)), flag)) }
        }
    }
}
