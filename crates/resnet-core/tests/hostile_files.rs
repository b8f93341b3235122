//! Files that are damaged or mean harm: each is refused in a second and 64 MiB over its own size, and nothing is
//! executed.

use crate::torch_bytes::*;
use resnet_core::cancel::Cancel;
use resnet_core::state_dict::{read, Contents};
use resnet_core::{Code, Result};
use std::fs;
use std::slice::from_ref;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Memory can be measured while no other test runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The most memory that the process had since the last call, in bytes; 0 where the system does not tell.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: usize = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    // Forgets the peak.
    let _ = fs::write("/proc/self/clear_refs", "5");
    kib << 10
}

/// Reads a file within the bounds.
fn load(what: &str, bytes: &[u8]) -> Result<Contents> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.pth");
    fs::write(&path, bytes).unwrap();
    peak();
    let before = peak();
    let start = Instant::now();
    let outcome = read(&path, &Cancel::default());
    let (time, grown) = (start.elapsed(), peak().saturating_sub(before));
    assert!(time < Duration::from_secs(1), "{what}: {time:?}");
    assert!(grown < 64 * MIB + bytes.len(), "{what}: {} MiB", grown / MIB);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{what} left something behind");
    outcome
}

/// Asserts that a file is refused for a reason.
fn refused(what: &str, bytes: &[u8], reason: &str) {
    match load(what, bytes) {
        Ok(contents) => panic!("{what}: accepted {} entries", contents.entries.len()),
        Err(error) => {
            assert_eq!(error.code, Code::ModelFile, "{what}: {error}");
            assert!(error.message.contains("hostile.pth: "), "{what}: {error}");
            assert!(error.message.contains(reason), "{what}: expected {reason:?} in {error}");
            assert!(error.message.len() < 1000, "{what}: a message of {} bytes", error.message.len());
        }
    }
}

/// Asserts that an object is refused in both forms.
fn refused_object(what: &str, object: &[u8], reason: &str) {
    refused(what, &saved(object), reason);
    refused(what, &legacy(object, &["0"], &counted(4, &floats(4))), reason);
}

#[test]
fn what_the_assembler_writes_is_read() {
    let _alone = alone();
    let object = dict(&[("w", row("0", 4)), ("v", view(storage("FloatStorage", "0", 4), 1, &[2, 1], &[2, 1 << 40]))]);
    for bytes in [saved(&object), legacy(&object, &["0"], &counted(4, &floats(4)))] {
        let entries = load("true", &bytes).unwrap().entries;
        assert_eq!((entries[0].name.as_str(), &entries[0].data[..]), ("w", &[0.0, 1.0, 2.0, 3.0][..]));
        assert_eq!((&entries[1].shape[..], &entries[1].data[..]), (&[2, 1][..], &[1.0, 3.0][..]));
    }
}

#[test]
fn python_2_and_the_first_versions_are_read() {
    let _alone = alone();
    let tensor = call(
        global("torch._utils", "_rebuild_tensor"),
        &[storage("FloatStorage", "0", 4), int(0), ints(&[4]), ints(&[1])],
    );
    let parameter = [call(global("torch.nn.parameter", "Parameter"), &[tensor]), ints(&[1, 0]), b"b".to_vec()].concat();
    let pair = [b"](U\x01w".to_vec(), parameter, b"e".to_vec()].concat();
    let object = call(global("collections", "OrderedDict"), &[[b"]".to_vec(), pair, b"a".to_vec()].concat()]);
    let entries = load("python 2", &legacy(&object, &["0"], &counted(4, &floats(4)))).unwrap().entries;
    assert_eq!((entries[0].name.as_str(), &entries[0].data[..]), ("w", &[0.0, 1.0, 2.0, 3.0][..]));
}

#[test]
fn code_is_refused() {
    let _alone = alone();
    let command = [text("touch hostile")];
    for (module, name) in [("posix", "system"), ("builtins", "eval"), ("torch", "load"), ("torch.hub", "load")] {
        let reason = format!("hostile.pth: refuses to load {module}.{name}: a state dict needs no code");
        refused_object("a call", &call(global(module, name), &command), &reason);
        let stacked = [text(module), text(name), vec![0x93]].concat();
        refused_object("a call by texts", &call(stacked, &command), &reason);
        let beside = dict(&[("state_dict", dict(&[("w", row("0", 4))])), ("x", global(module, name))]);
        refused_object("a global beside a state dict", &beside, &reason);
    }
    let class = [global("torch.nn", "Linear"), b")\x81".to_vec()].concat();
    refused_object("a class", &class, "refuses to load torch.nn.Linear: a state dict needs no code; save model.");
    let module = [tuple(&[text("module"), global("a", "Net"), text(""), text("")]), b"Q".to_vec()].concat();
    refused_object("a module", &module, "refuses to load a.Net: a state dict needs no code; save model.state_dict()");
    let long = global("posix", &"\u{1b}x".repeat(100));
    refused_object("a long name", &long, "posix.\\u{1b}x");
    refused_object("an endless name", &[b"c".to_vec(), vec![b'x'; MIB]].concat(), "more than 256 bytes");
}

#[test]
fn calls_of_what_is_allowed_do_nothing_else() {
    let _alone = alone();
    let ordered = || global("collections", "OrderedDict");
    let called = "a state dict needs no code";
    refused_object("a text", &call(text("x"), &[]), called);
    refused_object("a list", &[b"])R".to_vec()].concat(), called);
    refused_object("no arguments", &[ordered(), b"NR".to_vec()].concat(), called);
    refused_object("a new storage", &[global("torch", "FloatStorage"), b")\x81".to_vec()].concat(), "calls Storage");
    refused_object("state of a list", b"]}b", "sets the state");
    refused_object("state of a global", &[ordered(), b"}b".to_vec()].concat(), "sets the state");
    refused_object("a dict of no pairs", &call(ordered(), &[b"](K\x01e".to_vec()]), "no pairs");
    refused_object("a size of no tuple", &call(global("torch", "Size"), &[int(1)]), "calls Size");
    let rebuild = || global("torch._utils", "_rebuild_tensor_v2");
    refused_object("a tensor of nothing", &call(rebuild(), &[]), "calls RebuildTensor");
    refused_object("a tensor of a list", &call(rebuild(), &[b"]".to_vec(), int(0), ints(&[]), ints(&[])]), "calls");
    refused_object("a parameter of nothing", &call(global("torch.nn.parameter", "Parameter"), &[]), "calls Parameter");
    for id in [text("x"), tuple(&[]), ints(&[1, 2, 3]), tuple(&[text("storage"), ordered()])] {
        refused_object("an id", &[id, b"Q".to_vec()].concat(), "persistent id");
    }
}

#[test]
fn pickles_that_lie_are_refused() {
    let _alone = alone();
    let max = u32::MAX.to_le_bytes();
    let lengths: [Vec<u8>; 9] = [
        [b"X", &max[..]].concat(),
        [b"T", &max[..]].concat(),
        [b"B", &max[..]].concat(),
        [b"X", &(15u32 << 20).to_le_bytes()[..]].concat(),
        [b"B", &(15u32 << 20).to_le_bytes()[..]].concat(),
        b"\x8a\xff\x01".to_vec(),
        b"\x8c\xff".to_vec(),
        [&[0x95], &u64::MAX.to_le_bytes()[..]].concat(),
        [b"r", &max[..]].concat(),
    ];
    for object in lengths {
        let what = format!("{object:02x?}");
        refused_object(&what, &object, "");
        refused_object(&what, &[b"N".to_vec(), object].concat(), "");
    }
    for object in [&b"t"[..], b"(", b"e", b"]e", b"(e", b"s", b"}s", b"}(NNNu", b"NNs", b"\x85", b"(\x85", b"N(\x86"] {
        refused_object(&format!("{object:02x?}"), object, "");
    }
    for object in
        [&b"a"[..], b"Na", b"R", b")R", b"\x81", b"b", b"}b", b"Q", b"q\0", b"\x94", b"h\0", b"\x93", b"N(.", b""]
    {
        refused_object(&format!("{object:02x?}"), object, "");
    }
    // Of 8-byte lengths, extensions, what protocol 0 has, and what there is not.
    for opcode in [0x8b, 0x8d, 0x8e, 0x92, 0x96, 0x82, 0x83, 0x84, b'i', b'o', b'I', b'S', b'P', b'0', b'2', 0xff] {
        let object = [&[opcode], &u64::MAX.to_le_bytes()[..]].concat();
        refused_object("an instruction", &object, &format!("pickle instruction 0x{opcode:02x}"));
    }
    refused("a protocol", &zip(&[entry("a/data.pkl", b"\x80\x06N.")]), "protocol 2 to 5, got 6");
    refused_object("a memo's index", b"]r\xff\xff\xff\x7f", "remembers");
    refused_object("a memo larger than what was made", b"]r\x02\0\0\0", "remembers value 2, and made only 1");
    refused_object("no UTF-8", b"X\x02\0\0\0\xff\xff", "not UTF-8");
    let deep = [b"(", &vec![0x85; 10][..]].concat();
    refused_object("a value from before a mark", &[b"N", &deep[..]].concat(), "never made");
}

#[test]
fn what_is_no_state_dict_is_refused() {
    let _alone = alone();
    let expected = "expected a state dict, or a checkpoint with one";
    for object in [b"N".to_vec(), b"]".to_vec(), int(1), row("0", 4), tuple(&[row("0", 4)])] {
        refused_object("no dict", &object, expected);
    }
    let beside = dict(&[("epoch", int(1)), ("net", dict(&[("w", row("0", 4))]))]);
    refused_object("another key", &beside, "got a dict whose epoch is no tensor");
    refused_object("a number as key", b"}K\x01Ns", "keys that are no text");
    refused_object("a name twice", &dict(&[("w", row("0", 4)), ("w", row("0", 4))]), "w is there twice");
    refused_object("a long name", &dict(&[(&"n".repeat(2000), row("0", 4))]), "a name of 2000 bytes");
    let two = dict(&[("w", row("0", 4)), ("v", view(storage("IntStorage", "0", 4), 0, &[4], &[1]))]);
    refused_object("two types", &two, "storage 0 has two types or two sizes");
    let two = dict(&[("w", row("0", 4)), ("v", row("0", 5))]);
    refused_object("two sizes", &two, "storage 0 has two types or two sizes");
}

#[test]
fn tensors_that_lie_are_refused() {
    let _alone = alone();
    let of = |offset, sizes: &[i64], strides: &[i64]| {
        dict(&[("w", view(storage("FloatStorage", "0", 4), offset, sizes, strides))])
    };
    let max = i64::MAX;
    let lies: [(i64, &[i64], &[i64]); 17] = [
        (0, &[5], &[1]),
        (1, &[4], &[1]),
        (4, &[], &[]),
        (-1, &[1], &[1]),
        (max, &[2], &[max]),
        (0, &[2, 2], &[3, 1]),
        (0, &[-1], &[1]),
        (0, &[4], &[-1]),
        (3, &[2], &[-1]),
        (0, &[max, max], &[0, 0]),
        (0, &[max], &[max]),
        (0, &[1 << 33, 1 << 33], &[0, 0]),
        (0, &[2], &[max]),
        (0, &[4], &[]),
        (0, &[4], &[1, 1]),
        (0, &[2, 2, 2], &[1, 1, 3]),
        (0, &[1; 17], &[1; 17]),
    ];
    for (offset, sizes, strides) in lies {
        refused_object(&format!("{sizes:?} {strides:?} at {offset}"), &of(offset, sizes, strides), "w: ");
    }
    let more = "more than twice the";
    refused_object("a small file that expands", &of(0, &[1 << 40], &[0]), more);
    refused_object("a small file that expands in axes", &of(0, &[1 << 20, 1 << 20], &[0, 0]), more);
    let names: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
    // A memoised tensor for each name.
    let mut many = [b"}(".to_vec(), text("x"), view(storage("FloatStorage", "0", 4), 0, &[16], &[0])].concat();
    many.extend(b"q\0");
    many.extend(names.iter().flat_map(|name| [text(name), b"h\0".to_vec()].concat()));
    many.push(b'u');
    refused_object("many tensors of one storage", &many, more);
    for len in [5, 1 << 40, max] {
        refused("a storage larger than the file", &saved(&dict(&[("w", row("0", len))])), "");
        let legacy = legacy(&dict(&[("w", row("0", len))]), &["0"], &counted(len as u64, &floats(4)));
        refused("a storage larger than the file", &legacy, "");
        let huge = dict(&[("w", view(storage("DoubleStorage", "0", len), 0, &[1], &[1]))]);
        refused("a storage larger than the file", &saved(&huge), "");
    }
    refused_object("a negative storage", &dict(&[("w", row("0", -4))]), "persistent id");
}

#[test]
fn references_are_never_expanded() {
    let _alone = alone();
    // Each tuple holds the one before it twice: 2^200 values if written out.
    let mut doubling = b"]q\0".to_vec();
    for i in 0..200u8 {
        doubling.extend([b'h', i, 0x86, b'q', i + 1]);
    }
    let beside = |value: &[u8]| saved(&dict(&[("x", value.to_vec()), ("state_dict", dict(&[("w", row("0", 4))]))]));
    assert_eq!(load("a bomb beside weights", &beside(&doubling)).unwrap().entries.len(), 1);
    refused_object("a bomb", &doubling, "expected a state dict");
    refused_object("a bomb for a tensor", &dict(&[("w", doubling)]), "w is no tensor");
    // A list in itself, as a state dict and beside one.
    let cycle = b"]q\0h\0a";
    assert!(load("a cycle beside weights", &beside(cycle)).is_ok());
    refused_object("a cycle", cycle, "expected a state dict");
    // The same pairs in one dict after another.
    let mut pairs = b"](".to_vec();
    for _ in 0..20_000 {
        pairs.extend(b"NN\x86");
    }
    pairs.extend(b"e\x85q\0ccollections\nOrderedDict\nq\x01");
    for _ in 0..20_000 {
        pairs.extend(b"h\x01h\0R");
    }
    refused_object("dicts of the same pairs", &pairs, "more values than");
}

#[test]
fn large_pickles_end_in_bounds() {
    let _alone = alone();
    let filled = |unit: &[u8], len: usize| unit.iter().copied().cycle().take(len / unit.len() * unit.len()).collect();
    let units: [(&str, &[u8]); 12] = [
        ("marks", b"("),
        ("lists", b"]"),
        ("lists of one", b"]Na"),
        ("nested tuples", b"N\x85\x85\x85\x85"),
        ("remembered lists", b"]\x94"),
        ("remembered values", b"N\x94\x94\x94\x94"),
        ("values", b"N"),
        ("short texts", b"\x8c\x01x"),
        ("numbers", b"K\x01"),
        ("long numbers", &[0x8a, 1, 5]),
        ("pairs", b"](NNNNNNe"),
        ("dicts", b"}(NNNNu"),
    ];
    for (what, unit) in units {
        let bytes: Vec<u8> = filled(unit, 15 << 20);
        refused_object(what, &[b"N\x94".to_vec(), bytes].concat(), "");
    }
    let beyond: Vec<u8> = filled(b"\x8a\x01\x05", 17 << 20);
    refused_object("a pickle of 17 MiB", &beyond, "");
    let nested: Vec<u8> = [b"N".to_vec(), vec![0x85; 200_000]].concat();
    refused_object("deep nesting", &nested, "expected a state dict");
    let long = text(&"x".repeat(12 << 20));
    refused_object("a long text", &long, "expected a state dict");
    // A long text as the name of many tensors, and as the key of many storages.
    let mut names = [&text(&"x".repeat(12 << 20))[..], b"q\0", &row("0", 4), b"q\x01}("].concat();
    names.extend(b"h\0h\x01".repeat(100_000));
    names.push(b'u');
    refused_object("long names", &names, "a name of 12582912 bytes");
    let mut keys = [&text(&"x".repeat(12 << 20))[..], b"q\0", &text("storage"), b"q\x01"].concat();
    keys.extend([&global("torch", "FloatStorage")[..], b"q\x02"].concat());
    keys.extend(b"(h\x01h\x02h\0h\x01K\x04tQ".repeat(50_000));
    keys.extend(b"}");
    refused_object("long keys", &keys, "the key of a storage has 12582912 bytes");
    let tensors = |count: usize| {
        let arguments = [storage("FloatStorage", "0", 4), int(0), ints(&[1; 16]), ints(&[1; 16])];
        let mut object = [b"}(".to_vec(), text("first"), global("torch._utils", "_rebuild_tensor_v2")].concat();
        object.extend([b"q\0".to_vec(), tuple(&arguments), b"q\x01R".to_vec()].concat());
        object.extend((1..count).flat_map(|i| [text(&i.to_string()), b"h\0h\x01R".to_vec()].concat()));
        object.push(b'u');
        object
    };
    assert_eq!(load("many tensors", &saved(&tensors(65_000))).unwrap().entries.len(), 65_000);
    refused_object("too many tensors", &tensors(70_000), "more than 65536 tensors");
}

#[test]
fn zip_files_that_lie_are_refused() {
    let _alone = alone();
    let object = pickle(&dict(&[("w", row("0", 4))]));
    let [pkl, data] = [entry("a/data.pkl", &object), entry("a/data/0", &floats(4))];
    assert!(load("true", &zip(&[pkl.clone(), data.clone()])).is_ok());
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut changed = data.clone();
        change(&mut changed);
        zip(&[pkl.clone(), changed])
    };
    refused("a checksum", &with(&|entry| entry.crc ^= 1), "a/data/0: expected checksum");
    refused("compression", &with(&|entry| entry.method = 8), "a/data/0 is compressed");
    refused("encryption", &with(&|entry| entry.flags = 1), "a/data/0 is encrypted");
    refused("two lengths", &with(&|entry| entry.packed = 3), "cannot be");
    for len in [12, 20, 1 << 20, u32::MAX - 1, u32::MAX] {
        refused("a length", &with(&|entry| (entry.len, entry.packed) = (len, len)), "");
    }
    for start in [0, 1, 30, 1 << 20, u32::MAX - 1, u32::MAX] {
        refused("a place", &with(&|entry| entry.start = Some(start)), "");
    }
    let wide = |len: u64, start: u64| {
        let extra = [&[1, 0, 24, 0], &len.to_le_bytes()[..], &len.to_le_bytes(), &start.to_le_bytes()].concat();
        with(&|entry| {
            (entry.len, entry.packed, entry.start) = (u32::MAX, u32::MAX, Some(u32::MAX));
            entry.extra = extra.clone();
        })
    };
    let place = 30 + 10 + object.len() as u64;
    assert!(load("64-bit values", &wide(16, place)).is_ok());
    for (len, start) in [(u64::MAX, place), (16, u64::MAX), (1 << 33, place), (u64::MAX - 15, place), (16, place + 1)] {
        refused("64-bit values", &wide(len, start), "");
    }
    for extra in [vec![1], vec![1, 0, 255, 255], vec![1, 0, 4, 0, 1, 2, 3, 4]] {
        let long = with(&|entry| (entry.len, entry.extra) = (u32::MAX, extra.clone()));
        refused("an extra field", &long, "cannot be");
    }
    refused("the same entry twice", &zip(&[pkl.clone(), data.clone(), data.clone()]), "a/data/0 is there twice");
    let twin = Entry { start: Some(0), ..entry("a/x", b"") };
    refused("entries in the same place", &zip(&[pkl.clone(), data.clone(), twin]), "overlap");
    refused("no pickle", &zip(from_ref(&data)), "expected a zip file with one data.pkl in a folder");
    refused("two pickles", &zip(&[pkl.clone(), entry("b/data.pkl", &object), data.clone()]), "one data.pkl");
    refused("no storage", &zip(from_ref(&pkl)), "a/data/0 is missing");
    refused("a short storage", &zip(&[pkl.clone(), entry("a/data/0", &floats(3))]), "12 bytes are not what");
    refused("a long storage", &zip(&[pkl.clone(), entry("a/data/0", &floats(5))]), "20 bytes are not what");
    let code = entry("a/constants.pkl", b"");
    refused("TorchScript", &zip(&[pkl.clone(), data.clone(), code]), "TorchScript model is code");
    let big = entry("a/byteorder", b"big");
    refused("big-endian", &zip(&[pkl.clone(), data.clone(), big]), "expected little-endian values");
    refused("no entries", &zip(&[]), "");
}

#[test]
fn the_ends_of_zip_files_that_lie_are_refused() {
    let _alone = alone();
    let object = pickle(&dict(&[("w", row("0", 4))]));
    let file = zip(&[entry("a/data.pkl", &object), entry("a/data/0", &floats(4))]);
    let body = &file[..file.len() - 22];
    let start = body.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap() as u32;
    let size = body.len() as u32 - start;
    let ended = |end: &[u8]| [body, end].concat();
    assert!(load("true", &ended(&end(2, size, start))).is_ok());
    for (count, size, start) in [
        (1, size, start),
        (3, size, start),
        (0, size, start),
        (2, size - 1, start),
        (2, size + 1, start),
        (2, size, start + 1),
        (2, u32::MAX - 1, start),
        (2, size, u32::MAX - 1),
        (u16::MAX, size, start),
        (2, u32::MAX, u32::MAX),
    ] {
        refused("an end", &ended(&end(count, size, start)), "");
    }
    refused("something after the end", &[&file[..], b"x"].concat(), "followed by something else");
    let end64 = |count: u64, size: u64, start: u64, at: u64| {
        let record = [&b"PK\x06\x06"[..], &[0; 28], &count.to_le_bytes(), &size.to_le_bytes(), &start.to_le_bytes()];
        let locator = [&b"PK\x06\x07\0\0\0\0"[..], &at.to_le_bytes(), &[1, 0, 0, 0]].concat();
        ended(&[&record.concat()[..], &locator, &end(u16::MAX, u32::MAX, u32::MAX)].concat())
    };
    let (size, start, at) = (u64::from(size), u64::from(start), body.len() as u64);
    assert!(load("64-bit end", &end64(2, size, start, at)).is_ok());
    for (count, size, start, at) in [
        (u64::MAX, size, start, at),
        (2, u64::MAX, start, at),
        (2, size, u64::MAX, at),
        (2, 0u64.wrapping_sub(start), start, at),
        (2, size, start, at + 1),
        (2, size, start, u64::MAX),
        (2, size, start, 0),
        (1 << 40, 46 << 40, 0, at),
    ] {
        refused("a 64-bit end", &end64(count, size, start, at), "");
    }
}

#[test]
fn names_with_paths_are_only_names() {
    let _alone = alone();
    let of = |key: &str| pickle(&dict(&[("../../w", row(key, 4))]));
    for folder in ["/", "../", "/etc/", "a/../../", "C:\\x/", "a\0b/"] {
        let pkl = entry(&format!("{folder}data.pkl"), &of("0"));
        let file = zip(&[pkl, entry(&format!("{folder}data/0"), &floats(4))]);
        assert_eq!(load("a folder", &file).unwrap().entries[0].name, "../../w");
    }
    for key in ["../data.pkl", "/etc/passwd", "../../../../etc/passwd", ""] {
        refused("a key", &zip(&[entry("a/data.pkl", &of(key)), entry("a/data/0", &floats(4))]), "is missing");
    }
    let name = [0xff, b'/', b'd'];
    let mut file = zip(&[entry("a/d", b"")]);
    let places: Vec<usize> = (0..file.len() - 3).filter(|&i| file[i..].starts_with(b"a/d")).collect();
    for place in places {
        file[place..place + 3].copy_from_slice(&name);
    }
    refused("a name that is not UTF-8", &file, "not UTF-8");
}

#[test]
fn older_files_that_lie_are_refused() {
    let _alone = alone();
    let object = dict(&[("w", row("0", 4))]);
    let storage = counted(4, &floats(4));
    assert!(load("true", &legacy(&object, &["0"], &storage)).is_ok());
    refused("no storage", &legacy(&object, &[], &[]), "storage 0 is missing");
    refused("an unknown storage", &legacy(&object, &["1"], &storage), "storage 1 is not what");
    for count in [0, 3, 5, u64::MAX, 1 << 62] {
        refused("a count", &legacy(&object, &["0"], &counted(count, &floats(4))), "storage 0 is not what");
    }
    for len in 0..storage.len() {
        refused("a file cut off", &legacy(&object, &["0"], &storage[..len]), "cut off");
    }
    let head = |version, system: &[u8]| [legacy_head(version, system), pickle(&object)].concat();
    refused("another version", &head(1002, b"}"), "expected version 1001");
    refused("big-endian", &head(1001, &dict(&[("little_endian", vec![0x89])])), "expected little-endian values");
    refused("no system", &head(1001, b"N"), "expected little-endian values");
    let skipped = dict(&[("state_dict", object.clone()), ("x", row("1", 1 << 40))]);
    refused("a skipped storage", &legacy(&skipped, &["1", "0"], &counted(1 << 40, &storage)), "cut off");
    refused("a pickle that torch.save did not write", &pickle(&object), "not a safetensors file");
}
