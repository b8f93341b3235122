//! Lists of pictures that may be of any number of classes each.

use super::{check_wanted, image_list, told, Code, Error, ImageFolder, OnError, Result, Skipped, Walk};
use crate::data::dataset::{Dataset, Splits};
use crate::data::labels::Labels;
use crate::data::picture::PictureSet;
use crate::data::source::natural::compare;
use resnet_ops::allocate::make_room;
use std::collections::{BTreeSet, HashMap};

impl ImageFolder {
    /// [`ImageFolder::load`] of such a list; the classes are all that are named for training, in their natural order.
    pub(super) fn load_sets(&self, mut walk: Walk) -> Result<(Splits, Skipped)> {
        if !image_list::is_list(&self.path) {
            let expected = "\"single\" for a folder, where each picture is of one class (a list, .csv or .jsonl, may name several)";
            return Err(Error::expected(Code::InvalidArgument, "labels", expected, "\"multi\""));
        }
        let (train, validation, test) = image_list::read_sets(&self.path)?;
        walk.skipped.test = test;
        let found: BTreeSet<&String> = train.iter().flat_map(|(_, names)| names).collect();
        let mut names: Vec<String> = found.iter().map(|&name| name.clone()).collect();
        names.sort_by(|a, b| compare(a, b));
        if let Some(wanted) = &self.class_names {
            check_wanted(&names, wanted)?;
            names.clone_from(wanted);
        }
        if names.is_empty() {
            return Err(Error::expected(Code::DataNotFound, &told(&self.path), "at least one class", "none"));
        }
        let train = self.set(train, &names, &mut walk)?;
        let validation = validation.map(|files| self.set(files, &names, &mut walk)).transpose()?;
        let splits = self.parted(train, validation)?;
        Ok((self.looked_at(splits, walk.cancel)?, walk.skipped))
    }

    fn set(&self, files: image_list::Sets, names: &[String], walk: &mut Walk) -> Result<Dataset> {
        let places: HashMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (&**name, place)).collect();
        let (mut kept, mut matrix) = (Vec::new(), Vec::new());
        for (file, wanted) in files {
            if let Some(other) = wanted.iter().find(|name| !places.contains_key(&***name)) {
                if self.on_error == OnError::Throw {
                    return Err(self.not_trained(other, names));
                }
            }
            let Some(file) = walk.pictures(vec![file], self.on_error)?.pop() else { continue };
            kept.push(file);
            let start = matrix.len();
            make_room(&mut matrix, (start + names.len()).next_power_of_two())?;
            matrix.resize(start + names.len(), 0u8);
            wanted.iter().filter_map(|name| places.get(&**name)).for_each(|place| matrix[start + place] = 1);
        }
        if kept.is_empty() || u32::try_from(kept.len()).is_err() {
            let expected = "from 1 to 4294967295 pictures (JPEG, PNG or WebP)";
            return Err(Error::expected(Code::DataNotFound, &told(&self.path), expected, kept.len()));
        }
        let pictures = PictureSet::new(kept, self.transform.clone(), self.on_error, self.cache);
        let labels = Labels::Multi { classes: names.len(), matrix };
        Ok(Dataset::of_pictures(pictures, labels, names.to_vec()))
    }
}
