//! Pictures as WebP.

#![no_main]

libfuzzer_sys::fuzz_target!(init: resnet_fuzz::quiet(), |bytes: &[u8]| resnet_fuzz::picture(bytes));
