//! Pictures, lists and data sets with bytes changed at random: whatever is wrong with them, reading them gives data or an error. A second
//! of that in every run; `DAMAGED_SECONDS=600 cargo test -p resnet-ops -p resnet-core --test damaged_data` for more.

use flate2::write::GzEncoder;
use flate2::Compression;
use resnet_core::cancel::Cancel;
use resnet_core::data::{Fit, GivenPicture, PictureTransform, Source};
use resnet_core::{Code, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{stdout, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes beyond which no damage may drive the process: the cap of a picture's pixels, a turned copy, its planes.
const MOST_MEMORY: usize = 3 << 30;

/// How long one file may take.
const MOST_TIME: Duration = Duration::from_secs(10);

type Reader = dyn Fn(&[u8]) -> Result<()>;

/// A file, and what reads it.
struct Kind {
    name: String,
    whole: Vec<u8>,
    read: Box<Reader>,
}

/// A simple generator: one for each case, so that a case can be made again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

#[test]
fn damaged_files_give_data_or_an_error() {
    let asked = std::env::var("DAMAGED_SECONDS").ok().and_then(|text| text.parse::<f64>().ok());
    let until = Instant::now() + Duration::from_secs_f64(asked.unwrap_or(1.0));
    let folder = tempfile::tempdir().unwrap();
    let kinds = kinds(folder.path());
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut case = 0;
    while Instant::now() < until || case < 2 * kinds.len() as u64 {
        let kind = &kinds[case as usize % kinds.len()];
        let bytes = damaged(&kind.whole, &mut Random(case));
        let began = Instant::now();
        let outcome = match (kind.read)(&bytes) {
            Ok(()) => "read".to_owned(),
            Err(error) => {
                let known = [Code::DataCorrupt, Code::DataNotFound, Code::InvalidArgument, Code::Io, Code::OutOfMemory];
                assert!(known.contains(&error.code), "{} {case}: {:?} {error}", kind.name, error.code);
                assert!(error.message.len() < 2000, "{} {case}: {} bytes of message", kind.name, error.message.len());
                // The decoders' panics are caught: worth telling, no fault of ours.
                let panicked = error.message.contains("one that its decoder fails on");
                format!("{:?}{}", error.code, if panicked { ", a decoder panicked" } else { "" })
            }
        };
        assert!(began.elapsed() < MOST_TIME, "{} {case}: {:?}", kind.name, began.elapsed());
        let ending = kind.name.rsplit('.').next().unwrap_or_default();
        *outcomes.entry(format!("{ending}: {outcome}")).or_default() += 1;
        case += 1;
    }
    let peak = peak();
    if asked.is_some() {
        let counts: String = outcomes.iter().map(|(outcome, count)| format!("{count:9} {outcome}\n")).collect();
        write!(stdout(), "\n{case} files, at most {} MiB\n{counts}", peak >> 20).unwrap();
    }
    assert!(peak < MOST_MEMORY, "{} MiB", peak >> 20);
}

/// A few bytes changed, cut out, put in or doubled; lengths and counts made large or small; sometimes the end cut off.
fn damaged(whole: &[u8], random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 8] =
        [&[0xff; 4], &[0; 4], &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0x75, 0x30], &[0xff; 2], b"\"", b",", b"\n"];
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(4) {
        // Heads decide on sizes, so half of the damage is there.
        let reach = if random.below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
        let place = random.below(reach);
        let end = (place + 1 + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 | 1 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            2 if place < bytes.len() => bytes[place] = random.below(256) as u8,
            3 => {
                let word = WORDS[random.below(WORDS.len())];
                let end = (place + word.len()).min(bytes.len());
                bytes.splice(place.min(end)..end, word.iter().copied());
            }
            4 => drop(bytes.drain(place.min(end)..end)),
            _ => {
                let part = bytes[place.min(end)..end].to_vec();
                bytes.splice(place..place, part);
            }
        }
    }
    if random.below(4) == 0 {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    bytes
}

fn kinds(folder: &Path) -> Vec<Kind> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    let mut pictures: Vec<PathBuf> = fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    pictures.retain(|path| path.extension().is_some_and(|ending| ending != "safetensors"));
    pictures.sort();
    let mut kinds: Vec<Kind> = pictures.iter().map(|path| picture(path, false)).collect();
    // Damage behind a PNG's check values is found by these alone, unless they are put right.
    let pngs = pictures.iter().filter(|path| path.extension().is_some_and(|ending| ending == "png"));
    kinds.extend(pngs.map(|path| picture(path, true)));
    let row = |path: &PathBuf, end: &str| format!("{},{end}", path.display());
    let csv = format!(
        "path,label,split\n{}\n{}\n{}\n",
        row(&pictures[0], "a,"),
        row(&pictures[1], "\"b\",train"),
        row(&pictures[2], "a,val")
    );
    let json = |path: &PathBuf, label| format!("{{\"path\":\"{}\",\"label\":{label}}}\n", path.display());
    kinds.push(list(folder, "list.csv", csv));
    kinds.push(list(folder, "list.jsonl", json(&pictures[0], "\"a\"") + &json(&pictures[1], "7")));
    kinds.push(idx(folder));
    kinds.push(cifar(folder, false));
    kinds.push(cifar(folder, true));
    kinds
}

fn picture(path: &Path, checked: bool) -> Kind {
    let transform =
        PictureTransform { size: [8, 8], fit: Fit::Pad, channels: 3, background: [255; 3], normalise: None };
    let read = move |bytes: &[u8]| {
        let bytes = if checked { with_right_checks(bytes) } else { bytes.to_vec() };
        transform.images(&[GivenPicture::Bytes(bytes)], &Cancel::default()).map(drop)
    };
    Kind { name: path.display().to_string(), whole: fs::read(path).unwrap(), read: Box::new(read) }
}

/// A PNG whose chunks have the check values of what is in them.
fn with_right_checks(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut place = 8;
    while let Some(head) = bytes.get(place..place + 4) {
        let len = u32::from_be_bytes(head.try_into().unwrap()) as usize;
        let end = place.saturating_add(8).saturating_add(len);
        if end.saturating_add(4) > bytes.len() {
            break;
        }
        let check = crc32(&bytes[place + 4..end]);
        bytes[end..end + 4].copy_from_slice(&check.to_be_bytes());
        place = end + 4;
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

fn loaded(source: &str) -> Result<()> {
    Source::from_json(source).unwrap().load(&[], &Cancel::default()).map(drop)
}

fn list(folder: &Path, name: &str, whole: String) -> Kind {
    let path = folder.join(name);
    let source = format!(
        r#"{{"type":"image_folder","path":{path:?},"transform":{{"size":[8,8],"fit":"pad","channels":3,"background":[0,0,0]}},
        "measured":false,"split":null,"stratified":true,"seed":0,"class_names":null,"on_error":"skip","verify":false,"cache":0}}"#
    );
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        loaded(&source)
    };
    Kind { name: name.to_owned(), whole: whole.into_bytes(), read: Box::new(read) }
}

/// One of the four files, all of which have the same number of items here.
fn idx(folder: &Path) -> Kind {
    let folder = folder.join("idx");
    fs::create_dir(&folder).unwrap();
    let file = |shape: &[u32]| {
        let sizes = shape.iter().flat_map(|size| size.to_be_bytes());
        let mut bytes: Vec<u8> = [0, 0, 8, shape.len() as u8].into_iter().chain(sizes).collect();
        bytes.resize(bytes.len() + shape.iter().product::<u32>() as usize, 3);
        bytes
    };
    let (images, labels) = (file(&[3, 28, 28]), file(&[3]));
    fs::write(folder.join("t10k-images-idx3-ubyte"), &images).unwrap();
    fs::write(folder.join("t10k-labels-idx1-ubyte"), &labels).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), &labels).unwrap();
    let source = format!(r#"{{"type":"fashion_mnist","folder":{folder:?}}}"#);
    let read = move |bytes: &[u8]| {
        fs::write(folder.join("train-images-idx3-ubyte"), bytes).unwrap();
        loaded(&source)
    };
    Kind { name: "images.idx".into(), whole: images, read: Box::new(read) }
}

/// An archive that is damaged before it is packed, or after that.
fn cifar(folder: &Path, packed: bool) -> Kind {
    let path = folder.join(format!("data{packed}.tar.gz"));
    let record = |label: u8| [vec![0, label], vec![label; 3072]].concat();
    let members = [("train.bin", [record(5), record(99)].concat()), ("test.bin", record(7))];
    let mut whole = Vec::new();
    for (name, content) in members {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        whole.extend_from_slice(&header);
        whole.extend_from_slice(&content);
        whole.resize(whole.len().next_multiple_of(512), 0);
    }
    whole.resize(whole.len() + 1024, 0);
    let source = format!(r#"{{"type":"cifar","kind":"cifar100","path":{path:?}}}"#);
    let read = move |bytes: &[u8]| {
        fs::write(&path, if packed { bytes.to_vec() } else { gzip(bytes) }).unwrap();
        loaded(&source)
    };
    let whole = if packed { gzip(&whole) } else { whole };
    Kind { name: if packed { "archive.gz" } else { "archive.tar" }.into(), whole, read: Box::new(read) }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The most memory that the process had, in bytes; 0 where the system does not tell.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) << 10
}
