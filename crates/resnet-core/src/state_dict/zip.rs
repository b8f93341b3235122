//! Zip files as `torch.save` writes them: entries are stored, never compressed.

use super::problem::{damaged, Outcome, Problem};
use flate2::Crc;
use resnet_ops::allocate;
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

/// Largest directory that is read.
const MAX_DIRECTORY: u64 = 16 << 20;
/// Most entries.
const MAX_ENTRIES: u64 = 1 << 16;
/// Bytes of the end record, with which the file ends.
const END: u64 = 22;
/// Bytes of the locator of the 64-bit end record, which lies before the end record.
const LOCATOR: u64 = 20;

/// An open zip file.
pub(super) struct Zip<R> {
    file: R,
    entries: HashMap<String, ZipEntry>,
}

struct ZipEntry {
    /// Where its local header begins.
    start: u64,
    /// Where the next entry's begins, or the directory.
    limit: u64,
    len: u64,
    crc: u32,
}

impl<R: Read + Seek> Zip<R> {
    /// Reads the directory of a file of `len` bytes.
    pub fn open(mut file: R, len: u64) -> Outcome<Self> {
        let Some(end) = len.checked_sub(END) else { return damaged("a zip file that is cut off") };
        let record: [u8; END as usize] = read_at(&mut file, end)?;
        if !record.starts_with(b"PK\x05\x06") || le::<2>(&record, 20) != 0 {
            return damaged("a zip file that is cut off, or followed by something else");
        }
        let (mut count, mut size, mut start) = (le::<2>(&record, 10), le::<4>(&record, 12), le::<4>(&record, 16));
        let mut limit = end;
        if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
            let (at, record) = end64(&mut file, end)?;
            (count, size, start, limit) = (le::<8>(&record, 32), le::<8>(&record, 40), le::<8>(&record, 48), at);
        }
        if start.checked_add(size).is_none_or(|end| end > limit) || size > MAX_DIRECTORY || count > MAX_ENTRIES {
            return damaged(format!("a zip directory of {count} entries in {size} bytes at {start} cannot be"));
        }
        file.seek(SeekFrom::Start(start))?;
        let mut directory = allocate::zeros(size as usize)?;
        file.read_exact(&mut directory)?;
        Ok(Self { file, entries: entries(&directory, count, start)? })
    }

    /// The entries' names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Bytes of an entry.
    pub fn len_of(&self, name: &str) -> Outcome<u64> {
        self.entries.get(name).map(|entry| entry.len).ok_or_else(|| Problem::Damaged(format!("{name} is missing")))
    }

    /// Reads an entry and compares its checksum.
    pub fn read(&mut self, name: &str) -> Outcome<Vec<u8>> {
        self.len_of(name)?;
        let ZipEntry { start, limit, len, crc } = self.entries[name];
        let header: [u8; 30] = read_at(&mut self.file, start)?;
        let skipped = le::<2>(&header, 26) + le::<2>(&header, 28);
        if !header.starts_with(b"PK\x03\x04") || start + 30 + skipped + len > limit {
            return damaged(format!("{name}: the zip directory and the entry differ"));
        }
        self.file.seek(SeekFrom::Current(skipped as i64))?;
        let mut bytes = allocate::zeros(len as usize)?;
        self.file.read_exact(&mut bytes)?;
        let mut found = Crc::new();
        found.update(&bytes);
        if found.sum() != crc {
            return damaged(format!("{name}: expected checksum {crc:08x}, got {:08x}", found.sum()));
        }
        Ok(bytes)
    }
}

/// The 64-bit end record and where it lies, before an end record at `end`.
fn end64(file: &mut (impl Read + Seek), end: u64) -> Outcome<(u64, [u8; 56])> {
    let Some(locator_at) = end.checked_sub(LOCATOR) else { return damaged("a zip file that is cut off") };
    let locator: [u8; LOCATOR as usize] = read_at(file, locator_at)?;
    let at = le::<8>(&locator, 8);
    if locator.starts_with(b"PK\x06\x07") && at.checked_add(56).is_some_and(|end| end <= locator_at) {
        let record = read_at(file, at)?;
        if record.starts_with(b"PK\x06\x06") {
            return Ok((at, record));
        }
    }
    damaged("a zip file without its 64-bit end")
}

/// The entries that a directory lists; they lie before `end` and do not overlap.
fn entries(mut directory: &[u8], count: u64, end: u64) -> Outcome<HashMap<String, ZipEntry>> {
    let mut entries = HashMap::new();
    for _ in 0..count {
        let Some((record, rest)) =
            directory.split_at_checked(46).filter(|(record, _)| record.starts_with(b"PK\x01\x02"))
        else {
            return damaged("a damaged zip directory");
        };
        let [name_len, extra_len, comment_len] = [28, 30, 32].map(|at| le::<2>(record, at) as usize);
        let Some((texts, next)) = rest.split_at_checked(name_len + extra_len + comment_len) else {
            return damaged("a damaged zip directory");
        };
        directory = next;
        let Ok(name) = std::str::from_utf8(&texts[..name_len]) else {
            return damaged("a zip entry's name is not UTF-8");
        };
        let mut fields = [24, 20, 42].map(|at| le::<4>(record, at));
        widen(&mut fields, &texts[name_len..name_len + extra_len]);
        let [len, packed, start] = fields;
        if le::<2>(record, 8) & 1 != 0 {
            return damaged(format!("{name} is encrypted"));
        }
        if le::<2>(record, 10) != 0 {
            return damaged(format!("{name} is compressed; torch.save stores what it writes"));
        }
        if len != packed || start > end || len > end {
            return damaged(format!("{name}: a zip entry of {len} bytes, {packed} packed, at {start} cannot be"));
        }
        let entry = ZipEntry { start, limit: end, len, crc: le::<4>(record, 16) as u32 };
        if entries.insert(name.to_owned(), entry).is_some() {
            return damaged(format!("{name} is there twice"));
        }
    }
    if !directory.is_empty() {
        return damaged("a zip directory that lists more entries than it has");
    }
    set_limits(&mut entries, end)?;
    Ok(entries)
}

/// Puts the 64-bit values of an extra field in the place of 32-bit ones that are too small.
fn widen(fields: &mut [u64; 3], mut extra: &[u8]) {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let Some((mut data, next)) = rest.split_at_checked(le::<2>(head, 2) as usize) else { return };
        if le::<2>(head, 0) == 1 {
            for field in fields.iter_mut().filter(|field| **field == 0xffff_ffff) {
                let Some((value, next)) = data.split_at_checked(8) else { return };
                (*field, data) = (le::<8>(value, 0), next);
            }
        }
        extra = next;
    }
}

/// Each entry ends where the next begins.
fn set_limits(entries: &mut HashMap<String, ZipEntry>, end: u64) -> Outcome<()> {
    let mut sorted: Vec<&mut ZipEntry> = entries.values_mut().collect();
    sorted.sort_by_key(|entry| entry.start);
    let mut limit = end;
    for entry in sorted.into_iter().rev() {
        entry.limit = limit;
        if entry.start + 30 + entry.len > limit {
            return damaged("zip entries overlap");
        }
        limit = entry.start;
    }
    Ok(())
}

fn read_at<const N: usize>(file: &mut (impl Read + Seek), at: u64) -> Outcome<[u8; N]> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The little-endian number of N bytes at an index.
fn le<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + N].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
