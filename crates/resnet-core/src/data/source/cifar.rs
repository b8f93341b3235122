//! CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 32x32 pictures of ten or a hundred kinds of things, in the authors' binary form.

use crate::cancel::{Cancel, Cancellable};
use crate::data::classes::check_class_names;
use crate::data::dataset::{Dataset, Samples, Splits};
use crate::data::pixels::Pixels;
use crate::error::{Code, Error, Result};
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Names of CIFAR-10's classes, by label.
pub const CLASSES_10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Bytes of an image.
const IMAGE: usize = 3 * 32 * 32;

/// Most bytes of a file: ten times the official ones.
const MAX_FILE: u64 = 2 << 30;

/// Most bytes of all that an archive holds.
const MAX_ARCHIVE: u64 = 4 << 30;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cifar {
    /// Ten classes, 6,000 images of each.
    Cifar10,
    /// A hundred classes, 600 images of each.
    Cifar100,
}

impl Cifar {
    /// Files for training and for validation, and the file with the classes' names.
    fn files(self) -> (Vec<String>, &'static str, &'static str) {
        match self {
            Self::Cifar10 => {
                ((1..=5).map(|i| format!("data_batch_{i}.bin")).collect(), "test_batch.bin", "batches.meta.txt")
            }
            Self::Cifar100 => (vec!["train.bin".into()], "test.bin", "fine_label_names.txt"),
        }
    }

    /// Bytes of labels before an image; the last one counts.
    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// Loads the files of a folder, or those within the authors' archive (`.tar.gz`) of them.
    ///
    /// # Errors
    /// `ERR_DATA_NOT_FOUND` if one is missing, `ERR_DATA_CORRUPT` if one is not of that form, `ERR_IO` if one cannot be read;
    /// `ERR_ABORTED`.
    pub fn load(self, path: &Path, cancel: &Cancel) -> Result<Splits> {
        self.load_files(path, cancel).map_err(|error| cancel.check().err().unwrap_or(error))
    }

    fn load_files(self, path: &Path, cancel: &Cancel) -> Result<Splits> {
        let (train, test, names) = self.files();
        let wanted: Vec<&str> = train.iter().map(String::as_str).chain([test, names]).collect();
        let mut files =
            if path.is_dir() { from_folder(path, &wanted, cancel)? } else { from_archive(path, &wanted, cancel)? };
        let names = self.names(files.remove(names));
        let mut part = |wanted: &[&str]| -> Result<Dataset> {
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            for name in wanted {
                let found = files.remove(*name).ok_or_else(|| {
                    let expected = format!("a file {name} of the binary version");
                    Error::expected(Code::DataNotFound, &path.display().to_string(), expected, "none")
                })?;
                self.read(&path.join(name), &found, &mut pixels, &mut labels)?;
            }
            let (image, num_classes) = ([3, 32, 32], self.classes());
            Ok(Dataset::new(Samples {
                pixels: Pixels::U8(pixels),
                image,
                labels: labels.into(),
                num_classes,
                class_names: names.clone(),
            }))
        };
        let train: Vec<&str> = train.iter().map(String::as_str).collect();
        Ok(Splits { train: part(&train)?, validation: Some(part(&[test])?) })
    }

    fn read(self, path: &Path, bytes: &[u8], pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
        let corrupt = |expected: String, got: String| {
            Err(Error::expected(Code::DataCorrupt, &path.display().to_string(), expected, got))
        };
        let (head, classes) = (self.label_bytes(), self.classes());
        if bytes.is_empty() || !bytes.len().is_multiple_of(head + IMAGE) {
            return corrupt(format!("records of {} bytes", head + IMAGE), format!("{} bytes", bytes.len()));
        }
        for record in bytes.chunks_exact(head + IMAGE) {
            let label = record[head - 1];
            if usize::from(label) >= classes {
                return corrupt(format!("labels below {classes}"), label.to_string());
            }
            labels.push(u32::from(label));
            pixels.extend_from_slice(&record[head..]);
        }
        Ok(())
    }

    /// The names of the file that has them, if there are as many as classes; else CIFAR-10's, and none of CIFAR-100.
    fn names(self, file: Option<Vec<u8>>) -> Option<Vec<String>> {
        let text = file.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let names: Vec<String> =
            text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match self {
            _ if names.len() == self.classes() && check_class_names(&names).is_ok() => Some(names),
            Self::Cifar10 => Some(CLASSES_10.map(str::to_owned).into()),
            Self::Cifar100 => None,
        }
    }
}

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

fn from_folder(folder: &Path, wanted: &[&str], cancel: &Cancel) -> Result<Files> {
    let mut files = Files::new();
    for name in wanted {
        let path = folder.join(name);
        if path.is_file() {
            let file = File::open(&path).map_err(|error| Error::io("open", &path, &error))?;
            files.insert((*name).to_owned(), take(Cancellable::new(file, cancel), MAX_FILE, &path)?);
        }
    }
    Ok(files)
}

/// Files of a tar archive, packed by gzip, by the last parts of their names.
fn from_archive(path: &Path, wanted: &[&str], cancel: &Cancel) -> Result<Files> {
    const BLOCK: usize = 512;
    let file = File::open(path).map_err(|error| match path.exists() {
        true => Error::io("open", path, &error),
        false => Error::expected(Code::DataNotFound, &path.display().to_string(), "a folder or an archive", "nothing"),
    })?;
    let corrupt = |got: &str| {
        Error::expected(
            Code::DataCorrupt,
            &path.display().to_string(),
            "an archive of the binary version (.tar.gz)",
            got,
        )
    };
    let mut source = GzDecoder::new(BufReader::new(Cancellable::new(file, cancel))).take(MAX_ARCHIVE);
    let mut files = Files::new();
    loop {
        let mut header = [0; BLOCK];
        source.read_exact(&mut header).map_err(|_| corrupt("one that ends early or is no gzip file"))?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(files);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&text(&header[124..136]), 8).ok().filter(|&size| size <= MAX_FILE);
        let size = size.ok_or_else(|| corrupt("a member without a size"))?;
        let name = text(&header[..100]);
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        let content = take(source.by_ref().take(size), size, path)?;
        if content.len() as u64 != size {
            return Err(corrupt("one that ends early"));
        }
        if wanted.contains(&&*name) {
            files.insert(name, content);
        }
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        take(source.by_ref().take(padding), padding, path)?;
    }
}

/// All bytes up to so many, with memory as they come.
fn take(source: impl Read, most: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most).read_to_end(&mut bytes).map_err(|error| {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) {
            let got = format!("a damaged one ({error})");
            return Error::expected(Code::DataCorrupt, &path.display().to_string(), "a whole gzip file", got);
        }
        Error::io("read", path, &error)
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::fs;
    use std::io::Write;

    fn records(head: usize, labels: &[u8]) -> Vec<u8> {
        let record = |&label: &u8| [vec![label; head], vec![label * 2; IMAGE]].concat();
        labels.iter().flat_map(record).collect()
    }

    fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, content) in files {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            let size = format!("{:011o}", content.len());
            header[124..135].copy_from_slice(size.as_bytes());
            archive.extend_from_slice(&header);
            archive.extend_from_slice(content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.resize(archive.len() + 1024, 0);
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&archive).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn loads_a_folder_or_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = vec![("x/readme.html", b"no".to_vec())];
        let names =
            ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
        for (i, name) in names.iter().enumerate() {
            members.push((name, records(1, &[i as u8, 9])));
        }
        members.push(("deep/in/test_batch.bin", records(1, &[7])));
        for (name, content) in &members {
            fs::write(folder.path().join(name.rsplit('/').next().unwrap()), content).unwrap();
        }
        let archive = folder.path().join("all.tar.gz");
        fs::write(&archive, tar(&members)).unwrap();
        for path in [folder.path(), &archive] {
            let Splits { train, validation } = Cifar::Cifar10.load(path, &Cancel::default()).unwrap();
            assert_eq!(train.labels().single().unwrap(), [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
            assert_eq!((train.image_shape(), train.class_names().unwrap()[6].as_str()), ([3, 32, 32], "frog"));
            let mut images = vec![0.0; IMAGE];
            validation.unwrap().fill(&[0], &mut images, &mut [0]).unwrap();
            assert!(images.iter().all(|&value| value == 14.0 / 255.0));
        }
        let whole = fs::read(&archive).unwrap();
        for (cut, code) in [(whole.len() / 2, Code::DataCorrupt), (0, Code::DataCorrupt)] {
            fs::write(&archive, &whole[..cut]).unwrap();
            assert_eq!(Cifar::Cifar10.load(&archive, &Cancel::default()).unwrap_err().code, code);
        }
    }

    #[test]
    fn the_fine_label_counts_and_names_come_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = records(2, &[3]);
        record[0] = 255;
        fs::write(folder.path().join("train.bin"), &record).unwrap();
        fs::write(folder.path().join("test.bin"), records(2, &[99])).unwrap();
        let load = || Cifar::Cifar100.load(folder.path(), &Cancel::default());
        assert_eq!(load().unwrap().train.class_names(), None);
        let names: String = (0..100).map(|i| format!("class {i}\n")).collect();
        fs::write(folder.path().join("fine_label_names.txt"), names).unwrap();
        let Splits { train, validation } = load().unwrap();
        assert_eq!((train.labels(), validation.unwrap().labels()), ([3][..].into(), [99][..].into()));
        assert_eq!(train.class_names().unwrap()[99], "class 99");
        fs::write(folder.path().join("test.bin"), records(2, &[100])).unwrap();
        let error = load().unwrap_err();
        assert!(error.message.ends_with("test.bin: expected labels below 100, got 100"), "{error}");
        fs::write(folder.path().join("test.bin"), [0; 100]).unwrap();
        assert!(load().unwrap_err().message.contains("expected records of 3074 bytes, got 100 bytes"));
        fs::remove_file(folder.path().join("test.bin")).unwrap();
        assert_eq!(load().unwrap_err().code, Code::DataNotFound);
    }
}
