//! Weights as PyTorch writes them: zip files, and the older form.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use resnet_fuzz::{mutate, weights};

fuzz_target!(|bytes: &[u8]| weights(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::zip(data, size, max_size, seed) });
