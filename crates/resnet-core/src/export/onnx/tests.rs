//! Files decoded again: what is in them, and what is refused. That other programs compute the same is tested from TypeScript.

use super::proto::{AttributeProto, DimensionValue, Element, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::*;
use crate::model::block::{residual, Block, BlockOptions, Shortcut};
use crate::model::layer::{Child, Init};
use crate::model::resnet::{resnet, ResNetOptions, Stage};
use crate::session::{Session, SessionOptions};
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use std::fs;

mod deployed;
mod refused;

fn session(network: Layer, channels: usize) -> Session {
    Session::new(network, &SessionOptions { seed: 3, in_channels: Some(channels), ..SessionOptions::default() })
        .unwrap()
}

fn small() -> Session {
    let stage = |num_residuals, num_channels| Stage { num_residuals, num_channels };
    let arch = vec![stage(1, 64), stage(1, 8)];
    session(resnet(&ResNetOptions { arch, num_classes: 5, ..ResNetOptions::default() }).unwrap(), 3)
}

fn options() -> OnnxOptions {
    OnnxOptions { shape: Some(vec![3, 32, 40]), ..OnnxOptions::default() }
}

fn bytes_of(session: &Session, options: &OnnxOptions) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let exported = session.export_onnx(&path, options).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(exported.bytes, bytes.len() as u64);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    bytes
}

/// The model of a file, whose graph is one: each node reads what is there by then, and each name is there once.
fn exported(session: &Session, options: &OnnxOptions) -> ModelProto {
    let model = ModelProto::decode(&*bytes_of(session, options)).unwrap();
    let graph = model.graph.as_ref().unwrap();
    let mut known = HashSet::new();
    for tensor in &graph.initializer {
        assert!(known.insert(&tensor.name), "{}", tensor.name);
        let size = [Element::F32, Element::F16, Element::I64]
            .map(|element| element as i32)
            .iter()
            .position(|&element| element == tensor.data_type);
        let len = tensor.dims.iter().product::<i64>() as usize * [4, 2, 8][size.unwrap()];
        assert_eq!(tensor.raw_data.len(), len, "{}", tensor.name);
    }
    assert!(known.insert(&graph.input[0].name));
    for node in &graph.node {
        assert!(node.input.iter().all(|input| known.contains(input)), "{node:?}");
        assert!(node.output.len() == 1 && known.insert(&node.output[0]), "{node:?}");
    }
    let typed: HashSet<&String> = graph.value_info.iter().chain(&graph.output).map(|value| &value.name).collect();
    assert!(graph.node.iter().all(|node| typed.contains(&node.output[0])));
    assert_eq!(graph.node.iter().map(|node| &node.name).collect::<HashSet<_>>().len(), graph.node.len());
    assert_eq!((graph.input.len(), graph.output.len()), (1, 1));
    model
}

fn nodes(model: &ModelProto) -> &[NodeProto] {
    &model.graph.as_ref().unwrap().node
}

fn ops(model: &ModelProto) -> Vec<&str> {
    nodes(model).iter().map(|node| &*node.op_type).collect()
}

fn node<'m>(model: &'m ModelProto, name: &str) -> &'m NodeProto {
    nodes(model).iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
}

fn attribute<'m>(node: &'m NodeProto, name: &str) -> &'m AttributeProto {
    node.attribute.iter().find(|attribute| attribute.name == name).unwrap()
}

fn tensor<'m>(model: &'m ModelProto, name: &str) -> &'m TensorProto {
    let tensors = &model.graph.as_ref().unwrap().initializer;
    tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no tensor {name}"))
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw_data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// A value's elements and sizes; -1 for any batch.
fn typed(value: &ValueInfoProto) -> (i32, Vec<i64>) {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let size = |dimension: &proto::Dimension| match dimension.value.as_ref().unwrap() {
        DimensionValue::Value(size) => *size,
        DimensionValue::Param(name) if name == "N" => -1,
        DimensionValue::Param(name) => panic!("{name}"),
    };
    (tensor.elem_type, tensor.shape.as_ref().unwrap().dim.iter().map(size).collect())
}

fn shape_of(model: &ModelProto, name: &str) -> Vec<i64> {
    let graph = model.graph.as_ref().unwrap();
    typed(graph.value_info.iter().chain(&graph.output).find(|value| value.name == name).unwrap()).1
}

fn metadata(model: &ModelProto) -> HashMap<&str, &str> {
    model.metadata_props.iter().map(|entry| (&*entry.key, &*entry.value)).collect()
}

fn child(name: &str, layer: Layer) -> Child {
    Child::new(name, layer)
}

fn conv(out_channels: usize, stride: usize) -> Layer {
    let init = Init::KaimingNormal;
    Layer::Conv2d { out_channels, kernel: [3; 2], stride: [stride; 2], padding: [1; 2], groups: 1, bias: false, init }
}

fn norm() -> Layer {
    Layer::BatchNorm2d { eps: 1e-3, momentum: 0.1, zero_init: false }
}

#[test]
fn without_folding_the_tensors_are_the_state_dict_and_nodes_have_their_layers_paths() {
    let session = small();
    let model = exported(&session, &OnnxOptions { fold_norms: false, ..options() });
    assert_eq!((model.ir_version, model.opset_import[0].version, &*model.opset_import[0].domain), (8, 17, ""));
    assert_eq!((&*model.producer_name, &*model.producer_version), ("resnet-native", env!("CARGO_PKG_VERSION")));
    let graph = model.graph.as_ref().unwrap();
    let state = session.state_dict::<f32>().unwrap();
    let names: HashSet<&String> = state.iter().map(|(name, _)| name).collect();
    assert_eq!(names, graph.initializer.iter().map(|tensor| &tensor.name).collect());
    for (name, expected) in &state {
        let found = tensor(&model, name);
        assert_eq!(found.dims, expected.shape.iter().map(|&size| size as i64).collect::<Vec<_>>());
        assert_eq!(floats(found), expected.data, "{name}");
    }
    let names: Vec<&str> = graph.node.iter().map(|node| &*node.name).collect();
    assert_eq!(names[..5], ["conv1", "bn1", "relu1", "maxpool", "layer1.0.conv1"]);
    assert_eq!(names[names.len() - 5..], ["layer2.0.add", "layer2.0.relu", "avgpool", "avgpool.flatten", "fc"]);
    assert_eq!(node(&model, "layer2.0.conv1").output, ["layer2.0.conv1"]);
    assert_eq!(node(&model, "layer2.0.relu").output, ["layer2.0"]);
    assert_eq!(node(&model, "fc").output, ["logits"]);
    assert_eq!(typed(&graph.input[0]), (Element::F32 as i32, vec![-1, 3, 32, 40]));
    assert_eq!(typed(&graph.output[0]), (Element::F32 as i32, vec![-1, 5]));
    assert_eq!(shape_of(&model, "layer2.0"), [-1, 8, 4, 5]);
    assert_eq!(attribute(node(&model, "bn1"), "momentum").f, Some(0.9));
}

#[test]
fn a_norm_goes_into_the_convolution_that_it_alone_reads() {
    let read_twice = Layer::Residual {
        preactivation: None,
        body: Box::new(Layer::sequential(vec![child("norm", norm())])),
        shortcut: None,
        relu: false,
        stochastic_depth: 0.2,
    };
    let network = Layer::sequential(vec![
        child("a", conv(2, 1)),
        child("drop", Layer::Dropout { p: 0.4 }),
        child("b", norm()),
        child("c", conv(3, 1)),
        child("d", read_twice),
    ]);
    let mut session = session(network, 1);
    let parameters = vec![
        ("a.weight", (0..18).map(|i| i as f32 - 7.5).collect()),
        ("b.weight", vec![2.0, -3.0]),
        ("b.bias", vec![0.5, 0.25]),
        ("b.running_mean", vec![1.5, -4.0]),
        ("b.running_var", vec![0.25, 9.0]),
    ];
    set(&mut session, &parameters);
    let model = exported(&session, &OnnxOptions { shape: Some(vec![1, 4, 4]), ..OnnxOptions::default() });
    assert_eq!(ops(&model), ["Conv", "Conv", "BatchNormalization", "Add"]);
    assert_eq!(node(&model, "a").output, ["b"], "the value is what the norm returns");
    let (weight, bias) = (floats(tensor(&model, "a.weight")), floats(tensor(&model, "a.bias")));
    for channel in 0..2 {
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| f64::from(parameters[i].1[channel]));
        let factor = gamma / (variance + 1e-3).sqrt();
        for (folded, plain) in weight.iter().zip(&parameters[0].1).skip(9 * channel).take(9) {
            assert_eq!(*folded, (f64::from(*plain) * factor) as f32);
        }
        assert_eq!(bias[channel], (beta - mean * factor) as f32);
    }
    assert_eq!(node(&model, "d.norm").input[0], "c");
    let kept =
        exported(&session, &OnnxOptions { shape: Some(vec![1, 4, 4]), fold_norms: false, ..OnnxOptions::default() });
    assert_eq!(ops(&kept), ["Conv", "BatchNormalization", "Conv", "BatchNormalization", "Add"]);
}

/// Gives parameters these values.
fn set(session: &mut Session, values: &[(&str, Vec<f32>)]) {
    let mut state = session.state_dict::<f32>().unwrap();
    for (name, tensor) in &mut state {
        if let Some((_, values)) = values.iter().find(|(other, _)| other == name) {
            tensor.data.clone_from(values);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let parts = state.iter().map(|(name, tensor)| {
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name.clone(), bytes, tensor.shape.clone())
    });
    let parts: Vec<_> = parts.collect();
    let views = parts.iter().map(|(name, bytes, shape)| {
        (name.clone(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    session.load_weights(&path, &Default::default()).unwrap();
}

#[test]
fn every_kind_of_layer_has_its_nodes() {
    let pool = |padding: usize, count_include_pad| Layer::AvgPool2d {
        kernel: [3; 2],
        stride: [2; 2],
        padding: [padding; 2],
        ceil_mode: true,
        count_include_pad,
    };
    let padded = BlockOptions { strides: 2, shortcut: Some(Shortcut::Pad), ..BlockOptions::new(Block::Basic, 7) };
    let children = vec![
        child("mixed", Layer::Concat { branches: vec![child("0", conv(3, 1)), child("1", Layer::sequential(vec![]))] }),
        child("silu", Layer::Silu),
        child("max", Layer::MaxPool2d { kernel: [3, 2], stride: [1, 2], padding: [1, 0] }),
        child("same", Layer::PadChannels { out_channels: 4, stride: [1; 2] }),
        child("block", residual(&padded).unwrap()),
        child("outside", pool(0, false)),
        child("counted", pool(1, true)),
        child("thin", Layer::PadChannels { out_channels: 7, stride: [2, 1] }),
        child("global", Layer::GlobalAvgPool2d),
        child("drop", Layer::Dropout { p: 0.5 }),
        child("head", Layer::Linear { out_features: 2, bias: false, init: Init::Zeros }),
        child("last", Layer::Dropout { p: 0.5 }),
    ];
    let session = session(Layer::sequential(children), 1);
    let model = exported(&session, &OnnxOptions { shape: Some(vec![1, 12, 20]), ..OnnxOptions::default() });
    let expected = [
        "Conv",
        "Concat",
        "Sigmoid",
        "Mul",
        "MaxPool",
        "Conv",
        "Relu",
        "Conv",
        "Slice",
        "Pad",
        "Add",
        "Relu",
        "AveragePool",
        "Pad",
        "AveragePool",
        "Slice",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ];
    assert_eq!(ops(&model), expected);
    assert_eq!(node(&model, "mixed.concat").input, ["mixed.0", "images"]);
    assert_eq!(attribute(node(&model, "max"), "pads").ints, [1, 0, 1, 0]);
    assert_eq!(shape_of(&model, "max"), [-1, 4, 12, 10]);
    assert_eq!(shape_of(&model, "block.downsample.slice"), [-1, 4, 6, 5]);
    let whole = |name: &str| -> Vec<i64> {
        let raw = &tensor(&model, name).raw_data;
        raw.chunks(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    // Of three channels that are added, one comes before.
    assert_eq!(whole("block.downsample.pads"), [0, 1, 0, 0, 0, 2, 0, 0]);
    assert_eq!((whole("thin.starts"), whole("thin.ends")), (vec![0, 0], vec![2, 2]));
    assert_eq!((whole("thin.axes"), whole("thin.steps")), (vec![2, 3], vec![2, 1]));
    // From 6x5 to 3x2 windows of three: the last one down hangs over by one row, which never counts.
    let outside = node(&model, "outside");
    assert_eq!(shape_of(&model, "outside"), [-1, 7, 3, 2]);
    assert_eq!(
        (&*attribute(outside, "pads").ints, attribute(outside, "count_include_pad").i),
        (&[0, 0, 1, 0][..], Some(0))
    );
    // From 3x2, with rows and columns of zeros that do count, to 2x2: the last one across hangs over.
    assert_eq!(whole("counted.pads"), [0, 0, 1, 1, 0, 0, 1, 1]);
    let counted = node(&model, "counted");
    assert_eq!(shape_of(&model, "counted"), [-1, 7, 2, 2]);
    assert_eq!(
        (&*attribute(counted, "pads").ints, attribute(counted, "count_include_pad").i),
        (&[0, 0, 0, 1][..], Some(0))
    );
    assert_eq!(attribute(node(&model, "head"), "transB").i, Some(1));
    assert_eq!(node(&model, "head").output, ["logits"]);
}

#[test]
fn networks_without_nodes_or_with_names_twice_are_graphs_too() {
    let at = |network, shape: [usize; 3]| {
        let channels = shape[0];
        exported(&session(network, channels), &OnnxOptions { shape: Some(shape.into()), ..OnnxOptions::default() })
    };
    let nothing = at(Layer::sequential(vec![]), [2, 3, 3]);
    assert_eq!((ops(&nothing), &nodes(&nothing)[0].output), (vec!["Identity"], &vec!["output".to_owned()]));
    let alone = at(Layer::Relu, [2, 3, 3]);
    assert_eq!((&*nodes(&alone)[0].name, &*nodes(&alone)[0].input[0]), ("network", "images"));
    let relu = |name| child(name, Layer::Relu);
    let twice = at(Layer::sequential(vec![relu("a"), relu("a"), relu("images"), relu("output"), relu("a")]), [1, 1, 1]);
    let names: Vec<&str> = nodes(&twice).iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["a", "a_2", "images", "output", "a_3"]);
    let values: Vec<&str> = nodes(&twice).iter().map(|node| &*node.output[0]).collect();
    assert_eq!(values, ["a", "a_2", "images_2", "output_2", "output"]);
}

#[test]
fn the_same_model_is_the_same_bytes() {
    for options in [options(), OnnxOptions { fold_norms: false, precision: Precision::Fp16, ..options() }] {
        assert_eq!(bytes_of(&small(), &options), bytes_of(&small(), &options));
    }
    assert_ne!(
        bytes_of(&small(), &options()),
        bytes_of(&small(), &OnnxOptions { shape: Some(vec![3, 40, 32]), ..options() })
    );
}
