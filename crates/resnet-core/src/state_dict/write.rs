//! Named tensors into safetensors files that are there whole or not at all.

use super::contents::{BATCHES_TRACKED, BESIDE};
use super::digest::{Digesting, KEY, ZEROS};
use crate::cancel::{Cancel, Cancellable};
use crate::error::{Code, Error, Result};
use crate::model::params::{Params, Role};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use tempfile::{NamedTempFile, PersistError};

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 18;

/// A network's parameters with their values.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Names, shapes and ranges.
    pub params: &'a Params,
    /// Parameters in the order of `params`, as many as its `parameters_len`.
    pub parameters: &'a [f32],
    /// Running statistics in the order of `params`, as many as its `running_len`.
    pub running: &'a [f32],
    /// Updates that were made on the weights: `num_batches_tracked` of each batch norm; of a network without one, an entry of that name
    /// in the header's metadata.
    pub updates: u64,
    /// What a training run keeps beside them, to go on with: behind them in the file.
    pub beside: &'a [Beside<'a>],
}

/// Numbers that a training run keeps, under a name of its own.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// Such as `optimizer.momentum`.
    pub name: String,
    /// As many as the run's own.
    pub values: Cow<'a, [f32]>,
}

/// Writes a safetensors file of F32 tensors in canonical order, after the I64 counters of updates.
///
/// The file replaces an older one as a whole: it is written beside it, synced and renamed. If that fails, the older one
/// stays, and nothing else; only where the last sync of the folder fails, the new one is there already. A mount point, which
/// nothing can replace, is written to in the end. What killed processes left of this file beside it is removed.
///
/// The header's metadata has the SHA-256 of the file, zeros in its place, as `resnet_native_sha256`.
///
/// # Errors
/// `ERR_IO` if it cannot be written, or if what is there is not a file; `ERR_ABORTED`.
pub fn write(path: &Path, values: &Values, mut metadata: BTreeMap<String, String>, cancel: &Cancel) -> Result<()> {
    if values.updates > 0 && counters(values.params).next().is_none() {
        metadata.insert(BATCHES_TRACKED.to_owned(), values.updates.to_string());
    }
    // As an I64 holds it.
    let updates = values.updates.min(i64::MAX as u64);
    metadata.insert(KEY.to_owned(), ZEROS.to_owned());
    let header = header(values, metadata)?;
    let place = format!("\"{KEY}\":\"");
    let place =
        header.windows(place.len()).position(|bytes| bytes == place.as_bytes()).map(|start| start + place.len());
    let place = place.expect("the header that has it") as u64;
    replace(path, |mut file| {
        let mut digesting = Digesting::new(Cancellable::new(file, cancel), true);
        let mut buffer = BufWriter::with_capacity(BUFFER, &mut digesting);
        buffer.write_all(&(header.len() as u64).to_le_bytes())?;
        buffer.write_all(&header)?;
        for _ in counters(values.params) {
            buffer.write_all(&updates.to_le_bytes())?;
        }
        let mut bytes = vec![0; BUFFER];
        let weights = values.params.in_order().into_iter();
        let weights = weights.map(|parameter| parameter.values(values.parameters, values.running));
        for values in weights.chain(values.beside.iter().map(|beside| &*beside.values)) {
            for values in values.chunks(BUFFER / 4) {
                for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
                buffer.write_all(&bytes[..4 * values.len()])?;
            }
        }
        buffer.flush()?;
        drop(buffer);
        let digest = digesting.finish();
        file.seek(SeekFrom::Start(8 + place))?;
        file.write_all(digest.as_bytes())
    })
    .map_err(|error| cancel.check().err().unwrap_or_else(|| Error::io("write", path, &error)))
}

/// Names of the counters of updates, in canonical order.
fn counters(params: &Params) -> impl Iterator<Item = String> + '_ {
    let means = params.running.iter().filter(|parameter| parameter.role == Role::RunningMean);
    means.filter_map(|mean| mean.name.strip_suffix("running_mean")).map(|path| format!("{path}{BATCHES_TRACKED}"))
}

/// The header's JSON, padded to a multiple of 8 bytes as the format has it.
fn header(values: &Values, metadata: BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut end = 0;
    let mut info = |dtype: Dtype, shape: Vec<usize>| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        TensorInfo { dtype, shape, data_offsets: (start, end) }
    };
    let mut tensors: Vec<(String, TensorInfo)> =
        counters(values.params).map(|name| (name, info(Dtype::I64, Vec::new()))).collect();
    for parameter in values.params.in_order() {
        tensors.push((parameter.name.clone(), info(Dtype::F32, parameter.shape.clone())));
    }
    for Beside { name, values } in values.beside {
        tensors.push((format!("{BESIDE}{name}"), info(Dtype::F32, vec![values.len()])));
    }
    let internal = |error: &dyn std::fmt::Display| Error::new(Code::Internal, format!("header: {error}"));
    let header = Metadata::new(None, tensors).map_err(|error| internal(&error))?;
    let mut json = serde_json::to_vec(&header).map_err(|error| internal(&error))?;
    if !metadata.is_empty() {
        // First in the header and in the order of its keys, so that the same weights are the same bytes.
        let metadata = serde_json::to_string(&metadata).map_err(|error| internal(&error))?;
        let separator = if json.len() > 2 { "," } else { "" };
        json.splice(1..1, format!("\"__metadata__\":{metadata}{separator}").into_bytes());
    }
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(json)
}

/// Lets `fill` write a file that then takes the path's place.
pub(crate) fn replace(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // A link stays one: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // A pipe or a device would be replaced, too, and whoever uses it would lose it.
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("not a file"));
    }
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = temporary_beside(&target, folder)?;
    fill(temporary.as_file())?;
    temporary.as_file().sync_all()?;
    match temporary.persist(&target) {
        Ok(_) => sync_folder(folder),
        Err(PersistError { error, file }) if is_mount_point(&error) => copy_into(file.as_file(), &target),
        Err(PersistError { error, .. }) => Err(error),
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
        let file = builder.tempfile_in(folder)?;
        // Before the lock another process may have taken it for one that was left.
        if file.as_file().lock().is_err() || file.path().exists() {
            return Ok(file);
        }
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

/// Makes a rename last, where folders can be synced: elsewhere than on Unix, and on some network and user file systems, they cannot.
fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if ![InvalidInput, PermissionDenied, Unsupported].contains(&error.kind()) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;
    use crate::model::graph::trace;
    use crate::model::init::initialise;
    use crate::model::layer::{Init, Layer};
    use crate::model::shape::Shape;
    use crate::state_dict::{matching, read, LoadOptions};
    use safetensors::SafeTensors;

    fn block() -> Layer {
        basic(2, true, 1)
    }

    fn params() -> Params {
        Params::of(&trace(&block(), Shape::map(3, 4, 4)).unwrap()).unwrap()
    }

    fn write_sample(path: &Path, seed: u64) -> Result<(Vec<f32>, Vec<f32>)> {
        let params = params();
        let (parameters, running) = initialise(&params, seed)?;
        let values = Values { params: &params, parameters: &parameters, running: &running, updates: 7, beside: &[] };
        write(path, &values, BTreeMap::from([("k".to_owned(), "v".to_owned())]), &Cancel::default())?;
        Ok((parameters, running))
    }

    fn files(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let (parameters, running) = write_sample(&path, 1).unwrap();
        let contents = read(&path, &Cancel::default()).unwrap();
        assert_eq!(contents.updates, 7);
        let params = params();
        let names = |entry: &str| contents.entries.iter().position(|other| other.name == entry);
        assert!(params.in_order().iter().enumerate().all(|(i, parameter)| names(&parameter.name) == Some(i)));
        let (matched, _) = matching(&params, &block(), &contents.entries, &[], &LoadOptions::default()).unwrap();
        let (mut new_parameters, mut new_running) = (vec![0.0; parameters.len()], vec![0.0; running.len()]);
        matched.copy_to(&mut new_parameters, &mut new_running);
        assert_eq!((new_parameters, new_running), (parameters, running));
        assert_eq!(contents.metadata["k"], "v");
        assert_eq!(files(folder.path()), ["w.safetensors"]);
    }

    #[test]
    fn tensors_larger_than_the_buffer_are_whole() {
        let root = Layer::Linear { out_features: 300, bias: true, init: Init::default() };
        let params = Params::of(&trace(&root, Shape::Features(BUFFER / 1024)).unwrap()).unwrap();
        let parameters: Vec<f32> = (0..params.parameters_len()).map(|i| i as f32).collect();
        assert!(4 * params.parameters[0].range.len() > BUFFER);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let values = Values { params: &params, parameters: &parameters, running: &[], updates: 0, beside: &[] };
        write(&path, &values, BTreeMap::new(), &Cancel::default()).unwrap();
        let contents = read(&path, &Cancel::default()).unwrap();
        assert_eq!((contents.entries[0].shape.as_slice(), contents.updates), ([300, BUFFER / 1024].as_slice(), 0));
        assert_eq!([&contents.entries[0].data[..], &contents.entries[1].data].concat(), parameters);
    }

    #[test]
    fn other_readers_find_every_tensor_and_the_counters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let (parameters, _) = write_sample(&path, 1).unwrap();
        let bytes = fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.len(), params().in_order().len() + 2);
        for counter in ["bn1.num_batches_tracked", "bn2.num_batches_tracked"] {
            let counter = tensors.tensor(counter).unwrap();
            assert_eq!(
                (counter.dtype(), counter.shape(), counter.data()),
                (Dtype::I64, &[][..], &7i64.to_le_bytes()[..])
            );
        }
        let weight = tensors.tensor("conv1.weight").unwrap();
        assert_eq!((weight.dtype(), weight.shape()), (Dtype::F32, &[2, 3, 3, 3][..]));
        assert_eq!(weight.data()[..4], parameters[0].to_le_bytes());
        assert_eq!(weight.data().as_ptr() as usize % 4, bytes.as_ptr() as usize % 4);
    }

    #[test]
    fn the_same_weights_are_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            write_sample(path, 1).unwrap();
        }
        assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
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
        let error = write_sample(&path, 1).unwrap_err();
        assert_eq!(error.code, Code::Io);
        assert!(error.message.contains("taken"), "{error}");
        assert_eq!(files(folder.path()), ["taken"]);
        assert_eq!(write_sample(&folder.path().join("none/w"), 1).unwrap_err().code, Code::Io);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_may_not_be_written_to_keeps_its_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let written = write_sample(&path, 1);
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
        write_sample(&paths[1], 1).unwrap();
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
        let error = write_sample(&pipe, 1).unwrap_err();
        assert_eq!((error.code, error.message.ends_with("not a file")), (Code::Io, true), "{error}");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(files(folder.path()), ["pipe"]);
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
        write_sample(&folder.path().join("w.safetensors"), 1).unwrap();
        let mut left = files(folder.path());
        left.sort();
        assert_eq!(left, [names[2], names[1], "w.safetensors", names[3]]);
    }

    #[test]
    fn the_longest_name_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("é".repeat(127));
        write_sample(&path, 1).unwrap();
        assert!(read(&path, &Cancel::default()).is_ok());
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

    #[test]
    fn any_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write_sample(&path, 1).unwrap();
        let whole = fs::read(&path).unwrap();
        let digest = whole.windows(KEY.len()).position(|bytes| bytes == KEY.as_bytes()).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            // With another name it is a foreign file's, of which nothing is known; model files tell that it is missing.
            let is_name = (digest..digest + KEY.len()).contains(&at);
            assert!(is_name || read(&path, &Cancel::default()).is_err(), "byte {at}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("w"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("w", &link).unwrap();
        write_sample(&link, 1).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(read(&target, &Cancel::default()).is_ok());
    }
}
