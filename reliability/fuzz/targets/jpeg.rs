//! Pictures as JPEG.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resnet_fuzz::picture(bytes));
