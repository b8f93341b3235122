//! What all ranks must have alike before they begin.

use super::{broadcast, numbered, Communicator};
use crate::error::{Code, Error, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes of a digest.
const LEN: usize = 32;
/// Bytes in which a rank says how it differs, differences that it names, and letters of each value.
const ROOM: usize = 1024;
const MOST: usize = 4;
const LETTERS: usize = 60;

/// Things by name, as digests; with their values where they can be told.
#[derive(Default)]
pub struct Agreement {
    things: Vec<(&'static str, Option<Value>)>,
    digests: Vec<u8>,
}

impl Agreement {
    /// With one more thing, of these bytes.
    pub fn on(self, name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        self.with(name, bytes.as_ref(), None)
    }

    /// With one more thing, whose value is told where ranks differ.
    pub fn on_value(self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with(name, value.to_string().as_bytes(), Some(value))
    }

    fn with(mut self, name: &'static str, bytes: &[u8], value: Option<Value>) -> Self {
        self.things.push((name, value));
        self.digests.extend(Sha256::digest(bytes));
        self
    }

    /// Refuses to go on if a rank has something that rank 0 has not; all ranks come to the same.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` names the first such rank, what it has otherwise and, if it can be told, how; as [`Communicator::all_gather`].
    pub fn check(&self, communicator: &mut dyn Communicator) -> Result<()> {
        if communicator.size() == 1 {
            return Ok(());
        }
        let mut all = vec![0; self.digests.len() * communicator.size()];
        communicator.all_gather(&self.digests, self.digests.len(), &mut all)?;
        let of_ranks: Vec<&[u8]> = all.chunks_exact(self.digests.len()).collect();
        let digest = |rank: usize, index: usize| of_ranks[rank].chunks(LEN).nth(index);
        let differing = |index: usize| (1..of_ranks.len()).filter(move |&rank| digest(rank, index) != digest(0, index));
        let Some((index, (name, value))) =
            self.things.iter().enumerate().find(|(index, _)| differing(*index).next().is_some())
        else {
            return Ok(());
        };
        let mut ranks: Vec<usize> = differing(index).collect();
        let got = match value {
            Some(value) => {
                let told = told_by_all(value, communicator)?;
                let first = told[ranks[0]].clone();
                ranks.retain(|&rank| told[rank] == first);
                first
            }
            None => "another".to_owned(),
        };
        let expected = format!("every rank to have the {name} of rank 0");
        Err(Error::expected(Code::Distributed, "distributed", expected, format!("{got} on {}", numbered(&ranks))))
    }
}

/// How each rank says that its value differs from that of rank 0.
fn told_by_all(value: &Value, communicator: &mut dyn Communicator) -> Result<Vec<String>> {
    let mut first = value.to_string().into_bytes();
    broadcast(communicator, &mut first)?;
    let first = serde_json::from_slice(&first).unwrap_or(Value::Null);
    let mut named = Vec::new();
    differences("", &first, value, &mut named);
    let more = named.len().saturating_sub(MOST);
    named.truncate(MOST);
    let mut own = named.join(", ");
    if more > 0 {
        own += &format!(", and {more} more");
    }
    let own = own.into_bytes();
    let own = &own[..own.len().min(ROOM)];
    let mut all = vec![0; ROOM * communicator.size()];
    communicator.all_gather(&[own, &vec![0; ROOM - own.len()][..]].concat(), ROOM, &mut all)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    Ok(all.chunks_exact(ROOM).map(text).collect())
}

/// Names what differs within two values, by its place in them.
fn differences(place: &str, first: &Value, own: &Value, named: &mut Vec<String>) {
    match (first, own) {
        (Value::Object(first), Value::Object(own)) => {
            let others = own.keys().filter(|&key| !first.contains_key(key));
            for key in first.keys().chain(others) {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                let [first, own] = [first, own].map(|object| object.get(key).unwrap_or(&Value::Null));
                differences(&inner, first, own, named);
            }
        }
        (Value::Array(first), Value::Array(own)) if first.len() == own.len() => {
            for (index, (first, own)) in first.iter().zip(own).enumerate() {
                differences(&format!("{place}[{index}]"), first, own, named);
            }
        }
        _ if first != own => {
            let space = if place.is_empty() { "" } else { " " };
            named.push(format!("{place}{space}{} instead of {}", shown(own), shown(first)));
        }
        _ => {}
    }
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(first: Value, own: Value) -> Vec<String> {
        let mut named = Vec::new();
        differences("", &first, &own, &mut named);
        named
    }

    #[test]
    fn what_differs_is_named_by_its_place_with_both_values() {
        let first = json!({ "batchSize": 8, "clip": null, "augment": [{ "type": "flip", "p": 0.5 }], "lr": 0.1 });
        let own = json!({ "batchSize": 6, "clip": { "norm": 1 }, "augment": [{ "type": "flip", "p": 1 }], "lr": 0.1 });
        let expected =
            ["batchSize 6 instead of 8", r#"clip {"norm":1} instead of none"#, "augment[0].p 1 instead of 0.5"];
        let mut found = named(first.clone(), own);
        found.sort_by_key(|text| expected.iter().position(|expected| expected == text));
        assert_eq!(found, expected);
        assert_eq!(named(json!(7), json!(8)), ["8 instead of 7"]);
        assert_eq!(named(json!([1]), json!([1, 2])), ["[1,2] instead of [1]"]);
        assert_eq!(named(json!({ "added": 1 }), json!({})), ["added none instead of 1"]);
        assert_eq!(named(json!("é".repeat(100)), json!("")), [format!(" instead of {}…", "é".repeat(60))]);
        assert!(named(first.clone(), first).is_empty());
    }
}
