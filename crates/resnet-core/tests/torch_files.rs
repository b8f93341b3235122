//! Files that PyTorch wrote, in every form; `tools/torch_files.py` wrote them and says what is in them.

use crate::hashed;
use half::{bf16, f16};
use resnet_core::cancel::Cancel;
use resnet_core::state_dict::{read, Contents, Entry};
use resnet_core::{Code, Error};
use std::path::{Path, PathBuf};

/// What every file holds, in this order.
const TENSORS: [(&str, &[usize]); 8] = [
    ("conv.weight", &[3, 2, 3, 3]),
    ("conv.bias", &[3]),
    ("bn.weight", &[3]),
    ("bn.bias", &[3]),
    ("bn.running_mean", &[3]),
    ("bn.running_var", &[3]),
    ("fc.weight", &[4, 3]),
    ("fc.bias", &[4]),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_files").join(name)
}

fn contents(name: &str) -> Contents {
    read(&path(name), &Cancel::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn entries(name: &str) -> Vec<Entry> {
    contents(name).entries
}

/// A tensor with the values of a name.
fn hashed(name: &str, values_of: &str, shape: &[usize]) -> Entry {
    let values = hashed::unit(values_of).map(|unit| (2.0 * unit - 1.0) as f32);
    Entry { name: name.into(), shape: shape.into(), data: values.take(shape.iter().product()).collect() }
}

fn expected() -> Vec<Entry> {
    TENSORS.iter().map(|(name, shape)| hashed(name, name, shape)).collect()
}

#[test]
fn every_form_of_a_state_dict_is_read() {
    let names = ["zip", "zip_protocol5", "legacy", "legacy_protocol4", "f64"];
    for name in names {
        assert_eq!(entries(&format!("{name}.pth")), expected(), "{name}");
    }
}

#[test]
fn the_counter_of_updates_is_read_in_every_form() {
    for name in ["zip", "zip_protocol5", "legacy", "legacy_protocol4", "f64", "checkpoint", "data_parallel", "strided"]
    {
        assert_eq!(contents(&format!("{name}.pth")).updates, 7, "{name}");
    }
    assert_eq!(contents("parameters.pth").updates, 0);
}

#[test]
fn a_checkpoint_s_state_dict_is_found_beside_other_values() {
    assert_eq!(entries("checkpoint.pth"), expected());
    assert_eq!(entries("legacy_checkpoint.pth"), expected());
}

#[test]
fn prefixes_that_every_name_has_are_taken_off() {
    assert_eq!(entries("data_parallel.pth"), expected());
    assert_eq!(entries("compiled.pth"), expected());
}

#[test]
fn half_precision_becomes_f32() {
    let rounded = |round: fn(f32) -> f32| {
        let mut entries = expected();
        entries.iter_mut().flat_map(|entry| &mut entry.data).for_each(|value| *value = round(*value));
        entries
    };
    assert_eq!(entries("f16.pth"), rounded(|value| f16::from_f32(value).to_f32()));
    assert_eq!(entries("bf16.pth"), rounded(|value| bf16::from_f32(value).to_f32()));
}

#[test]
fn values_are_found_by_their_strides() {
    assert_eq!(entries("strided.pth"), expected());
}

#[test]
fn tensors_may_share_a_storage() {
    let mut with_tied = expected();
    with_tied.push(hashed("tied.weight", "fc.weight", &[4, 3]));
    assert_eq!(entries("shared.pth"), with_tied);
    assert_eq!(entries("legacy_shared.pth"), with_tied);
}

#[test]
fn parameters_are_their_tensors() {
    let mut parameters = expected();
    parameters.retain(|entry| !entry.name.contains("running"));
    assert_eq!(entries("parameters.pth"), parameters);
}

#[test]
fn a_whole_network_needs_code() {
    let path = path("network.pth");
    let message = format!(
        "{}: refuses to load __main__.Tiny: a state dict needs no code; save model.state_dict() instead",
        path.display()
    );
    assert_eq!(read(&path, &Cancel::default()), Err(Error::new(Code::ModelFile, message)));
}
