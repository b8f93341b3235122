//! Our own model files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_core::cancel::Cancel;
use resnet_core::device::{Compute, Device};
use resnet_core::interface::Interface;
use resnet_core::model::Layer;
use resnet_core::session::{Images, Session};
use resnet_core::state_dict::read_model_bytes;
use resnet_core::Code;
use resnet_fuzz::{comes_back, file, network, refused, seed, within, MIB};
use resnet_ops::Executor;
use std::path::Path;

/// Layers of every kind that [`network`] lacks.
const OTHERS: &str = r#"{"type":"sequential","children":[
    {"name":"a","layer":{"type":"residual","preactivation":{"type":"relu"},"relu":true,"stochastic_depth":0.1,
        "body":{"type":"conv2d","out_channels":4,"kernel":[3,3],"stride":[2,2],"padding":[1,1],"groups":2,"bias":true,"init":"kaiming-normal"},
        "shortcut":{"type":"pad_channels","out_channels":4,"stride":[2,2]}}},
    {"name":"b","layer":{"type":"concat","branches":[
        {"name":"0","title":"max","layer":{"type":"max_pool2d","kernel":[3,3],"stride":[1,1],"padding":[1,1]}},
        {"name":"1","layer":{"type":"avg_pool2d","kernel":[3,3],"stride":[1,1],"padding":[1,1],"ceil_mode":true,"count_include_pad":false}}]}},
    {"name":"c","layer":{"type":"silu"}},
    {"name":"d","layer":{"type":"dropout","p":0.5}},
    {"name":"e","layer":{"type":"global_avg_pool2d"}},
    {"name":"f","layer":{"type":"linear","out_features":2,"bias":false}}]}"#;

const INTERFACE: &str = r#"{"transform":{"size":[8,9],"fit":"pad","channels":1,"background":[1,2,3],"normalise":{"mean":[0.1],"std":[0.5]}},
    "class_names":["Katze","犬","c","d"],"temperature":1.25}"#;

fn seeds() {
    for (name, network, channels, interface) in [
        ("plain", network(), 1, Interface::from_json(INTERFACE).expect("an interface")),
        ("others", serde_json::from_str::<Layer>(OTHERS).expect("a network"), 2, Interface::default()),
    ] {
        let mut session = Session::on(network, Executor::cpu(1).expect("a processor"), 0);
        session.build(channels).expect("channels that fit");
        session.set_interface(interface).expect("an interface that fits");
        session.save(Path::new(name)).expect("a folder that can be written to");
        seed(Path::new(name));
    }
}

fuzz_target!(init: seeds(), |bytes: &[u8]| {
    within(8 * MIB + 400 * bytes.len(), || {
        if let Err(error) = read_model_bytes(bytes, Path::new("model"), &Cancel::default()) {
            return refused(&error, &[Code::ModelFile]);
        }
        let compute = Compute { device: Device::Cpu, threads: Some(1), ..Compute::default() };
        let mut session = match Session::load(&file("model", bytes), compute, &Cancel::default()) {
            Ok(session) => comes_back(&session),
            Err(error) => return refused(&error, &[Code::NonFiniteWeights]),
        };
        let channels = session.in_channels().expect("a network that is built");
        if channels <= 16 {
            let data = vec![0.5; channels * 64];
            let images = Images { data: &data, shape: [1, channels, 8, 8] };
            // A few layers without weights can make much of little.
            if let Err(error) = session.forward::<f32>(images, false) {
                refused(&error, &[Code::Shape, Code::OutOfMemory]);
            }
        }
    });
});
