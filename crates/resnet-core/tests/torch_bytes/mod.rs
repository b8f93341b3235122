//! Files as `torch.save` writes them, byte by byte, so that each byte can be wrong.

/// A text.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// An integer.
pub fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8], &value.to_le_bytes()[..]].concat()
}

/// A global.
pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// A tuple of values.
pub fn tuple(values: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &values.concat()[..], b"t"].concat()
}

/// A tuple of integers.
pub fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>())
}

/// A dict.
pub fn dict(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let pairs: Vec<u8> = pairs.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    [b"}(", &pairs[..], b"u"].concat()
}

/// A pickle of a value.
pub fn pickle(value: &[u8]) -> Vec<u8> {
    [&[0x80, 2], value, b"."].concat()
}

/// The call of a global.
pub fn call(function: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
    [function, tuple(arguments), b"R".to_vec()].concat()
}

/// A storage.
pub fn storage(kind: &str, key: &str, len: i64) -> Vec<u8> {
    [tuple(&[text("storage"), global("torch", kind), text(key), text("cpu"), int(len)]), b"Q".to_vec()].concat()
}

/// A view of a storage.
pub fn view(storage: Vec<u8>, offset: i64, sizes: &[i64], strides: &[i64]) -> Vec<u8> {
    let arguments = [storage, int(offset), ints(sizes), ints(strides), vec![0x89], b"}".to_vec()];
    call(global("torch._utils", "_rebuild_tensor_v2"), &arguments)
}

/// A row of floats that are a whole storage.
pub fn row(key: &str, len: i64) -> Vec<u8> {
    view(storage("FloatStorage", key, len), 0, &[len], &[1])
}

/// An entry of a zip file, and what its directory says of it.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub data: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub len: u32,
    pub packed: u32,
    /// Where the directory says that it is, if not where it is.
    pub start: Option<u32>,
    pub extra: Vec<u8>,
}

/// An entry of which everything is true.
pub fn entry(name: &str, data: &[u8]) -> Entry {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    let len = data.len() as u32;
    Entry {
        name: name.into(),
        data: data.into(),
        flags: 0,
        method: 0,
        crc: crc.sum(),
        len,
        packed: len,
        start: None,
        extra: Vec::new(),
    }
}

/// A zip file.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = entry.start.unwrap_or(file.len() as u32);
        let name = entry.name.as_bytes();
        file.extend(*b"PK\x03\x04");
        file.extend([0; 22]);
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0; 2]);
        file.extend(name);
        file.extend(&entry.data);
        directory.extend(*b"PK\x01\x02\0\0\0\0");
        directory.extend([entry.flags, entry.method, 0, 0].map(u16::to_le_bytes).concat());
        directory.extend([entry.crc, entry.packed, entry.len].map(u32::to_le_bytes).concat());
        directory.extend([name.len() as u16, entry.extra.len() as u16, 0, 0, 0].map(u16::to_le_bytes).concat());
        directory.extend([0, start].map(u32::to_le_bytes).concat());
        directory.extend(name);
        directory.extend(&entry.extra);
    }
    let (start, count) = (file.len() as u32, entries.len() as u16);
    file.extend(&directory);
    file.extend(end(count, directory.len() as u32, start));
    file
}

/// The end of a zip file.
pub fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let counts = [0, 0, count, count].map(u16::to_le_bytes).concat();
    [b"PK\x05\x06", &counts[..], &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat()
}

/// A zip file of an object with storage "0" of four floats: 0, 1, 2, 3.
pub fn saved(object: &[u8]) -> Vec<u8> {
    zip(&[entry("archive/data.pkl", &pickle(object)), entry("archive/data/0", &floats(4))])
}

/// 0, 1, 2, …
pub fn floats(len: usize) -> Vec<u8> {
    (0..len).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

/// A file of the older form: an object, the keys of its storages, and what follows them.
pub fn legacy(object: &[u8], keys: &[&str], rest: &[u8]) -> Vec<u8> {
    let system = dict(&[("little_endian", vec![0x88])]);
    let keys = [b"](".to_vec(), keys.iter().flat_map(|key| text(key)).collect(), b"e".to_vec()].concat();
    [legacy_head(1001, &system), pickle(object), pickle(&keys), rest.to_vec()].concat()
}

/// The first three pickles of the older form.
pub fn legacy_head(version: i64, system: &[u8]) -> Vec<u8> {
    let magic = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    [pickle(&magic), pickle(&int(version)), pickle(system)].concat()
}

/// A storage of the older form.
pub fn counted(count: u64, data: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes(), data].concat()
}
