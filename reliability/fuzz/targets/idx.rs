//! Files of MNIST and its kin: images in three dimensions, labels in one.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use resnet_fuzz::{file, load, mutate, MIB};

const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// Three items of zeros.
fn whole(name: &str) -> Vec<u8> {
    match name.contains("images") {
        true => [&[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28][..], &[0; 3 * 28 * 28]].concat(),
        false => [0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2].into(),
    }
}

fuzz_target!(
    init: NAMES.iter().for_each(|name| drop(file(name, &whole(name)))),
    |bytes: &[u8]| {
        for name in &NAMES[..2] {
            file(name, bytes);
            // What is packed may be a thousand times as long.
            load(r#"{"type":"fashion_mnist","folder":"."}"#, 8 * MIB + 4000 * bytes.len());
            file(name, &whole(name));
        }
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::gzip(data, size, max_size, seed) });
