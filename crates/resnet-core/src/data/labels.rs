//! What samples are labelled with: a class each, or any number of classes.

use crate::error::{Code, Error, Result};
use resnet_ops::allocate::{make_room, with_room};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How many classes a sample may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// One.
    Single,
    /// Any number, or none.
    Multi,
}

/// Labels of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// A class for each, counting from 0.
    Single(Vec<u32>),
    /// Which classes each is of.
    Multi {
        /// Number of classes, at least 1.
        classes: usize,
        /// (N, classes): 1 for those that it is of, else 0.
        matrix: Vec<u8>,
    },
}

/// Some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelsRef<'a> {
    /// See [`Labels::Single`].
    Single(&'a [u32]),
    /// See [`Labels::Multi`].
    Multi {
        /// Number of classes.
        classes: usize,
        /// (N, classes).
        matrix: &'a [u8],
    },
}

impl LabelKind {
    /// What data of this kind have, in messages.
    pub fn told(self) -> &'static str {
        match self {
            Self::Single => "one label for each sample",
            Self::Multi => "any number of labels for each sample (labels: \"multi\")",
        }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::Single(Vec::new())
    }
}

impl From<Vec<u32>> for Labels {
    fn from(labels: Vec<u32>) -> Self {
        Self::Single(labels)
    }
}

impl<'a> From<&'a [u32]> for LabelsRef<'a> {
    fn from(labels: &'a [u32]) -> Self {
        Self::Single(labels)
    }
}

impl Labels {
    /// All of them.
    pub fn all(&self) -> LabelsRef<'_> {
        match self {
            Self::Single(labels) => LabelsRef::Single(labels),
            Self::Multi { classes, matrix } => LabelsRef::Multi { classes: *classes, matrix },
        }
    }

    /// Number of samples.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Refuses a matrix that is none.
    ///
    /// # Errors
    /// `ERR_SHAPE` if it is not of whole rows; `ERR_LABEL` if a value is neither 0 nor 1.
    pub fn check(&self, parameter: &str) -> Result<()> {
        let Self::Multi { classes, matrix } = self else { return Ok(()) };
        if *classes == 0 || !matrix.len().is_multiple_of(*classes) {
            let expected = format!("rows of {classes} values, at least 1");
            return Err(Error::expected(Code::Shape, parameter, expected, format!("{} values", matrix.len())));
        }
        match matrix.iter().position(|&value| value > 1) {
            Some(place) => {
                let name = format!("{parameter}[{place}]");
                let expected = "1 for a class that the sample is of, or 0";
                Err(Error::expected(Code::Label, &name, expected, matrix[place]))
            }
            None => Ok(()),
        }
    }

    /// Becomes a room for labels of these samples: of the same kind, empty, in the memory that it has where that fits.
    pub(super) fn clear_for(&mut self, like: LabelsRef, count: usize) -> Result<()> {
        match (&mut *self, like) {
            (Self::Single(labels), LabelsRef::Single(_)) => {
                labels.clear();
                make_room(labels, count)?;
            }
            (Self::Multi { classes, matrix }, LabelsRef::Multi { classes: wanted, .. }) => {
                *classes = wanted;
                matrix.clear();
                make_room(matrix, count.saturating_mul(wanted))?;
            }
            (_, LabelsRef::Single(_)) => *self = Self::Single(with_room(count)?),
            (_, LabelsRef::Multi { classes, .. }) => {
                *self = Self::Multi { classes, matrix: with_room(count.saturating_mul(classes))? };
            }
        }
        Ok(())
    }

    /// Adds samples of the same kind.
    pub(crate) fn extend(&mut self, more: LabelsRef) -> Result<()> {
        match (&mut *self, more) {
            (Self::Single(labels), LabelsRef::Single(more)) => {
                make_room(labels, labels.len() + more.len())?;
                labels.extend_from_slice(more);
            }
            (Self::Multi { matrix, .. }, LabelsRef::Multi { matrix: more, .. }) => {
                make_room(matrix, matrix.len() + more.len())?;
                matrix.extend_from_slice(more);
            }
            (Self::Single(_), LabelsRef::Multi { .. }) | (Self::Multi { .. }, LabelsRef::Single(_)) => {
                return Err(Error::new(Code::Internal, "labels of two kinds"));
            }
        }
        Ok(())
    }

    /// Of these samples the last one's comes first, before those of all others.
    pub(super) fn rotate(&mut self, samples: Range<usize>) {
        match self {
            _ if samples.is_empty() => {}
            Self::Single(labels) => labels[samples].rotate_right(1),
            Self::Multi { classes, matrix } => {
                matrix[samples.start * *classes..samples.end * *classes].rotate_right(*classes);
            }
        }
    }
}

impl<'a> LabelsRef<'a> {
    /// Number of samples.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        match self {
            Self::Single(labels) => labels.len(),
            Self::Multi { classes, matrix } => matrix.len() / classes,
        }
    }

    /// How many classes a sample may be of.
    pub fn kind(self) -> LabelKind {
        match self {
            Self::Single(_) => LabelKind::Single,
            Self::Multi { .. } => LabelKind::Multi,
        }
    }

    /// A class for each sample, if that is what they are.
    pub fn single(self) -> Option<&'a [u32]> {
        match self {
            Self::Single(labels) => Some(labels),
            Self::Multi { .. } => None,
        }
    }

    /// Those of the samples from one place to another.
    pub fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::Single(labels) => Self::Single(&labels[range]),
            Self::Multi { classes, matrix } => {
                Self::Multi { classes, matrix: &matrix[range.start * classes..range.end * classes] }
            }
        }
    }

    /// A copy of those of the samples at these places.
    pub(super) fn gather(self, places: &[u32]) -> Result<Labels> {
        let mut labels = Labels::default();
        labels.clear_for(self, places.len())?;
        places.iter().try_for_each(|&place| labels.extend(self.part(place as usize..place as usize + 1)))?;
        Ok(labels)
    }

    /// The classes that a sample is of.
    pub(super) fn of(self, sample: usize) -> Vec<usize> {
        match self.part(sample..sample + 1) {
            Self::Single(labels) => labels.iter().map(|&label| label as usize).collect(),
            Self::Multi { matrix, .. } => (0..matrix.len()).filter(|&class| matrix[class] == 1).collect(),
        }
    }
}
