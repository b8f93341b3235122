//! Lists of pictures: CSV, or a JSON object a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_fuzz::{file, load, source_of_list, MIB};

fuzz_target!(
    init: drop(file("p.png", include_bytes!("../../../crates/resnet-core/tests/fixtures/pictures/one_bit.png"))),
    |bytes: &[u8]| {
        let name = if bytes.starts_with(b"{") { "list.jsonl" } else { "list.csv" };
        file(name, bytes);
        load(&source_of_list(name), 64 * MIB + 200 * bytes.len());
        // Of several classes each.
        load(&source_of_list(name).replace(r#""seed":0"#, r#""seed":0,"labels":"multi""#), 64 * MIB + 200 * bytes.len());
    }
);
