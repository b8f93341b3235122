//! Files that take another's place as a whole: written beside it, synced and renamed. If that fails, the older one stays, and nothing else; only
//! where the last sync of the folder fails, the new one is there already. A mount point, which nothing can replace, is written to in the end.
//! What killed processes left of a file is removed when it is written next.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, PersistError};

/// Lets `fill` write a file that then takes the path's place.
pub(crate) fn replace(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let replacement = Replacement::begin(path)?;
    fill(replacement.temporary.as_file())?;
    replacement.finish()
}

/// A file that is to take a path's place as a whole; it goes if it does not.
pub struct Replacement {
    target: PathBuf,
    temporary: NamedTempFile,
}

impl Replacement {
    /// An empty one, beside the path.
    ///
    /// # Errors
    /// If it cannot be written there, or what is there is not a file.
    pub fn begin(path: &Path) -> io::Result<Self> {
        // A link stays one: what it points to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let there = fs::metadata(&target).ok();
        match &there {
            Some(there) if there.is_dir() => return Err(io::Error::other("it is a folder")),
            // A pipe or a device would be replaced, too, and whoever uses it would lose it.
            Some(there) if !there.is_file() => return Err(io::Error::other("not a file")),
            Some(_) | None => {}
        }
        let folder = folder_of(&target);
        if !folder.exists() {
            return Err(io::Error::other(format!("there is no folder {}", folder.display())));
        }
        let temporary = temporary_beside(&target, folder)?;
        // Whoever may read a file may read what takes its place.
        #[cfg(unix)]
        there.map_or(Ok(()), |there| where_possible(temporary.as_file().set_permissions(there.permissions())))?;
        Ok(Self { target, temporary })
    }

    /// Adds to it.
    ///
    /// # Errors
    /// If that fails.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.temporary.as_file_mut().write_all(content)
    }

    /// Puts it in the path's place.
    ///
    /// # Errors
    /// If that fails.
    pub fn finish(self) -> io::Result<()> {
        let Self { target, temporary } = self;
        temporary.as_file().sync_all()?;
        match temporary.persist(&target) {
            Ok(_) => sync_folder(folder_of(&target)),
            Err(PersistError { error, file }) if is_mount_point(&error) => copy_into(file.as_file(), &target),
            Err(PersistError { error, .. }) => Err(error),
        }
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether a rename failed because its target is a mount point.
fn is_mount_point(error: &io::Error) -> bool {
    [io::ErrorKind::ResourceBusy, io::ErrorKind::CrossesDevices].contains(&error.kind())
}

/// Writes a file's bytes over those of another.
fn copy_into(mut file: &File, target: &Path) -> io::Result<()> {
    let mut target = File::options().write(true).truncate(true).open(target)?;
    file.rewind()?;
    io::copy(&mut file, &mut target)?;
    target.sync_all()
}

/// What the name of a file that is being written ends with.
const SUFFIX: &str = ".tmp";

/// A file beside the one whose place it will take, locked as long as it is open. Those of the same target that nobody has open go.
fn temporary_beside(target: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    // A name may be as long as the system allows, and this one is longer.
    let name: String = target.file_name().unwrap_or_default().to_string_lossy().chars().take(40).collect();
    let prefix = format!(".{name}.");
    remove_left(folder, &prefix);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX);
    // As any new file has them, not the private ones of temporary files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        let file = builder.tempfile_in(folder).map_err(without_path)?;
        // Before the lock another process may have taken it for one that was left.
        if file.as_file().lock().is_err() || file.path().exists() {
            return Ok(file);
        }
    }
}

/// What the system says of a temporary file, whose name says nothing to who asked for another.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().rsplit_once(" at path ") {
        Some((reason, _)) => io::Error::new(error.kind(), reason),
        None => error,
    }
}

/// Removes what killed processes left: files of that name that nobody has locked.
fn remove_left(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && name.starts_with(prefix) && name.ends_with(SUFFIX) {
            let is_left = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            // What stays is in nobody's way.
            let _ = is_left && fs::remove_file(entry.path()).is_ok();
        }
    }
}

/// Makes a rename last, where folders can be synced: elsewhere than on Unix they cannot.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    where_possible(File::open(folder).and_then(|folder| folder.sync_all()))
}

/// Passes over what some network and user file systems do not let anybody do.
fn where_possible(done: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match done {
        Err(error) if ![InvalidInput, PermissionDenied, Unsupported].contains(&error.kind()) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error, Result};
    use std::io::SeekFrom;

    fn write(path: &Path) -> Result<()> {
        replace(path, |mut file| file.write_all(b"new")).map_err(|error| Error::io("write", path, &error))
    }

    fn files(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old");
        fs::write(&path, "old").unwrap();
        let full = replace(&path, |mut file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::new(io::ErrorKind::StorageFull, "full"))
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(files(folder.path()), ["old"]);
    }

    #[test]
    fn a_folder_in_the_file_s_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write(&path).unwrap_err();
        assert_eq!(error.code, Code::Io);
        assert!(error.message.contains("taken"), "{error}");
        assert_eq!(files(folder.path()), ["taken"]);
        assert_eq!(write(&folder.path().join("none/w")).unwrap_err().code, Code::Io);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_may_not_be_written_to_keeps_its_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let written = write(&path);
        let may_anyway = File::create(folder.path().join("probe")).is_ok();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The superuser may write everywhere.
        if !may_anyway {
            assert_eq!(written.unwrap_err().code, Code::Io);
            assert_eq!(fs::read(&path).unwrap(), b"old");
        }
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let paths = ["plain", "w"].map(|name| folder.path().join(name));
        fs::write(&paths[0], "").unwrap();
        write(&paths[1]).unwrap();
        let [plain, written] = paths.map(|path| fs::metadata(path).unwrap().permissions().mode());
        assert_eq!(written, plain);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_stays_what_it_is() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = write(&pipe).unwrap_err();
        assert_eq!((error.code, error.message.ends_with("not a file")), (Code::Io, true), "{error}");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(files(folder.path()), ["pipe"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_takes_a_file_s_place_has_its_rights_and_a_folder_s_place_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let refused = |path: &Path| write(path).unwrap_err().message;
        assert!(refused(folder.path()).ends_with("it is a folder"));
        let none = folder.path().join("none");
        assert!(refused(&none.join("w")).ends_with(&format!("there is no folder {}", none.display())));
    }

    #[test]
    fn what_killed_processes_left_is_removed_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let names = [".w.safetensors.left.tmp", ".w.safetensors.open.tmp", ".other.left.tmp", "w.safetensors.tmp"];
        for name in names {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        let open = File::open(folder.path().join(names[1])).unwrap();
        open.lock().unwrap();
        write(&folder.path().join("w.safetensors")).unwrap();
        let mut left = files(folder.path());
        left.sort();
        assert_eq!(left, [names[2], names[1], "w.safetensors", names[3]]);
    }

    #[test]
    fn the_longest_name_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("é".repeat(127));
        write(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_mount_point_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let [written, mounted] = ["written", "mounted"].map(|name| folder.path().join(name));
        fs::write(&written, "new").unwrap();
        fs::write(&mounted, "older and longer").unwrap();
        let mut file = File::options().read(true).write(true).open(&written).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        copy_into(&file, &mounted).unwrap();
        assert_eq!(fs::read(&mounted).unwrap(), b"new");
        assert!(
            is_mount_point(&io::ErrorKind::ResourceBusy.into()) && !is_mount_point(&io::ErrorKind::NotFound.into())
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_refuses_to_be_synced_is_no_failure() {
        assert!(File::open("/proc").unwrap().sync_all().is_err());
        sync_folder(Path::new("/proc")).unwrap();
        assert!(sync_folder(Path::new("/none")).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn rights_that_a_file_system_does_not_let_be_changed_are_no_failure() {
        let file = File::open("/proc/self/status").unwrap();
        let refused = || file.set_permissions(file.metadata().unwrap().permissions());
        assert!(refused().is_err());
        where_possible(refused()).unwrap();
        assert!(where_possible(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("w"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("w", &link).unwrap();
        write(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}
