//! What training makes small.

use crate::data::{LabelKind, LabelsRef};
use crate::engine::Targets;
use crate::error::{Code, Error, Result};
use resnet_ops::{binary_cross_entropy, cross_entropy};
use serde::{Deserialize, Serialize};

/// The loss of a training run, of which the labels are one part. That of an evaluation is the plain one: its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Which one; by default the one for the labels' kind.
    #[serde(default)]
    pub of: Option<LossKind>,
    /// See [`cross_entropy::Targets`] and [`binary_cross_entropy::Targets`].
    #[serde(default)]
    pub label_smoothing: f64,
    /// A weight for each class, likewise.
    #[serde(default)]
    pub class_weights: Option<Vec<f64>>,
}

/// A kind of loss with what is its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LossKind {
    /// For samples of one class each: see [`cross_entropy`].
    CrossEntropy {},
    /// The same, less of it for samples that are right already (Lin et al., 2017, <https://arxiv.org/abs/1708.02002>).
    Focal {
        /// How much less, at least 0.
        gamma: f64,
    },
    /// For samples of any number of classes: see [`binary_cross_entropy`].
    BinaryCrossEntropy {
        /// A weight for each class where it is right.
        #[serde(default)]
        positive_weights: Option<Vec<f64>>,
    },
}

impl LossKind {
    /// As TypeScript names it.
    fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy {} => "crossEntropy",
            Self::Focal { .. } => "focal",
            Self::BinaryCrossEntropy { .. } => "binaryCrossEntropy",
        }
    }

    fn labels(&self) -> LabelKind {
        match self {
            Self::CrossEntropy {} | Self::Focal { .. } => LabelKind::Single,
            Self::BinaryCrossEntropy { .. } => LabelKind::Multi,
        }
    }
}

impl Loss {
    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check(&self) -> Result<()> {
        let refuse =
            |parameter, expected: &str, got: f64| Err(Error::expected(Code::InvalidArgument, parameter, expected, got));
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return refuse("labelSmoothing", "a number from 0 to below 1", self.label_smoothing);
        }
        match &self.of {
            Some(LossKind::Focal { gamma }) if !gamma.is_finite() || *gamma < 0.0 => {
                refuse("gamma", "a finite number of at least 0", *gamma)
            }
            Some(LossKind::CrossEntropy {} | LossKind::Focal { .. } | LossKind::BinaryCrossEntropy { .. }) | None => {
                Ok(())
            }
        }
    }

    /// Refuses labels that it is not for, and weights that do not fit the network's outputs or say nothing of these labels.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check_labels(&self, outputs: usize, labels: LabelsRef) -> Result<()> {
        if let Some(of) = self.of.as_ref().filter(|of| of.labels() != labels.kind()) {
            let expected = match of.labels() {
                LabelKind::Single => "binaryCrossEntropy",
                LabelKind::Multi => "crossEntropy or focal",
            };
            let expected = format!("{expected} for data with {}", labels.kind().told());
            return Err(Error::expected(Code::InvalidArgument, "loss", expected, of.name()));
        }
        let sound = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        let all = [("classWeights", self.class_weights.as_deref()), ("positiveWeights", self.positive_weights())];
        for (parameter, weights) in all.into_iter().filter_map(|(name, weights)| Some((name, weights?))) {
            let counts = match labels {
                LabelsRef::Single(labels) => {
                    labels.iter().all(|&label| weights.get(label as usize).is_some_and(|&weight| weight > 0.0))
                }
                LabelsRef::Multi { .. } => weights.iter().any(|&weight| weight > 0.0),
            };
            if weights.len() != outputs || !weights.iter().all(sound) || !counts {
                let more = match labels.kind() {
                    LabelKind::Single => "above 0 where there are samples",
                    LabelKind::Multi => "not all of them 0",
                };
                let expected = format!("a number of at least 0 for each of the network's {outputs} classes, {more}");
                return Err(Error::expected(Code::InvalidArgument, parameter, expected, format!("{weights:?}")));
            }
        }
        Ok(())
    }

    /// A weight for each class where it is right, if there are some.
    fn positive_weights(&self) -> Option<&[f64]> {
        match &self.of {
            Some(LossKind::BinaryCrossEntropy { positive_weights }) => positive_weights.as_deref(),
            Some(LossKind::CrossEntropy {} | LossKind::Focal { .. }) | None => None,
        }
    }

    /// What a batch's outputs are held against, labels and those that were mixed in, with the share of the former; they have been checked.
    pub(crate) fn targets<'a>(&'a self, labels: LabelsRef<'a>, other: Option<(LabelsRef<'a>, f64)>) -> Targets<'a> {
        let (label_smoothing, class_weights) = (self.label_smoothing, self.class_weights.as_deref());
        match labels {
            LabelsRef::Single(labels) => {
                let mixed = other.and_then(|(others, share)| Some((others.single()?, share)));
                let gamma = match self.of {
                    Some(LossKind::Focal { gamma }) => gamma,
                    Some(LossKind::CrossEntropy {} | LossKind::BinaryCrossEntropy { .. }) | None => 0.0,
                };
                Targets::Classes(cross_entropy::Targets {
                    labels,
                    mixed,
                    class_weights,
                    label_smoothing,
                    gamma,
                    whole: None,
                })
            }
            LabelsRef::Multi { matrix: labels, .. } => {
                let mixed = other.and_then(|(others, share)| match others {
                    LabelsRef::Multi { matrix, .. } => Some((matrix, share)),
                    LabelsRef::Single(_) => None,
                });
                let positive_weights = self.positive_weights();
                Targets::Sets(binary_cross_entropy::Targets {
                    labels,
                    mixed,
                    class_weights,
                    positive_weights,
                    label_smoothing,
                    whole: None,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
