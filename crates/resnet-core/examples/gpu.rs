//! A GPU at work without Node: what there is of it, and how long a training step takes.
//!
//! `gpu probe` writes what was found as a line of JSON, and ends with 3 where no GPU can be used.
//! `gpu train [--device cuda|cpu] [--network resnet18] [--precision bf16|tf32|fp32] [--batch 128] [--size 96] [--channels 1]
//! [--steps 100]` trains on invented images as a fit does, a loader's resizing included, and writes milliseconds a step: those of two
//! epochs of so many steps after a first one, in which plans are chosen and work is captured.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program, not library code.

use resnet_core::data::{Dataset, Interpolation, Pixels, Resize, Transform};
use resnet_core::device::{Compute, Device, DeviceInfo, Precision};
use resnet_core::distributed::Alone;
use resnet_core::model::resnet::resnet;
use resnet_core::model::zoo::preset;
use resnet_core::session::Session;
use resnet_core::train::{fit, Control, Event, FitConfig, Flow};
use resnet_core::SessionOptions;
use serde_json::json;
use std::time::Instant;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let place = words.iter().position(|word| word == &format!("--{name}"));
        place.and_then(|place| words.get(place + 1)).map_or(default, String::as_str).to_owned()
    };
    let number = |name: &str, default: &str| option(name, default).parse::<usize>().expect("a number");
    match words.first().map(String::as_str) {
        Some("probe") => probe(),
        Some("train") => train(&Training {
            device: option("device", "cuda").parse().expect("a device"),
            network: option("network", "resnet18"),
            precision: match option("precision", "tf32").as_str() {
                "bf16" => Precision::Bf16,
                "fp32" => Precision::Fp32,
                _ => Precision::Tf32,
            },
            batch: number("batch", "128"),
            size: number("size", "96"),
            channels: number("channels", "1"),
            steps: number("steps", "100"),
        }),
        _ => panic!("expected probe or train"),
    }
}

fn probe() {
    let DeviceInfo { device, why, probe, .. } = DeviceInfo::new().expect("a description");
    let gpus = probe.gpus.iter().map(|gpu| {
        let (major, minor) = gpu.compute_capability;
        json!({ "name": gpu.name, "computeCapability": format!("{major}.{minor}"), "memory": gpu.memory })
    });
    let found = json!({
        "device": device.to_string(), "why": why, "driver": probe.driver, "cuda": probe.cuda, "cudnn": probe.cudnn,
        "gpus": gpus.collect::<Vec<_>>(),
    });
    println!("{found}");
    if device == Device::Cpu {
        std::process::exit(3);
    }
}

struct Training {
    device: Device,
    network: String,
    precision: Precision,
    batch: usize,
    size: usize,
    channels: usize,
    steps: usize,
}

/// Takes down when epochs end, how long their steps took by then, and the last loss.
struct Clock {
    last: Instant,
    epochs: Vec<f64>,
    loss: f64,
}

impl Control for Clock {
    fn on_event(&mut self, _: &mut Session, event: &Event) -> Flow {
        match event {
            Event::Step { loss, .. } => self.loss = *loss,
            Event::EpochBegin { .. } => self.last = Instant::now(),
            Event::EpochEnd(_) => self.epochs.push(self.last.elapsed().as_secs_f64()),
            _ => {}
        }
        Flow::Continue
    }
}

fn train(training: &Training) {
    let Training { device, ref network, precision, batch, size, channels, steps } = *training;
    let description = resnet(&preset(network).expect("a network's name")).expect("a network");
    let compute = Compute { device, precision, ..Compute::default() };
    let options = SessionOptions { seed: 0, in_channels: Some(channels), compute };
    let mut session = Session::new(description, &options).expect("a device that can be used");
    let (images, small) = (batch * steps, size.min(28));
    let labels: Vec<u32> = (0..images as u32).map(|image| image % 10).collect();
    let of_image = channels * small * small;
    let pixels = (0..images * of_image).map(|i| ((i / of_image % 10) * 20 + i * 31 % 47) as u8).collect();
    let data = Dataset::from_arrays(Pixels::U8(pixels), [images, channels, small, small], labels, None);
    let resize = Transform::Resize(Resize { size: [size, size], interpolation: Interpolation::Pil });
    let data = data.and_then(|data| data.with_transforms(&[resize])).expect("a data set");
    let optimizer = r#"{"type":"sgd","lr":0.01,"momentum":0,"nesterov":false,"weight_decay":0}"#;
    let sizes = format!(r#""epochs":3,"batch_size":{batch},"optimizer":{optimizer}"#);
    let config = FitConfig::from_json(&format!(r#"{{{sizes},"shuffle":true,"drop_last":true}}"#)).expect("settings");
    let mut clock = Clock { last: Instant::now(), epochs: Vec::new(), loss: f64::NAN };
    let result = fit(&mut session, &data, None, &config, &mut clock, &mut Alone);
    if let Err(error) = &result {
        eprintln!("{error}");
        std::process::exit(1);
    }
    let ms = |seconds: f64| 1000.0 * seconds / steps as f64;
    let least = clock.epochs[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let refused = DeviceInfo::new().expect("a description").probe.refused_capture;
    let told = json!({
        "network": network, "device": device.to_string(), "precision": format!("{precision:?}").to_lowercase(),
        "batch": batch, "size": size, "steps": steps, "ms": ms(least), "firstEpochMs": ms(clock.epochs[0]),
        "imagesPerSecond": (batch as f64 * 1000.0 / ms(least)).round(), "loss": clock.loss, "refusedCapture": refused,
    });
    println!("{told}");
}
