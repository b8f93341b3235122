//! The folder of a training run: its checkpoints by their number of updates, and a lock, so that no two runs write to it.

use crate::error::{Code, Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// What the name of a checkpoint begins with; updates follow, in so many digits that names sort as they do.
const PREFIX: &str = "step-";
const DIGITS: usize = 8;
const SUFFIX: &str = ".safetensors";
const LOCK: &str = "run.lock";
/// What is put before the name of one that is damaged, which is none any more then.
const DAMAGED: &str = "damaged-";

/// The folder, which is this run's as long as this value lives.
pub struct Folder {
    path: PathBuf,
    /// Locked; the system unlocks it when the process ends, however that comes about.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, and takes it for this run.
    ///
    /// # Errors
    /// `ERR_IO` if it cannot be made or written to; `ERR_BUSY` if another run uses it.
    pub fn take(path: &Path) -> Result<Self> {
        let io = |error: io::Error| Error::io("write checkpoints to", path, &error);
        fs::create_dir_all(path).map_err(io)?;
        let options = File::options().read(true).write(true).create(true).truncate(false).open(path.join(LOCK));
        let mut lock = options.map_err(io)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // Only the message needs it.
                let _ = (&lock).take(20).read_to_string(&mut process);
                let got = format!("{}, which process {} uses", path.display(), process.trim());
                return Err(Error::expected(Code::Busy, "checkpoint.dir", "a folder that no other run uses", got));
            }
            // Some network file systems lock nothing.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => return Err(io(error)),
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let told = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()));
        told.map_err(io)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where the checkpoint after so many updates lies.
    pub fn checkpoint(&self, updates: u64) -> PathBuf {
        self.path.join(format!("{PREFIX}{updates:0DIGITS$}{SUFFIX}"))
    }

    /// Where the best epoch's model lies.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// Gives a damaged checkpoint a name by which it is none, so that it does not count as one of the last. Where it is then.
    ///
    /// # Errors
    /// `ERR_IO`.
    pub fn set_aside(&self, checkpoint: &Path) -> Result<PathBuf> {
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.path.join(format!("{DAMAGED}{name}"));
        fs::rename(checkpoint, &aside).map_err(|error| Error::io("rename", checkpoint, &error))?;
        Ok(aside)
    }

    /// Removes all checkpoints but the last ones.
    ///
    /// # Errors
    /// `ERR_IO`.
    pub fn keep(&self, count: usize) -> Result<()> {
        let checkpoints = checkpoints_in(&self.path)?;
        for path in &checkpoints[..checkpoints.len().saturating_sub(count)] {
            fs::remove_file(path).map_err(|error| Error::io("remove", path, &error))?;
        }
        Ok(())
    }
}

/// The checkpoints of a folder, the oldest first; none if there is no such folder.
///
/// # Errors
/// `ERR_IO` if it cannot be listed.
pub fn checkpoints_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(|entries| entries.collect::<io::Result<Vec<_>>>()),
    };
    let entries = entries.map_err(|error| Error::io("list", folder, &error))?;
    let numbered = |entry: &fs::DirEntry| Some((updates_of(entry.file_name().to_str()?)?, entry.path()));
    let mut found: Vec<(u64, PathBuf)> = entries.iter().filter_map(numbered).collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The updates that a checkpoint's name tells; none if it is no checkpoint's.
fn updates_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_number = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_run_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("runs/first");
        let folder = Folder::take(&path).unwrap();
        let error = Folder::take(&path).map(drop).unwrap_err();
        assert_eq!(error.code, Code::Busy);
        assert!(error.message.ends_with(&format!("which process {} uses", std::process::id())), "{error}");
        drop(folder);
        Folder::take(&path).unwrap();
    }

    #[test]
    fn the_last_checkpoints_stay_and_what_is_none_is_not_touched() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::take(parent.path()).unwrap();
        for updates in [9, 100, 123_456_789, 20] {
            fs::write(folder.checkpoint(updates), "").unwrap();
        }
        let others = ["step-20.safetensors", "step-0000001x.safetensors", "mine.safetensors"];
        others.iter().for_each(|name| fs::write(parent.path().join(name), "").unwrap());
        let found = checkpoints_in(parent.path()).unwrap();
        assert_eq!(found, [9, 20, 100, 123_456_789].map(|updates| folder.checkpoint(updates)));
        folder.keep(2).unwrap();
        assert_eq!(
            checkpoints_in(parent.path()).unwrap(),
            [100, 123_456_789].map(|updates| folder.checkpoint(updates))
        );
        assert!(others.iter().all(|name| parent.path().join(name).exists()));
        assert!(checkpoints_in(&parent.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_a_folder_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Folder::take(&file).map(drop).unwrap_err();
        assert_eq!(error.code, Code::Io);
        assert!(error.message.contains(file.to_str().unwrap()), "{error}");
    }
}
