//! Mutations of what lies behind checks or compression, which blind ones would not get past.

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::Compression;
use libfuzzer_sys::fuzzer_mutate;
use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Most bytes that a mutation adds.
const MORE: usize = 512;

fn mutated(mut bytes: Vec<u8>) -> Vec<u8> {
    let (len, most) = (bytes.len(), bytes.len() + MORE);
    bytes.resize(most, 0);
    let len = fuzzer_mutate(&mut bytes, len, most);
    bytes.truncate(len);
    bytes
}

/// Every fourth seed mutates the bytes as they are, all others what `within` finds in them.
fn write(data: &mut [u8], size: usize, max: usize, seed: u32, within: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> usize {
    let found = if seed % 4 == 0 { None } else { within(&data[..size]).filter(|bytes| bytes.len() <= max) };
    let Some(found) = found else { return fuzzer_mutate(data, size, max) };
    data[..found.len()].copy_from_slice(&found);
    found.len()
}

/// Of what is packed by gzip, what is in it.
pub fn gzip(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    write(data, size, max, seed, |bytes| {
        let mut whole = Vec::new();
        GzDecoder::new(bytes).take(4 * max as u64).read_to_end(&mut whole).ok()?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&mutated(whole)).ok()?;
        encoder.finish().ok()
    })
}

/// Of a zip file one entry, with a checksum that is right.
pub fn zip(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    write(data, size, max, seed, |bytes| {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
        let mut entries = Vec::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index_raw(index).ok()?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).ok()?;
            entries.push((entry.name().ok()?.into_owned(), content));
        }
        // The first one is the pickle, which says what the others are.
        let count = entries.len() as u32;
        let chosen = if seed % 8 < 5 { 0 } else { seed / 8 % count.max(1) };
        let (_, content) = entries.get_mut(chosen as usize)?;
        *content = mutated(std::mem::take(content));
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).ok()?;
            writer.write_all(&content).ok()?;
        }
        Some(writer.finish().ok()?.into_inner())
    })
}

/// Of a PNG anything, with the check values of its chunks put right.
pub fn png(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    write(data, size, max, seed, |bytes| {
        let mut bytes = mutated(bytes.to_vec());
        let mut place = 8;
        while let Some(&[a, b, c, d]) = bytes.get(place..place + 4).and_then(|head| head.first_chunk::<4>()) {
            let end = place + 8 + u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(chunk) = bytes.get(place + 4..end) else { break };
            let check = crc32fast::hash(chunk).to_be_bytes();
            let Some(last) = bytes.get_mut(end..end + 4) else { break };
            last.copy_from_slice(&check);
            place = end + 4;
        }
        Some(bytes)
    })
}
