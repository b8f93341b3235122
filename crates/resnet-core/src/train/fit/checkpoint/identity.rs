//! What tells a run from others: its options and its data.

use super::super::FitConfig;
use crate::data::Dataset;
use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};
use std::path::Path;

/// A run's options and data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The options that change its bits, by name.
    options: Map<String, Value>,
    train: DataIdentity,
    #[serde(default)]
    validation: Option<DataIdentity>,
}

/// What tells a data set from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataIdentity {
    samples: usize,
    /// Channels, height and width.
    image: [usize; 3],
    class_names: Option<Vec<String>>,
    fingerprint: String,
}

/// Options that may differ: what changes no bit.
const FREE: [&str; 4] = ["loader_threads", "gradient_norm", "checkpoint", "resume"];
/// How long the run is, which may differ too.
const LENGTH: &str = "epochs";
/// What may differ in a run of another length too, which has other bits anyway.
const OF_LENGTH: &str = "schedule";

impl Identity {
    /// That of a run.
    ///
    /// # Errors
    /// `ERR_INTERNAL` if the options have no description.
    pub fn of(config: &FitConfig, train: &Dataset, validation: Option<&Dataset>) -> Result<Self> {
        let described = serde_json::to_value(config).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let Value::Object(mut options) = described else {
            return Err(Error::new(Code::Internal, "options that are no object"));
        };
        if let Some(Value::Object(course)) = options.remove("course") {
            options.extend(course);
        }
        options.retain(|name, _| !FREE.contains(&name.as_str()));
        Ok(Self { options, train: DataIdentity::of(train), validation: validation.map(DataIdentity::of) })
    }

    /// The options, by the names that users know.
    pub fn options(&self) -> Value {
        self.options.iter().map(|(name, value)| (camel_case(name), value.clone())).collect()
    }

    /// The sets for training and validation.
    pub fn data(&self) -> [Value; 2] {
        let described = |set: &DataIdentity| {
            let DataIdentity { samples, image, class_names, fingerprint } = set;
            json!({ "samples": samples, "image": image, "class names": class_names, "digest of the contents": fingerprint })
        };
        [described(&self.train), self.validation.as_ref().map_or(Value::Null, described)]
    }

    /// Refuses another run's; `path` is where this one was read.
    ///
    /// # Errors
    /// `ERR_CHECKPOINT` names what differs.
    pub fn check(&self, of_run: &Self, path: &Path) -> Result<()> {
        let refuse = |expected: String, got: String| {
            let got = format!("{} {got}", path.display());
            Err(Error::expected(Code::Checkpoint, "resume", format!("a checkpoint {expected}"), got))
        };
        let of = |name: &str| [of_run, self].map(|run| run.options.get(name).unwrap_or(&Value::Null));
        let [length, before] = of(LENGTH);
        let is_free = |name: &str| name == LENGTH || (name == OF_LENGTH && length != before);
        let names = of_run.options.keys().chain(self.options.keys());
        for name in names.filter(|name| !is_free(name)) {
            let [ours, theirs] = of(name);
            if ours != theirs {
                let name = camel_case(name);
                let told = |value: &Value| if value.is_null() { "none".to_owned() } else { value.to_string() };
                return refuse(format!("of a run with {name} {}", told(ours)), format!("with {}", told(theirs)));
            }
        }
        let sets = [
            ("data.train", Some(&of_run.train), Some(&self.train)),
            ("data.validation", of_run.validation.as_ref(), self.validation.as_ref()),
        ];
        for (name, ours, theirs) in sets {
            let told =
                |set: Option<&DataIdentity>, tell: fn(&DataIdentity) -> String| set.map_or("none".to_owned(), tell);
            for tell in [DataIdentity::size, DataIdentity::classes, DataIdentity::contents] {
                let [ours, theirs] = [ours, theirs].map(|set| told(set, tell));
                if ours != theirs {
                    return refuse(format!("of a run on {name} with {ours}"), format!("with {theirs}"));
                }
            }
        }
        Ok(())
    }
}

impl DataIdentity {
    fn of(data: &Dataset) -> Self {
        let class_names = data.class_names().map(<[String]>::to_vec);
        Self { samples: data.len(), image: data.image_shape(), class_names, fingerprint: data.fingerprint() }
    }

    fn size(&self) -> String {
        let [channels, height, width] = self.image;
        format!("{} images of {channels}x{height}x{width}", self.samples)
    }

    fn classes(&self) -> String {
        self.class_names
            .as_ref()
            .map_or("no class names".to_owned(), |names| format!("the classes {}", names.join(", ")))
    }

    fn contents(&self) -> String {
        format!("contents whose digest is {}", &self.fingerprint.get(..12).unwrap_or(&self.fingerprint))
    }
}

/// An option's name as users know it.
fn camel_case(name: &str) -> String {
    match name {
        "balance" => return "sampler".to_owned(),
        "clip" => return "clipNorm or clipValue".to_owned(),
        _ => {}
    }
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let capital = letters.next().into_iter().flat_map(char::to_uppercase);
        name + &capital.chain(letters).collect::<String>()
    })
}
