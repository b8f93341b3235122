//! The classes of a data set or a network, and their names.

use crate::error::{quoted, Code, Error, Result};
use std::collections::HashSet;

/// The classes that labels are below; a name for each or none.
#[derive(Debug, PartialEq)]
pub(super) struct Classes {
    pub count: usize,
    pub names: Option<Vec<String>>,
}

impl Classes {
    /// Their names, or how many they are.
    pub fn told(&self) -> String {
        self.names.as_ref().map_or_else(|| format!("{} without names", self.count), quoted)
    }
}

/// Refuses names by which two classes could not be told apart.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT`.
pub fn check_class_names(names: &[String]) -> Result<()> {
    let mut known = HashSet::new();
    match names.iter().find(|name| !known.insert(*name)) {
        None => Ok(()),
        Some(twice) => {
            let got = format!("{} twice", quoted(twice));
            Err(Error::expected(Code::InvalidArgument, "classNames", "a name of its own for each class", got))
        }
    }
}
