//! Folders of pictures: a folder for each class, alone or within folders for training and validation; or a list of files with labels.

use super::image_list::{self, Classes};
use super::natural::compare;
use crate::cancel::Cancel;
use crate::data::classes::check_class_names;
use crate::data::dataset::{Dataset, Splits};
use crate::data::labels::{LabelKind, Labels};
use crate::data::pass::threads_of_files;
use crate::data::picture::{details, look, OnError, PictureSet, PictureTransform};
use crate::data::sweep::sweep;
use crate::error::{quoted, told, Code, Error, Result};
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

mod sets;

/// Endings of files that are taken for pictures; what they are is told by their bytes.
const ENDINGS: [&str; 6] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp"];

/// Files that an error names which are no pictures.
const NAMED: usize = 3;

/// How deep folders within a class's folder may lie.
const MAX_DEPTH: usize = 32;

/// Where pictures are, and what is to be made of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFolder {
    /// The folder, or a list: a file whose name ends in `.csv` or `.jsonl`.
    pub path: PathBuf,
    /// What is done to each picture.
    pub transform: PictureTransform,
    /// Whether mean and deviation of the pictures for training are measured, to normalise all by them.
    pub measured: bool,
    /// The share that is kept apart for validation.
    pub split: Option<f64>,
    /// Whether that is a share of each class.
    pub stratified: bool,
    /// Seed of what is kept apart.
    pub seed: u64,
    /// How many classes a picture may be of: in a list any number, as its cells or fields say.
    #[serde(default = "single")]
    pub labels: LabelKind,
    /// The classes and their order, instead of all in their natural order.
    pub class_names: Option<Vec<String>>,
    /// What a file that cannot be read leads to.
    pub on_error: OnError,
    /// Whether all pictures are read once at the beginning.
    pub verify: bool,
    /// Bytes of fitted pictures that are kept in memory.
    pub cache: usize,
}

/// What is left out is one class each.
fn single() -> LabelKind {
    LabelKind::Single
}

/// What was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Skipped {
    /// Files and folders whose names begin with a dot.
    pub hidden: usize,
    /// Symbolic links.
    pub links: usize,
    /// Files that are no pictures by their names, and what is neither file nor folder.
    pub others: usize,
    /// Files that are no pictures by their bytes, with what they are.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Classes without pictures.
    pub empty_classes: Vec<String>,
    /// Classes for validation that there is nothing to train on of.
    pub untrained_classes: Vec<String>,
    /// Pictures of a part `test`, which is not used where there is one for validation.
    pub test: usize,
}

impl ImageFolder {
    /// Lists the files, and looks at the first bytes of each.
    ///
    /// # Errors
    /// `ERR_DATA_NOT_FOUND` if there are no pictures or a class has none, `ERR_DATA_CORRUPT` if a file is no picture, `ERR_IO` if a folder
    /// cannot be read, `ERR_INVALID_ARGUMENT` if settings do not fit the folder, `ERR_ABORTED`.
    pub fn load(&self, cancel: &Cancel) -> Result<(Splits, Skipped)> {
        self.transform.check()?;
        self.class_names.as_deref().map_or(Ok(()), check_class_names)?;
        let decoded = self.verify && self.on_error == OnError::Skip;
        let mut walk = Walk { skipped: Skipped::default(), cancel, decoded };
        if self.labels == LabelKind::Multi {
            return self.load_sets(walk);
        }
        let (train, validation) = match image_list::is_list(&self.path) {
            true => {
                let (train, validation, test) = image_list::read(&self.path)?;
                walk.skipped.test = test;
                (train, validation)
            }
            false => self.folders(&mut walk)?,
        };
        let mut train = self.kept(train, &mut walk, self.class_names.as_deref())?;
        if train.len() < 2 {
            let got: Vec<&str> = train.iter().map(|(name, _)| &**name).collect();
            let got = if got.is_empty() { "none".to_owned() } else { format!("{} alone", quoted(&got)) };
            return Err(self.none_found("at least two classes with pictures", got, &walk));
        }
        let names: Vec<String> = train.iter().map(|(name, _)| name.clone()).collect();
        let validation = validation.map(|classes| self.kept_for_validation(classes, &mut walk, &names)).transpose()?;
        let set = |classes: Vec<(String, Vec<PathBuf>)>| {
            let labels = (0u32..).zip(&classes).flat_map(|(label, (_, files))| vec![label; files.len()]);
            let labels = Labels::Single(labels.collect());
            let files: Vec<PathBuf> = classes.into_iter().flat_map(|(_, files)| files).collect();
            let pictures = PictureSet::new(files, self.transform.clone(), self.on_error, self.cache);
            Dataset::of_pictures(pictures, labels, names.clone())
        };
        let train = set(std::mem::take(&mut train));
        let splits = self.parted(train, validation.map(set))?;
        Ok((self.looked_at(splits, cancel)?, walk.skipped))
    }

    /// Training and validation, of which the latter may be kept apart here.
    fn parted(&self, train: Dataset, validation: Option<Dataset>) -> Result<Splits> {
        match (validation, self.split) {
            (Some(_), Some(split)) => {
                let expected = "none where pictures for validation stand apart already";
                Err(Error::expected(Code::InvalidArgument, "split", expected, split))
            }
            (None, Some(split)) => train.split(split, self.stratified, self.seed),
            (validation, None) => Ok(Splits { train, validation }),
        }
    }

    /// Reads all pictures if that is wanted, or needed to measure them.
    fn looked_at(&self, splits: Splits, cancel: &Cancel) -> Result<Splits> {
        let Splits { mut train, mut validation } = splits;
        if self.verify && self.on_error == OnError::Throw {
            train.verify(cancel)?;
            validation.iter().try_for_each(|data| data.verify(cancel))?;
        }
        if self.measured {
            let measured = Some(train.measure(cancel)?);
            train = train.normalised(measured.clone())?;
            validation = validation.map(|data| data.normalised(measured)).transpose()?;
        }
        Ok(Splits { train, validation })
    }

    /// The files by class, of training and of validation if that stands apart.
    fn folders(&self, walk: &mut Walk) -> Result<(Classes, Option<Classes>)> {
        let root = walk.list(&self.path)?;
        walk.skipped.others += root.files.len();
        let find = |names: &[&str]| root.folders.iter().find(|(name, _)| names.contains(&&**name));
        let train = find(&["train"]);
        let validation = find(&["val", "validation", "valid"]);
        let (validation, unused) = validation.map_or((find(&["test"]), None), |found| (Some(found), find(&["test"])));
        let known = ["train", "val", "validation", "valid", "test"];
        if let (Some((_, train)), Some((_, validation))) = (train, validation) {
            if root.folders.iter().all(|(name, _)| known.contains(&&**name)) {
                let mut classes = |folder: &Path| {
                    let inner = walk.list(folder)?;
                    walk.skipped.others += inner.files.len();
                    walk.classes(inner.folders)
                };
                let (train, validation) = (classes(train)?, classes(validation)?);
                if let Some((_, test)) = unused {
                    walk.skipped.test = walk.files_below(test)?.len();
                }
                return Ok((train, Some(validation)));
            }
        }
        Ok((walk.classes(root.folders)?, None))
    }

    /// The classes that are wanted, in their order, with the files that are pictures.
    fn kept(
        &self,
        mut classes: Classes,
        walk: &mut Walk,
        wanted: Option<&[String]>,
    ) -> Result<Vec<(String, Vec<PathBuf>)>> {
        let mut names: Vec<String> = classes.keys().cloned().collect();
        names.sort_by(|a, b| compare(a, b));
        if let Some(wanted) = wanted {
            check_wanted(&names, wanted)?;
            names = wanted.to_vec();
        }
        let mut kept = Vec::new();
        for name in names {
            let files = walk.pictures(classes.remove(&name).unwrap_or_default(), self.on_error)?;
            if files.is_empty() && wanted.is_none() {
                if self.on_error == OnError::Throw {
                    let place = format!("class {} of {}", quoted(&name), told(&self.path));
                    let expected = "at least one picture (JPEG, PNG or WebP)";
                    return Err(Error::expected(Code::DataNotFound, &place, expected, "none"));
                }
                walk.skipped.empty_classes.push(name);
                continue;
            }
            kept.push((name, files));
        }
        let count: usize = kept.iter().map(|(_, files)| files.len()).sum();
        if count == 0 {
            return Err(self.none_found("pictures", "none", walk));
        }
        if u32::try_from(count).is_err() {
            return Err(self.none_found("at most 4294967295 pictures", count, walk));
        }
        Ok(kept)
    }

    /// Likewise, of the classes that there are for training; one may have no files.
    fn kept_for_validation(
        &self,
        mut classes: Classes,
        walk: &mut Walk,
        names: &[String],
    ) -> Result<Vec<(String, Vec<PathBuf>)>> {
        let known: HashSet<&String> = names.iter().collect();
        let mut others: Vec<String> = classes.keys().filter(|name| !known.contains(name)).cloned().collect();
        others.sort_by(|a, b| compare(a, b));
        if let Some(other) = others.first() {
            if self.on_error == OnError::Throw {
                return Err(self.not_trained(other, names));
            }
        }
        walk.skipped.untrained_classes = others;
        classes.retain(|name, _| known.contains(name));
        for name in names {
            classes.entry(name.clone()).or_default();
        }
        self.kept(classes, walk, Some(names))
    }

    /// The error about validation pictures of a class that is none of these.
    fn not_trained(&self, other: &str, names: &[String]) -> Error {
        let place = format!("validation pictures of {}", told(&self.path));
        let expected = format!("only classes that there are for training, {}", quoted(&names));
        Error::expected(Code::DataNotFound, &place, expected, quoted(&other))
    }

    /// The error where there are too few pictures, with the files that should have been some.
    fn none_found(&self, expected: &str, got: impl Display, walk: &Walk) -> Error {
        let form = match image_list::is_list(&self.path) {
            true => "named by rows with a label each",
            false => "each class in a folder of its own",
        };
        let expected = format!("{expected} (JPEG, PNG or WebP), {form}");
        let unreadable = &walk.skipped.unreadable;
        let listed = unreadable.iter().take(NAMED).map(|(path, got)| format!("{}: {got}", told(path)));
        let more = unreadable.len().saturating_sub(NAMED);
        let but = match &*listed.collect::<Vec<_>>().join(", ") {
            "" => String::new(),
            named if more > 0 => format!(", where these are no pictures: {named} and {more} more"),
            named => format!(", where these are no pictures: {named}"),
        };
        Error::expected(Code::DataNotFound, &told(&self.path), expected, format!("{got}{but}"))
    }
}

/// A walk through folders that counts what it passes over.
struct Walk<'a> {
    skipped: Skipped,
    cancel: &'a Cancel,
    /// Whether pictures are decoded to see that they are some; else their first bytes tell.
    decoded: bool,
}

/// What is in a folder, each in natural order.
#[derive(Default)]
struct Listing {
    /// With their names.
    folders: Vec<(String, PathBuf)>,
    /// With the ending of a picture.
    files: Vec<PathBuf>,
}

impl Walk<'_> {
    fn list(&mut self, folder: &Path) -> Result<Listing> {
        self.cancel.check()?;
        let entries = fs::read_dir(folder).map_err(|error| not_a_folder(folder, &error))?;
        let mut listing = Listing::default();
        for entry in entries {
            let entry = entry.map_err(|error| Error::io("read", folder, &error))?;
            let (path, kind) = (entry.path(), entry.file_type());
            let kind = kind.map_err(|error| Error::io("look at", &path, &error))?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                self.skipped.hidden += 1;
            } else if kind.is_symlink() {
                self.skipped.links += 1;
            } else if kind.is_dir() {
                match name.into_string() {
                    Ok(name) => listing.folders.push((name, path)),
                    // A class could not be called by it.
                    Err(_) => self.skipped.others += 1,
                }
            } else if kind.is_file() && is_named_as_picture(&path) {
                listing.files.push(path);
            } else {
                self.skipped.others += 1;
            }
        }
        listing.folders.sort_by(|(a, _), (b, _)| compare(a, b));
        listing.files.sort_by(|a, b| compare(&a.to_string_lossy(), &b.to_string_lossy()).then_with(|| a.cmp(b)));
        Ok(listing)
    }

    fn classes(&mut self, folders: Vec<(String, PathBuf)>) -> Result<Classes> {
        folders.into_iter().map(|(name, folder)| Ok((name, self.files_below(&folder)?))).collect()
    }

    /// All files below a folder. Links are not followed, so that there is an end to it.
    fn files_below(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let (mut files, mut left) = (Vec::new(), vec![(folder.to_owned(), 0)]);
        while let Some((folder, depth)) = left.pop() {
            let listing = self.list(&folder)?;
            files.extend(listing.files);
            for (_, inner) in listing.folders.into_iter().rev() {
                if depth + 1 == MAX_DEPTH {
                    let expected = format!("folders at most {MAX_DEPTH} deep");
                    return Err(Error::expected(Code::DataCorrupt, &told(&inner), expected, "a deeper one"));
                }
                left.push((inner, depth + 1));
            }
        }
        Ok(files)
    }

    /// Those that are pictures.
    fn pictures(&mut self, files: Vec<PathBuf>, on_error: OnError) -> Result<Vec<PathBuf>> {
        let problems = match self.decoded {
            true => {
                let threads = threads_of_files();
                let look = |bytes: &mut Vec<u8>, index: usize| Ok(details(&files[index], bytes)?.content.err());
                sweep(files.len(), threads, self.cancel, || Ok(Vec::new()), look)?
            }
            false => {
                let mut problems = Vec::with_capacity(files.len());
                for (index, path) in files.iter().enumerate() {
                    if index % 256 == 0 {
                        self.cancel.check()?;
                    }
                    problems.push(look(path));
                }
                problems
            }
        };
        let mut pictures = Vec::with_capacity(files.len());
        for (path, problem) in files.into_iter().zip(problems) {
            match (problem, on_error) {
                (None, _) => pictures.push(path),
                (Some(got), OnError::Skip) => self.skipped.unreadable.push((path, got)),
                (Some(got), OnError::Throw) => {
                    let expected = "a JPEG, PNG or WebP picture";
                    return Err(Error::expected(Code::DataCorrupt, &told(&path), expected, got));
                }
            }
        }
        Ok(pictures)
    }
}

fn is_named_as_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&&*ending))
}

fn not_a_folder(path: &Path, error: &std::io::Error) -> Error {
    if path.is_file() {
        let expected = "a folder with a folder for each class, or a list whose name ends in .csv or .jsonl";
        return Error::expected(Code::DataNotFound, &told(path), expected, "a file");
    }
    if error.kind() == std::io::ErrorKind::NotFound {
        return Error::expected(Code::DataNotFound, &told(path), "a folder", "nothing");
    }
    Error::io("read the folder", path, error)
}

/// Refuses names that are none of those that are wanted.
fn check_wanted(names: &[String], wanted: &[String]) -> Result<()> {
    let Some(other) = names.iter().find(|name| !wanted.contains(name)) else { return Ok(()) };
    let (expected, got) = (format!("only the classes {}", quoted(&wanted)), format!("also {}", quoted(other)));
    Err(Error::expected(Code::InvalidArgument, "classNames", expected, got))
}
