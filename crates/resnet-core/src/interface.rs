//! What pictures a network takes and what its outputs mean: plain data that travels with the weights.

use crate::data::{check_class_names, Dataset, LabelKind, PictureTransform};
use crate::error::{Code, Error, Result};
use crate::model::graph::trace;
use crate::model::shape::Shape;
use crate::model::Layer;
use serde::{Deserialize, Serialize};

/// What a program must know to put pictures into a network and to read what comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// What is done to a picture before the network sees it; none where it was trained on numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<PictureTransform>,
    /// Names of the classes, in the order of the outputs, if they have names; the last outputs may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_names: Option<Vec<String>>,
    /// How many classes a picture may be of, if that is known: what files of version 0.1 do not tell. One, unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_kind: Option<LabelKind>,
    /// What logits are divided by before they become probabilities (Guo et al., 2017, <https://arxiv.org/abs/1706.04599>).
    #[serde(default = "uncalibrated")]
    pub temperature: f64,
}

fn uncalibrated() -> f64 {
    1.0
}

impl Default for Interface {
    fn default() -> Self {
        Self { transform: None, class_names: None, label_kind: None, temperature: uncalibrated() }
    }
}

impl Interface {
    /// What a network that is trained on a data set, which fits it, takes and means.
    pub fn of(data: &Dataset) -> Self {
        let class_names = data.class_names().map(<[String]>::to_vec);
        let label_kind = Some(data.labels().kind());
        Self { transform: data.picture_transform(), class_names, label_kind, ..Self::default() }
    }

    /// The interface of a description such as `{"transform":{"size":[96,96],…},"class_names":["cat","dog"],"temperature":1.3}`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("interface: {error}")))
    }

    /// The description, which [`Self::from_json`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Refuses what cannot be, or does not fit a network of so many input channels, if they are known.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it cannot be; `ERR_SHAPE` if it does not fit.
    pub fn check(&self, network: &Layer, in_channels: Option<usize>) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            let expected = "a finite number above 0";
            return Err(Error::expected(Code::InvalidArgument, "temperature", expected, self.temperature));
        }
        self.class_names.as_deref().map_or(Ok(()), check_class_names)?;
        let Some(transform) = &self.transform else { return Ok(()) };
        transform.check()?;
        let [channels, height, width] = transform.output();
        if let Some(expected) = in_channels.filter(|&expected| expected != channels) {
            return Err(Error::expected(Code::Shape, "transform", format!("{expected} channels"), channels));
        }
        let trace = trace(network, Shape::map(channels, height, width))?;
        let (outputs, names) = (trace.shapes[trace.output].channels(), self.class_names.as_ref().map_or(0, Vec::len));
        if names > outputs {
            let expected = format!("at most a name for each of the network's {outputs} outputs");
            return Err(Error::expected(Code::Shape, "classNames", expected, names));
        }
        Ok(())
    }
}
