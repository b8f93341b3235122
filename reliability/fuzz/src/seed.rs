//! Files of ours to begin with.

use std::fs;
use std::path::Path;

/// The folder that a fuzzer is told to begin with, in the working folder.
const SEEDS: &str = "seeds";

/// Gives the fuzzer a file of ours, in the form without a digest, which no mutation would get past.
pub fn seed(path: &Path) {
    let whole = fs::read(path).expect("a file that was written");
    let described = replaced(whole, br#"{\"version\":2,"#, br#"{\"version\":1,"#);
    let without = replaced(described, b"resnet_native_sha256", b"resnet_native_SHA256");
    begin_with(&path.file_name().expect("a file").to_string_lossy(), &without);
}

/// Gives the fuzzer a file.
pub fn begin_with(name: &str, bytes: &[u8]) {
    fs::create_dir_all(SEEDS).expect("a folder that can be written to");
    fs::write(Path::new(SEEDS).join(name), bytes).expect("a folder that can be written to");
}

/// Bytes with the first of these words in place of another as long.
fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let place = bytes.windows(old.len()).position(|part| part == old).expect("a file of this version");
    bytes[place..place + old.len()].copy_from_slice(new);
    bytes
}
