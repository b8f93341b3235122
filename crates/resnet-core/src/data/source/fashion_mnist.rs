//! Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 28x28 grey images of ten kinds of clothing.

use super::idx::{self, Idx};
use crate::cancel::Cancel;
use crate::data::dataset::{Dataset, Samples, Splits};
use crate::data::pixels::Pixels;
use crate::error::{Code, Error, Result};
use resnet_ops::allocate::with_room;
use std::path::{Path, PathBuf};

/// Names of the classes, by label.
pub const CLASSES: [&str; 10] =
    ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// Names of MNIST's classes (LeCun et al., 1998), whose files have the same form.
pub const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Names of the four files: images and labels for training, and for validation.
const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// Height and width of an image.
const SIDE: usize = 28;

/// More than any set of this kind holds: the official training images are 47 million bytes.
const MAX_BYTES: usize = 1 << 30;

/// Loads a folder that holds the four files, each plain (without `.gz` in its name) or gzip: in the full set 60,000 images for
/// training and 10,000 for validation. Their content may be another set's, if it has the same form.
///
/// # Errors
/// `ERR_DATA_NOT_FOUND` if a file is missing, `ERR_DATA_CORRUPT` if one is damaged or not of that form, `ERR_IO` if one cannot
/// be read; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
pub fn load(folder: &Path, cancel: &Cancel) -> Result<Splits> {
    load_named(folder, CLASSES, cancel)
}

/// The same, with other names of the classes.
pub(super) fn load_named(folder: &Path, classes: [&str; 10], cancel: &Cancel) -> Result<Splits> {
    let [train_images, train_labels, images, labels] = FILES.map(|name| find(folder, name));
    let part = |images: &Path, labels: &Path| load_part(images, labels, classes, cancel);
    Ok(Splits { train: part(&train_images?, &train_labels?)?, validation: Some(part(&images?, &labels?)?) })
}

fn find(folder: &Path, plain: &str) -> Result<PathBuf> {
    let packed = format!("{plain}.gz");
    let places = [folder.join(plain), folder.join(&packed)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let expected = format!("a file {plain} or {packed}");
        Error::expected(Code::DataNotFound, &folder.display().to_string(), expected, "neither")
    })
}

fn load_part(images_path: &Path, labels_path: &Path, classes: [&str; 10], cancel: &Cancel) -> Result<Dataset> {
    let corrupt = |path: &Path, expected: String, got: String| {
        Error::expected(Code::DataCorrupt, &path.display().to_string(), expected, got)
    };
    let Idx { shape: [count, height, width], bytes: images } = idx::read(images_path, MAX_BYTES, cancel)?;
    if count == 0 || [height, width] != [SIDE; 2] {
        let expected = format!("at least one image of {SIDE}x{SIDE}");
        return Err(corrupt(images_path, expected, format!("{count} of {height}x{width}")));
    }
    let Idx { shape: [label_count], bytes: labels } = idx::read(labels_path, MAX_BYTES, cancel)?;
    if label_count != count {
        return Err(corrupt(labels_path, format!("a label for each of {count} images"), format!("{label_count}")));
    }
    if let Some(index) = labels.iter().position(|&label| usize::from(label) >= classes.len()) {
        let expected = format!("labels below {}", classes.len());
        return Err(corrupt(labels_path, expected, format!("{} at {index}", labels[index])));
    }
    let mut numbers = with_room(count)?;
    numbers.extend(labels.into_iter().map(u32::from));
    Ok(Dataset::new(Samples {
        pixels: Pixels::U8(images),
        image: [1, SIDE, SIDE],
        labels: numbers.into(),
        num_classes: classes.len(),
        class_names: Some(classes.map(String::from).into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

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
        for (name, shape) in FILES.iter().zip([&[3, 28, 28][..], &[3], &[2, 28, 28], &[2]]) {
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
        let error = load(folder.path(), &Cancel::default()).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(message) && error.message.contains(name), "{error}");
    }

    #[test]
    fn loads_the_carried_sample() {
        let Splits { train, validation } = load(&sample(), &Cancel::default()).unwrap();
        let validation = validation.unwrap();
        assert_eq!((train.len(), validation.len()), (4096, 1024));
        assert_eq!((train.image_shape(), train.num_classes()), ([1, 28, 28], 10));
        assert_eq!(train.class_names().unwrap()[9], "ankle boot");
        // The full set's first labels.
        assert_eq!(train.labels().single().unwrap()[..10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
        assert_eq!(validation.labels().single().unwrap()[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
        for class in 0..10 {
            let share =
                train.labels().single().unwrap().iter().filter(|&&label| label == class).count() as f64 / 4096.0;
            assert!((0.08..0.12).contains(&share), "class {class}: {share}");
        }
    }

    #[test]
    fn loads_plain_files() {
        let folder = small_set();
        let Splits { train, validation } = load(folder.path(), &Cancel::default()).unwrap();
        assert_eq!((train.labels(), validation.unwrap().labels()), ([9; 3][..].into(), [9; 2][..].into()));
    }

    #[test]
    fn names_the_missing_file() {
        for name in FILES {
            assert_refused(name, None, Code::DataNotFound, "got neither");
        }
        assert_eq!(load(Path::new("/nowhere"), &Cancel::default()).unwrap_err().code, Code::DataNotFound);
    }

    #[test]
    fn refuses_files_that_do_not_fit() {
        let [images, labels, ..] = FILES;
        assert_refused(images, Some(idx_file(&[3, 28, 27], 0)), Code::DataCorrupt, "of 28x28, got 3 of 28x27");
        assert_refused(images, Some(idx_file(&[0, 28, 28], 0)), Code::DataCorrupt, "got 0 of 28x28");
        assert_refused(images, Some(idx_file(&[3], 0)), Code::DataCorrupt, "in 3 dimensions");
        assert_refused(labels, Some(idx_file(&[4], 0)), Code::DataCorrupt, "each of 3 images, got 4");
        assert_refused(labels, Some(idx_file(&[3], 10)), Code::DataCorrupt, "labels below 10, got 10 at 0");
        assert_refused(FILES[2], Some(b"<html>".to_vec()), Code::DataCorrupt, "an IDX file");
    }
}
