//! What a file says beside its graph, for programs that run it: `metadata_props`. Keys are those that other tools write and look for, where
//! there are such; values are JSON, but for words.

use super::proto::StringStringEntryProto;
use super::{OnnxOptions, Precision};
use crate::data::{LabelKind, PictureTransform};
use crate::interface::Interface;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is said of a model that takes (C, H, W), in the order of its keys; `output` is the name of what it returns.
pub fn entries(
    options: &OnnxOptions,
    interface: &Interface,
    [channels, height, width]: [usize; 3],
    output: &str,
) -> Vec<StringStringEntryProto> {
    let mut entries = BTreeMap::from([
        ("task", "classify".to_owned()),
        ("channels", json(&channels)),
        // As Ultralytics' exports have it: height and width.
        ("imgsz", json(&[height, width])),
        ("input", options.input.word().to_owned()),
        ("output", output.to_owned()),
        ("temperature", json(&interface.temperature)),
        ("half", json(&(options.precision == Precision::Fp16))),
    ]);
    if let Some(names) = &interface.class_names {
        // A name for each label, under the key that Ultralytics has, as both JSON and Python read it; and a plain list.
        let by_label = names.iter().enumerate().map(|(label, name)| format!("\"{label}\": {}", json(name)));
        entries.insert("names", format!("{{{}}}", by_label.collect::<Vec<_>>().join(", ")));
        entries.insert("classes", json(names));
    }
    if let Some(kind) = interface.label_kind {
        let word = match kind {
            LabelKind::Single => "single",
            LabelKind::Multi => "multi",
        };
        entries.insert("label_kind", word.to_owned());
    }
    if let Some(transform) = &interface.transform {
        // timm's words.
        if let Some(normalise) = &transform.normalise {
            entries.insert("mean", json(&normalise.mean));
            entries.insert("std", json(&normalise.std));
        }
        let exported = PictureTransform { size: [height, width], ..transform.clone() };
        entries.insert("transform", exported.to_json());
    }
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
    entries.into_iter().map(entry).collect()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
