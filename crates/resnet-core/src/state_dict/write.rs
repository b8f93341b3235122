//! Named tensors into safetensors files that are there whole or not at all.

use super::contents::{BATCHES_TRACKED, BESIDE, SCALE};
use super::digest::{Digesting, KEY, ZEROS};
use crate::cancel::{Cancel, Cancellable};
use crate::error::{Code, Error, Result};
use crate::model::params::{Params, Role};
use crate::replacement::replace;
use resnet_ops::conv2d::quantize_row;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 18;

/// A network's parameters with their values.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Names, shapes and ranges.
    pub params: &'a Params,
    /// Parameters in the order of `params`, as many as its `parameters_len`.
    pub parameters: &'a [f32],
    /// Running statistics in the order of `params`, as many as its `running_len`.
    pub running: &'a [f32],
    /// Updates that were made on the weights: `num_batches_tracked` of each batch norm; of a network without one, an entry of that name
    /// in the header's metadata.
    pub updates: u64,
    /// What a training run keeps beside them, to go on with: behind them in the file.
    pub beside: &'a [Beside<'a>],
}

/// Numbers that a training run keeps, under a name of its own.
#[derive(Clone, Debug)]
pub struct Beside<'a> {
    /// Such as `optimizer.momentum`.
    pub name: String,
    /// As many as the run's own.
    pub values: Cow<'a, [f32]>,
}

/// Writes a safetensors file of F32 tensors in canonical order, after the I64 counters of updates; weights of quantised convolutions as I8
/// behind all else, so that every number lies at a multiple of its size, each with an F32 tensor of that name and `_scale` that has what the
/// bytes of each output are multiplied by.
///
/// It takes the place of an older one, which stays whole until then.
///
/// The header's metadata has the SHA-256 of the file, zeros in its place, as `resnet_native_sha256`.
///
/// # Errors
/// `ERR_IO` if it cannot be written, or if what is there is not a file; `ERR_ABORTED`.
pub fn write(path: &Path, values: &Values, mut metadata: BTreeMap<String, String>, cancel: &Cancel) -> Result<()> {
    if values.updates > 0 && counters(values.params).next().is_none() {
        metadata.insert(BATCHES_TRACKED.to_owned(), values.updates.to_string());
    }
    // As an I64 holds it.
    let updates = values.updates.min(i64::MAX as u64);
    metadata.insert(KEY.to_owned(), ZEROS.to_owned());
    let header = header(values, metadata)?;
    let place = format!("\"{KEY}\":\"");
    let place =
        header.windows(place.len()).position(|bytes| bytes == place.as_bytes()).map(|start| start + place.len());
    let place = place.expect("the header that has it") as u64;
    replace(path, |mut file| {
        let mut digesting = Digesting::new(Cancellable::new(file, cancel), true);
        let mut buffer = BufWriter::with_capacity(BUFFER, &mut digesting);
        buffer.write_all(&(header.len() as u64).to_le_bytes())?;
        buffer.write_all(&header)?;
        for _ in counters(values.params) {
            buffer.write_all(&updates.to_le_bytes())?;
        }
        let (mut room, mut bytes) = (vec![0; BUFFER], Vec::new());
        for parameter in values.params.in_order() {
            let numbers = parameter.values(values.parameters, values.running);
            match parameter.input {
                None => write_floats(&mut buffer, &mut room, numbers)?,
                Some(_) => {
                    let (weights, scales) = quantized(numbers, parameter.fan_in);
                    write_floats(&mut buffer, &mut room, &scales)?;
                    bytes.push(weights);
                }
            }
        }
        for beside in values.beside {
            write_floats(&mut buffer, &mut room, &beside.values)?;
        }
        for weights in bytes {
            buffer.write_all(&weights)?;
        }
        buffer.flush()?;
        drop(buffer);
        let digest = digesting.finish();
        file.seek(SeekFrom::Start(8 + place))?;
        file.write_all(digest.as_bytes())
    })
    .map_err(|error| cancel.check().err().unwrap_or_else(|| Error::io("write", path, &error)))
}

fn write_floats(file: &mut impl io::Write, room: &mut [u8], values: &[f32]) -> io::Result<()> {
    for values in values.chunks(room.len() / 4) {
        for (bytes, value) in room.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        file.write_all(&room[..4 * values.len()])?;
    }
    Ok(())
}

/// Weights, `fan_in` of each output, as bytes, and a scale for each output.
fn quantized(weights: &[f32], fan_in: usize) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut row) = (Vec::with_capacity(weights.len()), vec![0i8; fan_in]);
    let scale = |weights: &[f32]| {
        let scale = quantize_row(weights, &mut row);
        bytes.extend(row.iter().map(|byte| byte.cast_unsigned()));
        scale
    };
    let scales = weights.chunks_exact(fan_in).map(scale).collect();
    (bytes, scales)
}

/// Names of the counters of updates, in canonical order.
fn counters(params: &Params) -> impl Iterator<Item = String> + '_ {
    let means = params.running.iter().filter(|parameter| parameter.role == Role::RunningMean);
    means.filter_map(|mean| mean.name.strip_suffix("running_mean")).map(|path| format!("{path}{BATCHES_TRACKED}"))
}

/// The header's JSON, padded to a multiple of 8 bytes as the format has it.
fn header(values: &Values, metadata: BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut end = 0;
    let mut info = |dtype: Dtype, shape: Vec<usize>| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        TensorInfo { dtype, shape, data_offsets: (start, end) }
    };
    let mut tensors: Vec<(String, TensorInfo)> =
        counters(values.params).map(|name| (name, info(Dtype::I64, Vec::new()))).collect();
    for parameter in values.params.in_order() {
        match parameter.input {
            None => tensors.push((parameter.name.clone(), info(Dtype::F32, parameter.shape.clone()))),
            Some(_) => tensors.push((format!("{}{SCALE}", parameter.name), info(Dtype::F32, vec![parameter.shape[0]]))),
        }
    }
    for Beside { name, values } in values.beside {
        tensors.push((format!("{BESIDE}{name}"), info(Dtype::F32, vec![values.len()])));
    }
    for parameter in values.params.parameters.iter().filter(|parameter| parameter.input.is_some()) {
        tensors.push((parameter.name.clone(), info(Dtype::I8, parameter.shape.clone())));
    }
    let internal = |error: &dyn std::fmt::Display| Error::new(Code::Internal, format!("header: {error}"));
    let header = Metadata::new(None, tensors).map_err(|error| internal(&error))?;
    let mut json = serde_json::to_vec(&header).map_err(|error| internal(&error))?;
    if !metadata.is_empty() {
        // First in the header and in the order of its keys, so that the same weights are the same bytes.
        let metadata = serde_json::to_string(&metadata).map_err(|error| internal(&error))?;
        let separator = if json.len() > 2 { "," } else { "" };
        json.splice(1..1, format!("\"__metadata__\":{metadata}{separator}").into_bytes());
    }
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::basic;
    use crate::model::graph::trace;
    use crate::model::init::initialise;
    use crate::model::layer::{Init, Layer};
    use crate::model::shape::Shape;
    use crate::state_dict::digest::DESCRIPTION;
    use crate::state_dict::{matching, read, LoadOptions};
    use safetensors::SafeTensors;
    use std::fs;

    fn block() -> Layer {
        basic(2, true, 1)
    }

    fn params() -> Params {
        Params::of(&trace(&block(), Shape::map(3, 4, 4)).unwrap()).unwrap()
    }

    fn write_sample(path: &Path, seed: u64) -> Result<(Vec<f32>, Vec<f32>)> {
        let params = params();
        let (parameters, running) = initialise(&params, seed)?;
        let values = Values { params: &params, parameters: &parameters, running: &running, updates: 7, beside: &[] };
        let metadata = [("k", "v"), (DESCRIPTION, r#"{"version":2,"network":{}}"#)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        write(path, &values, BTreeMap::from(metadata), &Cancel::default())?;
        Ok((parameters, running))
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let (parameters, running) = write_sample(&path, 1).unwrap();
        let contents = read(&path, &Cancel::default()).unwrap();
        assert_eq!(contents.updates, 7);
        let params = params();
        let names = |entry: &str| contents.entries.iter().position(|other| other.name == entry);
        assert!(params.in_order().iter().enumerate().all(|(i, parameter)| names(&parameter.name) == Some(i)));
        let (matched, _) = matching(&params, &block(), &contents.entries, &[], &LoadOptions::default()).unwrap();
        let (mut new_parameters, mut new_running) = (vec![0.0; parameters.len()], vec![0.0; running.len()]);
        matched.copy_to(&mut new_parameters, &mut new_running);
        assert_eq!((new_parameters, new_running), (parameters, running));
        assert_eq!(contents.metadata["k"], "v");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn tensors_larger_than_the_buffer_are_whole() {
        let root = Layer::Linear { out_features: 300, bias: true, init: Init::default() };
        let params = Params::of(&trace(&root, Shape::Features(BUFFER / 1024)).unwrap()).unwrap();
        let parameters: Vec<f32> = (0..params.parameters_len()).map(|i| i as f32).collect();
        assert!(4 * params.parameters[0].range.len() > BUFFER);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let values = Values { params: &params, parameters: &parameters, running: &[], updates: 0, beside: &[] };
        write(&path, &values, BTreeMap::new(), &Cancel::default()).unwrap();
        let contents = read(&path, &Cancel::default()).unwrap();
        assert_eq!((contents.entries[0].shape.as_slice(), contents.updates), ([300, BUFFER / 1024].as_slice(), 0));
        assert_eq!([&contents.entries[0].data[..], &contents.entries[1].data].concat(), parameters);
    }

    #[test]
    fn other_readers_find_every_tensor_and_the_counters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let (parameters, _) = write_sample(&path, 1).unwrap();
        let bytes = fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.len(), params().in_order().len() + 2);
        for counter in ["bn1.num_batches_tracked", "bn2.num_batches_tracked"] {
            let counter = tensors.tensor(counter).unwrap();
            assert_eq!(
                (counter.dtype(), counter.shape(), counter.data()),
                (Dtype::I64, &[][..], &7i64.to_le_bytes()[..])
            );
        }
        let weight = tensors.tensor("conv1.weight").unwrap();
        assert_eq!((weight.dtype(), weight.shape()), (Dtype::F32, &[2, 3, 3, 3][..]));
        assert_eq!(weight.data()[..4], parameters[0].to_le_bytes());
        assert_eq!(weight.data().as_ptr() as usize % 4, bytes.as_ptr() as usize % 4);
    }

    #[test]
    fn the_same_weights_are_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            write_sample(path, 1).unwrap();
        }
        assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write_sample(&path, 1).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path, &Cancel::default()).is_err(), "byte {at}");
        }
    }
}
