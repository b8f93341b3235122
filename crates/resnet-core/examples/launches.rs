//! What a training step asks of a GPU, as a line of JSON: kernels and convolutions in order, with their bytes; no GPU is needed.
//!
//! `launches [--network resnet18] [--precision bf16|tf32|fp32] [--batch 128] [--size 96] [--channels 1]`
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program, not library code.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "../tests/on_paper.rs"]
mod on_paper;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn main() {
    use resnet_core::model::zoo::{names, preset};
    use resnet_ops::Precision;
    use serde_json::json;

    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let place = words.iter().position(|word| word == &format!("--{name}"));
        place.and_then(|place| words.get(place + 1)).map_or(default, String::as_str).to_owned()
    };
    let number = |name: &str, default: &str| option(name, default).parse::<usize>().expect("a number");
    let precision = match option("precision", "bf16").as_str() {
        "bf16" => Precision::Bf16,
        "tf32" => Precision::Tf32,
        "fp32" => Precision::Fp32,
        other => panic!("--precision: expected bf16, tf32 or fp32, got {other}"),
    };
    let size = number("size", "96");
    let shape = [number("batch", "128"), number("channels", "1"), size, size];
    let network = option("network", "resnet18");
    if preset(&network).is_none() {
        eprintln!("--network: expected one of {}, got {network}", names().collect::<Vec<_>>().join(", "));
        std::process::exit(2);
    }
    let asked = on_paper::step(&network, precision, shape, on_paper::SGD);
    let launches = asked.launches.iter().map(|launch| {
        json!({ "kernel": launch.kernel, "blocks": launch.blocks, "threads": launch.threads, "bytes": launch.bytes })
    });
    let convolutions = asked.convolutions.iter().map(|convolution| {
        let (pass, bytes) = (format!("{:?}", convolution.pass), convolution.bytes());
        json!({ "pass": pass, "multiplyAdds": convolution.multiply_adds(), "bytes": bytes })
    });
    let found = json!({
        "launches": launches.collect::<Vec<_>>(), "convolutions": convolutions.collect::<Vec<_>>(),
        "uploads": asked.uploads, "downloads": asked.downloads,
    });
    println!("{found}");
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() {
    panic!("expected Linux with glibc, on which kernels are tested without a GPU");
}
