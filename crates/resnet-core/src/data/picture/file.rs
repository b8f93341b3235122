//! Reading picture files.

use super::decode::{is_picture, kind_of};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Most bytes of a file.
const MAX_FILE: u64 = 256 << 20;

/// Reads a whole file into memory that is kept from file to file, never more than the cap.
pub(super) fn read_file(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let file = open(path)?;
    let len = file.metadata()?.len();
    if len > MAX_FILE {
        return Err(io::Error::other(format!("a file of {len} bytes, where {MAX_FILE} are the most")));
    }
    bytes.try_reserve(len as usize)?;
    file.take(MAX_FILE).read_to_end(bytes)?;
    Ok(())
}

/// Opens a file, and nothing that would wait, as a pipe does.
fn open(path: &Path) -> io::Result<File> {
    match path.metadata()?.file_type() {
        kind if kind.is_file() => File::open(path),
        kind if kind.is_dir() => Err(io::Error::other("it is a folder")),
        _ => Err(io::Error::other("it is no regular file")),
    }
}

/// Looks at a file's first bytes: words on what it is instead of a picture, if it is none.
pub(in crate::data) fn look(path: &Path) -> Option<String> {
    let mut first = Vec::new();
    match open(path).and_then(|file| file.take(64).read_to_end(&mut first)) {
        Ok(_) if is_picture(&first) => None,
        Ok(_) => Some(kind_of(&first).to_owned()),
        Err(error) => Some(words(&error)),
    }
}

/// Why a file cannot be read, as an error goes on after "got".
pub(super) fn words(error: &io::Error) -> String {
    if error.kind() == ErrorKind::NotFound {
        return "nothing: there is no such file".to_owned();
    }
    error.to_string()
}
