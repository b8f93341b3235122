//! Named tensors out of safetensors files, which may be damaged or hostile.

use super::contents::{count_of, floats, is_counter, is_float, Contents, Entry, Other, BATCHES_TRACKED, BESIDE, SCALE};
use super::digest::{is_due, Digesting, KEY, ZEROS};
use super::problem::{damaged, Outcome};
use crate::error::brief;
use resnet_ops::allocate;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::Dtype;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;

/// Largest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// Reads a file of `len` bytes: entries in the order of their data. Compares its digest, if it has one of ours.
pub(super) fn parse(mut file: impl Read, len: u64) -> Outcome<Contents> {
    let Some(rest) = len.checked_sub(8) else {
        return damaged("too short to be a safetensors file");
    };
    let mut header_len = [0; 8];
    file.read_exact(&mut header_len)?;
    let header_len = u64::from_le_bytes(header_len);
    if header_len > rest.min(MAX_HEADER) {
        return damaged("not a safetensors file, or cut off");
    }
    let mut header = allocate::zeros(header_len as usize)?;
    file.read_exact(&mut header)?;
    let metadata = match parse_header(&header) {
        Ok(metadata) => metadata,
        Err(reason) => return damaged(reason),
    };
    if metadata.data_len() as u64 != rest - header_len {
        let (told, there) = (metadata.data_len(), rest - header_len);
        return damaged(format!("the header tells of {told} bytes of data, the file has {there}"));
    }
    let text = metadata.metadata().clone().unwrap_or_default();
    let digest = match text.get(KEY).map(|digest| (digest, without_digest(&mut header, digest))) {
        None if is_due(&text) => return damaged("its digest is missing"),
        None => None,
        Some((digest, true)) => Some(digest.clone()),
        Some((_, false)) => return damaged("its digest is not where it was written"),
    };
    let mut file = Digesting::new(file, digest.is_some());
    file.add(&header_len.to_le_bytes());
    file.add(&header);
    let (mut contents, mut quantized) = (Contents::default(), HashSet::new());
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let (start, end) = info.data_offsets;
        let mut bytes = allocate::zeros(end - start)?;
        file.read_exact(&mut bytes)?;
        if is_counter(&name) {
            contents.updates = contents.updates.max(count_of(info.dtype, &bytes));
            continue;
        }
        if is_quantized(&metadata, &name) {
            quantized.insert(name.clone());
        } else if !is_float(info.dtype) {
            contents.others.push(Other { name, dtype: info.dtype });
            continue;
        }
        let data = floats(info.dtype, &bytes)?;
        let shape = info.shape.clone();
        match name.strip_prefix(BESIDE) {
            Some(name) => contents.beside.push(Entry { name: name.to_owned(), shape, data }),
            None => contents.entries.push(Entry { name, shape, data }),
        }
    }
    if digest.is_some_and(|digest| digest != file.finish()) {
        return damaged("its bytes are not those that were written: its digest differs");
    }
    multiply_by_scales(&mut contents.entries, &quantized);
    contents.metadata = text;
    let count = contents.metadata.get(BATCHES_TRACKED).and_then(|count| count.parse().ok());
    contents.updates = contents.updates.max(count.unwrap_or(0));
    Ok(contents)
}

/// Whether a tensor has bytes, and scales beside it.
fn is_quantized(metadata: &Metadata, name: &str) -> bool {
    let info = |name: &str| metadata.info(name).map(|info| (info.dtype, info.shape.as_slice()));
    match (info(name), info(&format!("{name}{SCALE}"))) {
        (Some((Dtype::I8, [rows, ..])), Some((Dtype::F32, [scales]))) => rows == scales,
        _ => false,
    }
}

/// Makes numbers of bytes, and takes their scales away.
fn multiply_by_scales(entries: &mut Vec<Entry>, quantized: &HashSet<String>) {
    let is_scale = |entry: &Entry| entry.name.strip_suffix(SCALE).is_some_and(|name| quantized.contains(name));
    let scales: HashMap<_, _> =
        entries.extract_if(.., |entry| is_scale(entry)).map(|scale| (scale.name, scale.data)).collect();
    for Entry { name, data, .. } in entries.iter_mut().filter(|entry| quantized.contains(&entry.name)) {
        let scales = scales.get(&format!("{name}{SCALE}")).map(Vec::as_slice).unwrap_or_default();
        let row = (data.len() / scales.len().max(1)).max(1);
        for (row, scale) in data.chunks_exact_mut(row).zip(scales) {
            row.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// Brings a header to the form whose digest is in it; false if it is not there as we write it.
fn without_digest(header: &mut [u8], digest: &str) -> bool {
    let entry = format!("\"{KEY}\":\"{digest}\"");
    let found = header.windows(entry.len()).position(|bytes| bytes == entry.as_bytes());
    let Some(end) = found.map(|start| start + entry.len() - 1).filter(|_| digest.len() == ZEROS.len()) else {
        return false;
    };
    header[end - ZEROS.len()..end].copy_from_slice(ZEROS.as_bytes());
    true
}

fn parse_header(json: &[u8]) -> std::result::Result<Metadata, String> {
    let mut header: Header = serde_json::from_slice(json).map_err(|error| format!("header: {}", brief(&error)))?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    // Checks that the tensors' data follow each other without gaps and are as long as shape and type say.
    Metadata::new(header.metadata, header.tensors).map_err(|error| format!("header: {}", brief(&error)))
}

/// A header as it stands in the file; other readers let the last of two tensors with the same name win.
struct Header {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut names = HashSet::new();
        let mut header = Header { metadata: None, tensors: Vec::new() };
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("{name} is there twice")));
            }
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problem;
    use super::*;
    use half::{bf16, f16};

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn reason(bytes: &[u8]) -> String {
        match parse(bytes, bytes.len() as u64) {
            Ok(contents) => panic!("accepted {contents:?}"),
            Err(error @ (Problem::Io(_) | Problem::OutOfMemory(_))) => panic!("{error:?}"),
            Err(Problem::Damaged(reason)) => reason,
        }
    }

    fn sample() -> Vec<u8> {
        let header = r#"{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "b.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[8,16]},
            "b":{"dtype":"BF16","shape":[1,1],"data_offsets":[16,18]}}"#;
        let data: [&[u8]; 4] = [&1f32.to_le_bytes(), &(-2f32).to_le_bytes(), &7i64.to_le_bytes(), &[0x80, 0x3f]];
        file(header, &data.concat())
    }

    #[test]
    fn what_is_quoted_of_a_header_is_short() {
        let dtype = "é".repeat(5000);
        let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,4]}}}}"#);
        let reason = reason(&file(&header, &[0; 4]));
        assert!(
            reason.starts_with("header: unknown variant `ééé") && reason.contains(" at line 1 column "),
            "{reason}"
        );
        assert!(reason.chars().count() < 500, "{} characters", reason.chars().count());
    }

    #[test]
    fn every_float_type_becomes_f32() {
        let values: [(&str, &[u8]); 4] = [
            ("F32", &1.5f32.to_le_bytes()),
            ("F64", &1.5f64.to_le_bytes()),
            ("F16", &f16::from_f32(1.5).to_le_bytes()),
            ("BF16", &bf16::from_f32(1.5).to_le_bytes()),
        ];
        for (dtype, data) in values {
            let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{}]}}}}"#, data.len());
            let bytes = file(&header, data);
            let contents = parse(bytes.as_slice(), bytes.len() as u64).ok().unwrap();
            assert_eq!(contents.entries, [Entry { name: "x".into(), shape: vec![1], data: vec![1.5] }]);
        }
    }

    #[test]
    fn tensors_come_in_the_order_of_their_data() {
        let bytes = sample();
        let contents = parse(bytes.as_slice(), bytes.len() as u64).ok().unwrap();
        let a = Entry { name: "a".into(), shape: vec![2], data: vec![1.0, -2.0] };
        let b = Entry { name: "b".into(), shape: vec![1, 1], data: vec![1.0] };
        assert_eq!(contents.entries, [a, b]);
        assert_eq!(contents.metadata["k"], "v");
    }

    #[test]
    fn the_largest_counter_counts_and_what_is_none_tells_of_no_update() {
        let of = |counters: &[(&str, &str, &[u8])]| {
            let (mut header, mut data) = (Vec::new(), Vec::new());
            for (i, (dtype, shape, bytes)) in counters.iter().enumerate() {
                let (start, end) = (data.len(), data.len() + bytes.len());
                header.push(format!(
                    r#""bn{i}.num_batches_tracked":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#
                ));
                data.extend_from_slice(bytes);
            }
            let bytes = file(&format!("{{{}}}", header.join(",")), &data);
            let contents = parse(bytes.as_slice(), bytes.len() as u64).ok().unwrap();
            assert!(contents.entries.is_empty());
            contents.updates
        };
        let [one, seven, negative] = [1i64, 7, -1].map(i64::to_le_bytes);
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[("I64", "[]", &one), ("I64", "[1]", &seven), ("I64", "[]", &one)]), 7);
        assert_eq!(of(&[("I64", "[]", &negative)]), 0);
        assert_eq!(of(&[("I64", "[2]", &[seven, seven].concat()), ("F64", "[]", &seven), ("I64", "[0]", &[])]), 0);
    }

    #[test]
    fn other_types_are_named_and_their_values_passed_over() {
        let header = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#;
        let bytes = file(header, &[&[7][..], &2f32.to_le_bytes()].concat());
        let contents = parse(bytes.as_slice(), bytes.len() as u64).ok().unwrap();
        assert_eq!(contents.others, [Other { name: "x".into(), dtype: Dtype::U8 }]);
        assert_eq!(contents.entries, [Entry { name: "y".into(), shape: vec![1], data: vec![2.0] }]);
    }

    #[test]
    fn bytes_with_scales_are_numbers_and_others_are_not_read() {
        let of = |shape: &str, scales: &str, dtype: &str| {
            let scale_bytes = if scales == "[2]" { 8 } else { 4 };
            let header = format!(
                r#"{{"w":{{"dtype":"I8","shape":{shape},"data_offsets":[0,4]}},
                "w_scale":{{"dtype":"{dtype}","shape":{scales},"data_offsets":[4,{}]}}}}"#,
                4 + scale_bytes
            );
            let data: Vec<u8> = [1i8, -2, 127, -127].map(i8::cast_unsigned).into();
            let scales: Vec<u8> = [0.5f32, 2.0].into_iter().flat_map(f32::to_le_bytes).take(scale_bytes).collect();
            let bytes = file(&header, &[data, scales].concat());
            parse(bytes.as_slice(), bytes.len() as u64).ok().unwrap()
        };
        let found = of("[2,2]", "[2]", "F32");
        let expected = Entry { name: "w".into(), shape: vec![2, 2], data: vec![0.5, -1.0, 254.0, -254.0] };
        assert_eq!((found.entries, found.others), (vec![expected], vec![]));
        for found in [of("[2,2]", "[1]", "F32"), of("[4]", "[2]", "F32"), of("[2,2]", "[2]", "I32")] {
            assert_eq!(found.others[0], Other { name: "w".into(), dtype: Dtype::I8 });
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let bytes = sample();
        for len in 0..bytes.len() {
            reason(&bytes[..len]);
        }
        reason(&[&bytes[..], &[0]].concat());
    }

    #[test]
    fn flipped_bits_never_panic() {
        let bytes = sample();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[i] ^= 1 << bit;
                let _ = parse(flipped.as_slice(), flipped.len() as u64);
            }
        }
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let info = |shape: &str, start: u64, end: u64| {
            format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        let huge = "[4611686018427387904]";
        let headers = [
            format!(r#"{{"a":{},"b":{}}}"#, info("[2]", 0, 8), info("[2]", 4, 12)),
            format!(r#"{{"a":{},"b":{}}}"#, info("[1]", 0, 4), info("[1]", 8, 12)),
            format!(r#"{{"a":{},"a":{}}}"#, info("[3]", 0, 12), info("[3]", 0, 12)),
            format!(r#"{{"a":{}}}"#, info("[4]", 0, 12)),
            format!(r#"{{"a":{}}}"#, info("[2]", 0, 8)),
            format!(r#"{{"a":{}}}"#, info("[3]", 12, 0)),
            format!(r#"{{"a":{}}}"#, info(huge, 0, u64::MAX)),
            format!(r#"{{"a":{}}}"#, info("[-3]", 0, 12)),
            r#"{"__metadata__":{"a":1}}"#.to_owned(),
            "[]".to_owned(),
            "[".repeat(100_000),
        ];
        for header in headers {
            reason(&file(&header, &[0; 12]));
        }
        reason(&[0xff; 40]);
    }
}
