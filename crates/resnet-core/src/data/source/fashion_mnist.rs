//! Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28x28 grey images of ten kinds of clothing.

use super::idx::{self, Idx};
use super::Splits;
use crate::data::dataset::{Dataset, Samples};
use crate::data::pixels::Pixels;
use crate::error::{Code, Error, Result};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// Names of the classes, by label.
pub const CLASSES: [&str; 10] =
    ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// A file as its authors publish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// The file's name.
    pub name: &'static str,
    /// Its length in bytes.
    pub bytes: usize,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: &'static str,
}

/// The four files of the data set.
pub const FILES: [FileInfo; 4] = [
    FileInfo {
        name: "train-images-idx3-ubyte.gz",
        bytes: 26_421_880,
        sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    },
    FileInfo {
        name: "train-labels-idx1-ubyte.gz",
        bytes: 29_515,
        sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    },
    FileInfo {
        name: "t10k-images-idx3-ubyte.gz",
        bytes: 4_422_102,
        sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    },
    FileInfo {
        name: "t10k-labels-idx1-ubyte.gz",
        bytes: 5_148,
        sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
];

/// Height and width of an image.
const SIDE: usize = 28;

/// More than any set of this kind holds: the official training images are 47 million bytes.
const MAX_BYTES: usize = 1 << 30;

/// Loads a folder that holds the four files, each plain (without `.gz` in its name) or gzip: in the full set 60,000 images for
/// training and 10,000 for validation. Their content may be another set's, if it has the same form.
///
/// # Errors
/// `ERR_DATA_NOT_FOUND` if a file is missing, `ERR_DATA_CORRUPT` if one is damaged or not of that form, `ERR_IO` if one cannot
/// be read.
pub fn load(folder: &Path) -> Result<Splits> {
    let [train_images, train_labels, images, labels] = FILES.map(|file| find(folder, file.name));
    Ok(Splits { train: load_part(&train_images?, &train_labels?)?, validation: load_part(&images?, &labels?)? })
}

/// Checks a downloaded file against [`FILES`].
///
/// # Errors
/// `ERR_DATA_CORRUPT` if it differs, `ERR_INVALID_ARGUMENT` if no file has that name.
pub fn verify(name: &str, bytes: &[u8]) -> Result<()> {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        let names = FILES.map(|file| file.name).join(", ");
        return Err(Error::expected(Code::InvalidArgument, "name", format!("one of {names}"), name));
    };
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 != file.sha256 {
        let expected = format!("{} bytes with SHA-256 {}", file.bytes, file.sha256);
        let got = format!("{} bytes with SHA-256 {sha256}", bytes.len());
        return Err(Error::expected(Code::DataCorrupt, name, expected, got));
    }
    Ok(())
}

fn find(folder: &Path, packed: &str) -> Result<PathBuf> {
    let plain = packed.trim_end_matches(".gz");
    let places = [folder.join(plain), folder.join(packed)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let expected = format!("a file {plain} or {packed}");
        Error::expected(Code::DataNotFound, &folder.display().to_string(), expected, "neither")
    })
}

fn load_part(images_path: &Path, labels_path: &Path) -> Result<Dataset> {
    let corrupt = |path: &Path, expected: String, got: String| {
        Error::expected(Code::DataCorrupt, &path.display().to_string(), expected, got)
    };
    let Idx { shape: [count, height, width], bytes: images } = idx::read(images_path, MAX_BYTES)?;
    if count == 0 || [height, width] != [SIDE; 2] {
        let expected = format!("at least one image of {SIDE}x{SIDE}");
        return Err(corrupt(images_path, expected, format!("{count} of {height}x{width}")));
    }
    let Idx { shape: [label_count], bytes: labels } = idx::read(labels_path, MAX_BYTES)?;
    if label_count != count {
        return Err(corrupt(labels_path, format!("a label for each of {count} images"), format!("{label_count}")));
    }
    if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES.len()) {
        let expected = format!("labels below {}", CLASSES.len());
        return Err(corrupt(labels_path, expected, format!("{} at {index}", labels[index])));
    }
    Ok(Dataset::new(Samples {
        pixels: Pixels::U8(images),
        image: [1, SIDE, SIDE],
        labels: labels.into_iter().map(u32::from).collect(),
        num_classes: CLASSES.len(),
        class_names: Some(CLASSES.map(String::from).into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    const NAMES: [&str; 4] =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

    fn sample() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist-sample")
    }

    fn idx_file(shape: &[u32], fill: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
        bytes.resize(bytes.len() + shape.iter().product::<u32>() as usize, fill);
        bytes
    }

    /// A folder with three training and two validation images, plain.
    fn small_set() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, shape) in NAMES.iter().zip([&[3, 28, 28][..], &[3], &[2, 28, 28], &[2]]) {
            fs::write(folder.path().join(name), idx_file(shape, 9)).unwrap();
        }
        folder
    }

    #[track_caller]
    fn assert_refused(name: &str, content: Option<Vec<u8>>, code: Code, message: &str) {
        let folder = small_set();
        let path = folder.path().join(name);
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = load(folder.path()).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(message) && error.message.contains(name), "{error}");
    }

    #[test]
    fn loads_the_carried_sample() {
        let Splits { train, validation } = load(&sample()).unwrap();
        assert_eq!((train.len(), validation.len()), (4096, 1024));
        assert_eq!((train.image_shape(), train.num_classes()), ([1, 28, 28], 10));
        assert_eq!(train.class_names().unwrap()[9], "ankle boot");
        // The full set's first labels.
        assert_eq!(train.labels()[..10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
        assert_eq!(validation.labels()[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
        for class in 0..10 {
            let share = train.labels().iter().filter(|&&label| label == class).count() as f64 / 4096.0;
            assert!((0.08..0.12).contains(&share), "class {class}: {share}");
        }
    }

    #[test]
    fn loads_plain_files() {
        let folder = small_set();
        let Splits { train, validation } = load(folder.path()).unwrap();
        assert_eq!((train.labels(), validation.labels()), (&[9; 3][..], &[9; 2][..]));
    }

    #[test]
    fn names_the_missing_file() {
        for name in NAMES {
            assert_refused(name, None, Code::DataNotFound, "got neither");
        }
        assert_eq!(load(Path::new("/nowhere")).unwrap_err().code, Code::DataNotFound);
    }

    #[test]
    fn refuses_files_that_do_not_fit() {
        let [images, labels, ..] = NAMES;
        assert_refused(images, Some(idx_file(&[3, 28, 27], 0)), Code::DataCorrupt, "of 28x28, got 3 of 28x27");
        assert_refused(images, Some(idx_file(&[0, 28, 28], 0)), Code::DataCorrupt, "got 0 of 28x28");
        assert_refused(images, Some(idx_file(&[3], 0)), Code::DataCorrupt, "in 3 dimensions");
        assert_refused(labels, Some(idx_file(&[4], 0)), Code::DataCorrupt, "each of 3 images, got 4");
        assert_refused(labels, Some(idx_file(&[3], 10)), Code::DataCorrupt, "labels below 10, got 10 at 0");
        assert_refused(NAMES[2], Some(b"<html>".to_vec()), Code::DataCorrupt, "an IDX file");
    }

    #[test]
    fn verify_refuses_other_bytes_and_names() {
        for file in FILES {
            let error = verify(file.name, b"<html>").unwrap_err();
            assert_eq!(error.code, Code::DataCorrupt);
            assert!(error.message.starts_with(&format!("{}: expected {} bytes", file.name, file.bytes)), "{error}");
        }
        assert_eq!(verify("mnist.gz", b"").unwrap_err().code, Code::InvalidArgument);
    }
}
