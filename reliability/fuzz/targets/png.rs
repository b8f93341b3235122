//! Pictures as PNG.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use resnet_fuzz::{mutate, picture};

fuzz_target!(|bytes: &[u8]| picture(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::png(data, size, max_size, seed) });
