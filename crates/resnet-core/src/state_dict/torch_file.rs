//! The two forms of files that `torch.save` writes: zip files, and what it wrote before version 1.6.

use super::contents::Contents;
use super::pickle::{shown, Pickle, Value};
use super::problem::{damaged, Outcome};
use super::torch_state::StateDict;
use super::unpickle::{unpickle, MAX_PICKLE, MAX_VALUES};
use super::zip::Zip;
use resnet_ops::allocate;
use std::io::{BufRead, Read, Seek, SeekFrom};

/// The number that the older form's first pickle holds, as its bytes stand in the file.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// What its second pickle holds.
const VERSION: i64 = 1001;
/// Most values of the pickles beside that of the object; a key for each storage is the most they need.
const MAX_BESIDE: usize = 1 << 16;

/// Reads a zip file: a pickle, and an entry for each storage.
pub(super) fn read_zip(file: impl Read + Seek, len: u64) -> Outcome<Contents> {
    let mut zip = Zip::open(file, len)?;
    let folder = folder(&zip)?;
    if zip.names().any(|name| name.strip_prefix(&folder) == Some("constants.pkl")) {
        return damaged("a TorchScript model is code: save model.state_dict() instead");
    }
    let order = format!("{folder}byteorder");
    if zip.names().any(|name| name == order) && (zip.len_of(&order)? != 6 || zip.read(&order)? != b"little") {
        return damaged("expected little-endian values, got another byte order");
    }
    let name = format!("{folder}data.pkl");
    if zip.len_of(&name)? > MAX_PICKLE as u64 {
        return damaged(format!("a pickle of more than {MAX_PICKLE} bytes"));
    }
    let pickle = unpickle(zip.read(&name)?.as_slice(), MAX_VALUES)?;
    let mut dict = StateDict::of(&pickle, len)?;
    for key in dict.keys() {
        let name = format!("{folder}data/{key}");
        let found = zip.len_of(&name)?;
        if dict.size(key).map(|(_, bytes)| bytes) != Some(found) {
            return damaged(format!("{}: {found} bytes are not what its tensors say", shown(&name)));
        }
        dict.fill(key, zip.read(&name)?)?;
    }
    dict.finish()
}

/// The folder in which a zip file has everything, with its slash.
fn folder<R: Read + Seek>(zip: &Zip<R>) -> Outcome<String> {
    let mut folders =
        zip.names().filter_map(|name| name.strip_suffix("data.pkl")).filter(|folder| folder.ends_with('/'));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder.to_owned()),
        _ => damaged("expected a zip file with one data.pkl in a folder, as torch.save writes it"),
    }
}

/// Whether a file begins as the older form does.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    head.starts_with(&[0x80]) && head.windows(MAGIC.len()).any(|bytes| bytes == MAGIC)
}

/// Reads the older form: five pickles (magic number, version, system, object, keys of its storages), then each storage.
pub(super) fn read_legacy(mut file: impl BufRead + Seek, len: u64) -> Outcome<Contents> {
    unpickle(&mut file, MAX_BESIDE)?;
    let version = unpickle(&mut file, MAX_BESIDE)?.root;
    if version != Value::Int(VERSION) {
        return damaged(format!("expected version {VERSION} of what torch.save writes, got {version:?}"));
    }
    let system = unpickle(&mut file, MAX_BESIDE)?;
    if !matches!(system.root, Value::Dict(dict) if system.get(dict, "little_endian") == Some(Value::Bool(true))) {
        return damaged("expected little-endian values, got another byte order");
    }
    let pickle = unpickle(&mut file, MAX_VALUES)?;
    let keys = unpickle(&mut file, MAX_BESIDE)?;
    let mut dict = StateDict::of(&pickle, len)?;
    for key in texts(&keys)? {
        let mut count = [0; 8];
        file.read_exact(&mut count)?;
        let size = dict.size(key).filter(|(values, _)| *values == u64::from_le_bytes(count));
        let rest = len.saturating_sub(file.stream_position()?);
        match size {
            Some((_, bytes)) if bytes > rest => return damaged("cut off"),
            Some((_, bytes)) if dict.wants(key) => {
                let mut storage = allocate::zeros(bytes as usize)?;
                file.read_exact(&mut storage)?;
                dict.fill(key, storage)?;
            }
            Some((_, bytes)) => drop(file.seek(SeekFrom::Current(bytes as i64))?),
            None => return damaged(format!("storage {} is not what its tensors say", shown(key))),
        }
    }
    dict.finish()
}

/// The texts of a pickle that is a list of them.
fn texts(pickle: &Pickle) -> Outcome<Vec<&str>> {
    const EXPECTED: &str = "expected a list of the keys of storages";
    let Value::List(list) = pickle.root else { return damaged(EXPECTED) };
    let text = |value: &Value| {
        let Value::Text(text) = value else { return damaged(EXPECTED) };
        Ok(pickle.text(*text))
    };
    pickle.containers[list as usize].iter().map(text).collect()
}
