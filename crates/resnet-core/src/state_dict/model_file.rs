//! Model files: weights with the description of their network, so that a file alone is enough.

use super::contents::{Contents, Entry};
use super::digest;
use super::matching::{matching, LoadOptions};
use super::read::{read, read_bytes};
use super::write::{write, Values};
use crate::cancel::Cancel;
use crate::error::{brief, Code, Error, Result};
use crate::interface::Interface;
use crate::model::graph::trace_channels;
use crate::model::params::Params;
use crate::model::quantization::{set_input_ranges, InputRanges};
use crate::model::Layer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// That of what a training run keeps, likewise.
const TRAINING: &str = "resnet_native_training";
/// The form of the description that this version writes.
const VERSION: u64 = 2;
/// That of quantised networks, whose weights are bytes.
const QUANTIZED: u64 = 3;
/// The first one, of files without a digest.
const WITHOUT_DIGEST: u64 = 1;
/// Longest description: more than twice that of the largest network that can be made from options.
const MAX_LEN: usize = 16 << 20;

/// What a model file says beside its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelHeader {
    /// The network.
    pub network: Layer,
    /// Channels of its input.
    pub in_channels: usize,
    /// Seed of its initial weights.
    pub seed: u64,
    /// What pictures it takes and what its outputs mean.
    pub interface: Interface,
    /// Of a quantised network, what the inputs of its convolutions lie between.
    pub input_ranges: InputRanges,
}

/// What a model file holds; its weights are known to fit its network.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The network and what belongs to it.
    pub header: ModelHeader,
    /// The weights.
    pub entries: Vec<Entry>,
    /// Updates that were made on the weights, as [`Values::updates`] was when it was written; 0 if the file tells none.
    pub updates: u64,
    /// What the training run that wrote it keeps, if one did.
    pub training: Option<TrainingPart>,
}

/// What a training run keeps in a file beside the weights, to go on from there.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPart {
    /// What it says of itself, as JSON.
    pub description: String,
    /// Its own numbers.
    pub entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description<N, I> {
    version: u64,
    network: N,
    in_channels: usize,
    seed: u64,
    /// Absent where it says nothing.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    interface: Option<I>,
    /// None where it is not quantised.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    input_ranges: InputRanges,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// Writes network and weights, as [`write()`] does; of a training run, which has numbers beside them, its description as JSON too.
///
/// # Errors
/// `ERR_IO` if the file cannot be written; `ERR_INVALID_ARGUMENT` if the network is too large to be described; `ERR_ABORTED`.
pub fn write_model(
    path: &Path,
    header: &ModelHeader,
    values: &Values,
    training: Option<String>,
    cancel: &Cancel,
) -> Result<()> {
    let ModelHeader { network, in_channels, seed, interface, input_ranges } = header;
    let interface = Some(interface).filter(|&interface| *interface != Interface::default());
    let version = if input_ranges.is_empty() { VERSION } else { QUANTIZED };
    let (in_channels, seed, input_ranges) = (*in_channels, *seed, input_ranges.clone());
    let description = Description { version, network, in_channels, seed, interface, input_ranges };
    let json = serde_json::to_string(&description).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let described = training.map(|training| (TRAINING, training));
    let metadata: BTreeMap<_, _> = [(digest::DESCRIPTION, json)].into_iter().chain(described).collect();
    if let Some(json) = metadata.values().find(|json| json.len() > MAX_LEN) {
        let given = format!("{} bytes", json.len());
        let expected = format!("a description of at most {MAX_LEN} bytes");
        return Err(Error::expected(Code::InvalidArgument, "network", expected, given));
    }
    let metadata = metadata.into_iter().map(|(key, json)| (key.to_owned(), json)).collect();
    write(path, values, metadata, cancel)
}

/// Reads a file that [`write_model`] wrote. What it returns fits together.
///
/// # Errors
/// `ERR_IO` if it cannot be read; `ERR_MODEL_FILE`, with path and reason, if it is not such a file; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
pub fn read_model(path: &Path, cancel: &Cancel) -> Result<ModelFile> {
    model_of(read(path, cancel)?, path)
}

/// [`read_model`] of the bytes of a file that was at this path.
///
/// # Errors
/// As [`read_model`].
pub fn read_model_bytes(bytes: &[u8], path: &Path, cancel: &Cancel) -> Result<ModelFile> {
    model_of(read_bytes(bytes, path, cancel)?, path)
}

fn model_of(mut contents: Contents, path: &Path) -> Result<ModelFile> {
    let bad = |reason: &dyn std::fmt::Display| Error::new(Code::ModelFile, format!("{}: {reason}", path.display()));
    let Some(json) = contents.metadata.get(digest::DESCRIPTION) else {
        return Err(bad(&"not a model file of resnet-native; loadWeights takes weights alone"));
    };
    let header = parse(json).map_err(|error| bad(&error))?;
    check(&header, &contents).map_err(|error| bad(&error))?;
    let described = contents.metadata.remove(TRAINING);
    let training = described.map(|description| TrainingPart { description, entries: contents.beside });
    Ok(ModelFile { header, entries: contents.entries, updates: contents.updates, training })
}

/// Whether a file of ours has the bytes that were written, by its digest. False for a file that is not ours or has no digest.
///
/// # Errors
/// `ERR_IO` if it cannot be read; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
pub fn is_whole(path: &Path, cancel: &Cancel) -> Result<bool> {
    match read(path, cancel) {
        Ok(contents) => Ok(contents.metadata.contains_key(digest::KEY)),
        Err(error) if error.code == Code::ModelFile => Ok(false),
        Err(error) => Err(error),
    }
}

fn parse(json: &str) -> std::result::Result<ModelHeader, String> {
    if json.len() > MAX_LEN {
        return Err(format!("the network's description is longer than {MAX_LEN} bytes"));
    }
    let reason = |error: serde_json::Error| format!("the network's description: {}", brief(&error));
    let Version { version } = serde_json::from_str(json).map_err(reason)?;
    match version {
        WITHOUT_DIGEST | VERSION | QUANTIZED => {}
        newer => {
            return Err(format!(
                "expected a description of version {QUANTIZED}, got {newer}: a newer resnet-native wrote it, update to read it"
            ));
        }
    }
    // The same version may have come to know more layers.
    let unknown = |error: serde_json::Error| match error.is_data() {
        true => format!("{}; a newer resnet-native may have written it, update to read it", reason(error)),
        false => reason(error),
    };
    let Description { network, in_channels, seed, interface, input_ranges, .. } =
        serde_json::from_str(json).map_err(unknown)?;
    if version != QUANTIZED && !input_ranges.is_empty() {
        return Err(format!("expected no input_ranges in a description of version {version}"));
    }
    Ok(ModelHeader { network, in_channels, seed, interface: interface.unwrap_or_default(), input_ranges })
}

/// The network is one, and the tensors are its weights: nothing is allocated on the word of the description.
fn check(header: &ModelHeader, contents: &Contents) -> Result<()> {
    header.interface.check(&header.network, Some(header.in_channels))?;
    let mut params = Params::of(&trace_channels(&header.network, header.in_channels)?)?;
    set_input_ranges(&mut params, &header.input_ranges)?;
    matching(&params, &header.network, &contents.entries, &contents.others, &LoadOptions::default()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::write::Beside;
    use super::*;
    use crate::model::block::basic;
    use crate::model::graph::trace;
    use crate::model::init::initialise;
    use crate::model::layer::{Init, Layer};
    use crate::model::shape::Shape;

    /// Writes a block of two channels with its weights under a header that may say something else.
    fn write_with(path: &Path, header: &ModelHeader) {
        let root = basic(2, true, 2);
        let params = Params::of(&trace(&root, Shape::map(3, 4, 4)).unwrap()).unwrap();
        let (parameters, running) = initialise(&params, 1).unwrap();
        let values = Values { params: &params, parameters: &parameters, running: &running, updates: 7, beside: &[] };
        write_model(path, header, &values, None, &Cancel::default()).unwrap();
    }

    fn header(root: Layer, in_channels: usize) -> ModelHeader {
        let (interface, input_ranges) = (Interface::default(), InputRanges::new());
        ModelHeader { network: root, in_channels, seed: u64::MAX, interface, input_ranges }
    }

    fn interface() -> Interface {
        let json = r#"{"transform":{"size":[8,9],"fit":"pad","channels":3,"background":[1,2,3],
            "normalise":{"mean":[0.1,0.2,0.3],"std":[1,2,0.25]}},"class_names":["Katze","犬"],"temperature":1.25}"#;
        Interface::from_json(json).unwrap()
    }

    #[test]
    fn a_file_alone_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let header = ModelHeader { interface: interface(), ..header(basic(2, true, 2), 3) };
        write_with(&path, &header);
        let model = read_model(&path, &Cancel::default()).unwrap();
        assert_eq!(model.header, header);
        assert_eq!((model.entries.len(), model.updates), (14, 7));
    }

    #[test]
    fn a_run_s_numbers_travel_beside_the_weights_and_are_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let [plain, with] = ["plain", "with"].map(|name| folder.path().join(name));
        let params = Params::of(&trace(&basic(2, true, 2), Shape::map(3, 4, 4)).unwrap()).unwrap();
        let (parameters, running) = initialise(&params, 1).unwrap();
        let values = Values { params: &params, parameters: &parameters, running: &running, updates: 7, beside: &[] };
        let header = header(basic(2, true, 2), 3);
        write_model(&plain, &header, &values, None, &Cancel::default()).unwrap();
        let velocity = Beside { name: "optimizer.velocity".into(), values: vec![1.5, -0.0, f32::MIN_POSITIVE].into() };
        let values = Values { beside: &[velocity], ..values };
        write_model(&with, &header, &values, Some("{}".into()), &Cancel::default()).unwrap();
        let file = read_model(&with, &Cancel::default()).unwrap();
        let entry =
            Entry { name: "optimizer.velocity".into(), shape: vec![3], data: vec![1.5, -0.0, f32::MIN_POSITIVE] };
        assert_eq!(file.training, Some(TrainingPart { description: "{}".into(), entries: vec![entry] }));
        let expected = read_model(&plain, &Cancel::default()).unwrap();
        assert_eq!(ModelFile { training: None, ..file }, expected);
    }

    #[test]
    fn files_of_the_first_version_are_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/model_1.safetensors");
        let model = read_model(&path, &Cancel::default()).unwrap();
        assert_eq!((model.header.in_channels, model.header.seed, model.entries.len()), (1, 7, 8));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        write_with(&path, &header(basic(2, true, 2), 3));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(read_model(&path, &Cancel::default()).unwrap_err().code, Code::ModelFile, "byte {at}");
        }
    }

    #[test]
    fn weights_that_are_not_the_network_s_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let with_interface = |change: fn(&mut Interface)| {
            let mut header = ModelHeader { interface: interface(), ..header(basic(2, true, 2), 3) };
            change(&mut header.interface);
            header
        };
        let with_range = |name: &str, range: [f32; 2]| ModelHeader {
            input_ranges: InputRanges::from([(name.to_owned(), range)]),
            ..header(basic(2, true, 2), 3)
        };
        let huge = Layer::Linear { out_features: usize::MAX, bias: true, init: Init::default() };
        let headers = [
            header(basic(2, true, 2), 4),
            header(basic(2, false, 1), 2),
            header(basic(1 << 20, true, 2), 1 << 50),
            header(basic(2, true, 2), 1 << 50),
            header(huge, 3),
            header(basic(2, true, 2), 0),
            with_interface(|interface| interface.temperature = 0.0),
            with_interface(|interface| interface.class_names = Some(["a", "b", "c"].map(String::from).into())),
            with_interface(|interface| interface.class_names = Some(vec!["a".into(); 2])),
            with_interface(|interface| interface.transform.as_mut().unwrap().channels = 1),
            with_interface(|interface| interface.transform.as_mut().unwrap().size[0] = 1 << 20),
            with_range("conv9.weight", [0.0, 1.0]),
            with_range("bn1.weight", [0.0, 1.0]),
            with_range("conv1.weight", [1.0, 0.0]),
            with_range("conv1.weight", [0.0, f32::INFINITY]),
        ];
        for header in headers {
            write_with(&path, &header);
            let error = read_model(&path, &Cancel::default()).unwrap_err();
            assert_eq!(error.code, Code::ModelFile);
            assert!(error.message.starts_with(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn weights_alone_are_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let values = Values { params: &Params::default(), parameters: &[], running: &[], updates: 0, beside: &[] };
        write(&path, &values, BTreeMap::new(), &Cancel::default()).unwrap();
        let error = read_model(&path, &Cancel::default()).unwrap_err();
        assert_eq!(error.code, Code::ModelFile);
        assert!(
            error.message.ends_with("not a model file of resnet-native; loadWeights takes weights alone"),
            "{error}"
        );
    }

    #[test]
    fn descriptions_that_are_none_are_refused() {
        let relu = r#"{"type":"relu"}"#;
        let with = |version: &str, network: &str| {
            format!(r#"{{"version":{version},"network":{network},"in_channels":1,"seed":0}}"#)
        };
        assert!(parse(&with("1", relu)).is_ok());
        assert!(parse(&with("2", relu)).is_ok());
        assert!(parse(&with("3", relu)).is_ok());
        let newer = parse(&with("4", r#"{"unknown":1}"#)).unwrap_err();
        assert!(newer.contains("version 3, got 4") && newer.contains("update"), "{newer}");
        let newer = parse(&with("2", r#"{"type":"gelu"}"#)).unwrap_err();
        assert!(newer.contains("unknown variant `gelu`") && newer.contains("update"), "{newer}");
        let deep = format!("{}{}", r#"{"type":"residual","body":"#.repeat(100_000), "}".repeat(100_000));
        for json in [with("\"1\"", relu), with("1", "{}"), with("1", &deep), "{".into(), " ".repeat(MAX_LEN + 1)] {
            assert!(parse(&json).is_err());
        }
    }

    #[test]
    fn damaged_descriptions_never_panic() {
        let json = serde_json::to_string(&Description {
            version: VERSION,
            network: header(basic(2, true, 2), 3).network,
            in_channels: 3,
            seed: 1,
            interface: Some(interface()),
            input_ranges: InputRanges::from([("conv1.weight".into(), [0.0, 2.5])]),
        })
        .unwrap();
        for i in 0..json.len() {
            for byte in *b"\"{}[]:,09-enx" {
                let mut damaged = json.clone().into_bytes();
                damaged[i] = byte;
                if let Ok(header) = parse(&String::from_utf8_lossy(&damaged)) {
                    let _ = check(&header, &Contents::default());
                }
            }
        }
    }
}
