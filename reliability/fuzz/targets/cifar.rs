//! CIFAR's archives.

#![no_main]

use flate2::write::GzEncoder;
use flate2::Compression;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use resnet_fuzz::{begin_with, file, load, mutate, MIB};
use std::io::Write;

/// An archive of both kinds, with an image of each file.
fn seed() {
    let mut archive = GzEncoder::new(Vec::new(), Compression::default());
    let batches = (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".into()]);
    let sized = batches.map(|name| (name, 3073)).chain(["train.bin", "test.bin"].map(|name| (name.into(), 3074)));
    for (name, size) in sized {
        let mut member = vec![0; 512];
        member[..name.len()].copy_from_slice(name.as_bytes());
        member[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        member.resize(512 + size, 1);
        member.resize(member.len().next_multiple_of(512), 0);
        archive.write_all(&member).expect("memory");
    }
    archive.write_all(&[0; 1024]).expect("memory");
    begin_with("data.tar.gz", &archive.finish().expect("memory"));
}

fuzz_target!(init: seed(), |bytes: &[u8]| {
    file("data.tar.gz", bytes);
    for kind in ["cifar10", "cifar100"] {
        // What is packed may be a thousand times as long.
        load(&format!(r#"{{"type":"cifar","kind":"{kind}","path":"data.tar.gz"}}"#), 8 * MIB + 4000 * bytes.len());
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::gzip(data, size, max_size, seed) });
