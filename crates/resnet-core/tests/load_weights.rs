//! What a session's weights are after another network's were loaded.

use resnet_core::device::Compute;
use resnet_core::model::layer::{Child, Init, Layer};
use resnet_core::session::{LoadOptions, LoadReport};
use resnet_core::{Session, SessionOptions};
use std::path::Path;

/// A convolution and a head.
fn session(classes: usize, seed: u64, in_channels: Option<usize>) -> Session {
    let init = Init::default();
    let conv = Layer::Conv2d {
        out_channels: 4,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        groups: 1,
        bias: false,
        init,
    };
    let children = vec![
        Child::new("conv", conv),
        Child::new("pool", Layer::GlobalAvgPool2d),
        Child::new("fc", Layer::Linear { out_features: classes, bias: true, init }),
    ];
    let options = SessionOptions { seed, in_channels, compute: Compute { threads: Some(1), ..Compute::default() } };
    Session::new(Layer::Sequential { children }, &options).unwrap()
}

fn weights(session: &Session, name: &str) -> Vec<f32> {
    let state_dict = session.state_dict::<f32>().unwrap();
    let (_, tensor) = state_dict.into_iter().find(|(found, _)| found == name).unwrap();
    tensor.data
}

/// Saves the weights of a network for three channels and five classes, and lets `check` load them.
fn with_file(check: impl Fn(&Path, &Session)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parameters.safetensors");
    let parameters = session(5, 1, Some(3));
    parameters.save(&path).unwrap();
    check(&path, &parameters);
}

#[test]
fn a_new_head_is_drawn_from_the_seed() {
    with_file(|path, parameters| {
        let options = LoadOptions { new_head: true, ..LoadOptions::default() };
        let drawn = session(2, 7, Some(3));
        for in_channels in [None, Some(3)] {
            let mut loaded = session(2, 7, in_channels);
            let report = loaded.load_weights(path, &options).unwrap();
            let kept = ["fc.weight", "fc.bias"].map(String::from).to_vec();
            assert_eq!(report, LoadReport { kept, ..LoadReport::default() });
            assert_eq!(weights(&loaded, "conv.weight"), weights(parameters, "conv.weight"));
            for name in ["fc.weight", "fc.bias"] {
                assert_eq!(weights(&loaded, name), weights(&drawn, name), "{name}");
            }
        }
    });
}

#[test]
fn what_a_file_lacks_is_drawn_from_the_seed() {
    with_file(|path, parameters| {
        let rename = [("fc".to_owned(), "other".to_owned())].into();
        let options = LoadOptions { strict: false, rename, ..LoadOptions::default() };
        let mut loaded = session(5, 7, None);
        assert_eq!(loaded.load_weights(path, &options).unwrap().missing, ["fc.weight", "fc.bias"]);
        assert_eq!(weights(&loaded, "conv.weight"), weights(parameters, "conv.weight"));
        assert_eq!(weights(&loaded, "fc.weight"), weights(&session(5, 7, Some(3)), "fc.weight"));
    });
}

#[test]
fn the_input_adapts_where_its_channels_are_known() {
    with_file(|path, parameters| {
        let options = LoadOptions { adapt_input: true, ..LoadOptions::default() };
        let mut grey = session(5, 7, Some(1));
        let error = grey.load_weights(path, &LoadOptions::default()).unwrap_err();
        assert!(error.message.contains("adaptInput: true"), "{error}");
        assert_eq!(grey.load_weights(path, &options).unwrap(), LoadReport::default());
        let coloured = weights(parameters, "conv.weight");
        let sum: Vec<f32> =
            coloured.chunks(27).flat_map(|k| (0..9).map(move |i| k[i] + k[i + 9] + k[i + 18])).collect();
        assert_eq!(weights(&grey, "conv.weight"), sum);
        assert_eq!(weights(&grey, "fc.weight"), weights(parameters, "fc.weight"));
        let mut unknown = session(5, 7, None);
        unknown.load_weights(path, &options).unwrap();
        assert_eq!((unknown.in_channels(), weights(&unknown, "conv.weight")), (Some(3), coloured));
    });
}
