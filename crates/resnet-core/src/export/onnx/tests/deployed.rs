//! What whoever runs a file has to know, what goes in and what comes out.

use super::*;
use crate::data::{Fit, LabelKind, Normalise, PictureTransform};
use half::f16;

/// A model that knows its pictures.
fn knowing(channels: usize, label_kind: LabelKind) -> Session {
    let network = Layer::sequential(vec![
        child("global", Layer::GlobalAvgPool2d),
        child("fc", Layer::Linear { out_features: 3, bias: true, init: Init::TorchDefault }),
    ]);
    let mut session = session(network, channels);
    let normalise = Some(Normalise { mean: vec![0.5; channels], std: vec![0.25; channels] });
    let transform = PictureTransform { size: [6, 8], fit: Fit::Crop, channels, background: [1, 2, 3], normalise };
    let class_names = Some(vec!["Küche".to_owned(), "a \"b\"".to_owned()]);
    let interface =
        Interface { transform: Some(transform), class_names, label_kind: Some(label_kind), temperature: 1.5 };
    session.set_interface(interface).unwrap();
    session
}

#[test]
fn what_a_deployer_must_know_is_in_the_file() {
    let session = knowing(3, LabelKind::Single);
    let shape = Some(vec![3, 12, 16]);
    let model = exported(&session, &OnnxOptions { shape, probabilities: true, ..OnnxOptions::default() });
    let keys: Vec<&str> = model.metadata_props.iter().map(|entry| &*entry.key).collect();
    assert!(keys.is_sorted());
    let found = metadata(&model);
    let expected = [
        ("names", r#"{"0": "Küche", "1": "a \"b\""}"#),
        ("classes", r#"["Küche","a \"b\""]"#),
        ("label_kind", "single"),
        ("imgsz", "[12,16]"),
        ("channels", "3"),
        ("mean", "[0.5,0.5,0.5]"),
        ("std", "[0.25,0.25,0.25]"),
        ("input", "normalised"),
        ("output", "probabilities"),
        ("temperature", "1.5"),
        ("half", "false"),
        ("task", "classify"),
    ];
    for (key, value) in expected {
        assert_eq!(found[key], value, "{key}");
    }
    let transform = PictureTransform::from_json(found["transform"]).unwrap();
    assert_eq!((transform.size, transform.fit, transform.background), ([12, 16], Fit::Crop, [1, 2, 3]));
    assert_eq!(found.len(), expected.len() + 1);
    assert_eq!(ops(&model)[3..], ["Div", "Softmax"]);
    assert_eq!(floats(tensor(&model, "postprocess.temperature")), [1.5]);
    assert_eq!(nodes(&model)[4].output, ["probabilities"]);
    let multi = exported(&knowing(3, LabelKind::Multi), &OnnxOptions { probabilities: true, ..OnnxOptions::default() });
    assert_eq!((ops(&multi)[4], metadata(&multi)["label_kind"]), ("Sigmoid", "multi"));
    assert_eq!(metadata(&exported(&small(), &options())).len(), 7);
}

#[test]
fn pictures_go_in_as_they_are() {
    let at = |channels, input| {
        let model = exported(&knowing(channels, LabelKind::Single), &OnnxOptions { input, ..OnnxOptions::default() });
        let found = typed(&model.graph.as_ref().unwrap().input[0]);
        let before: Vec<String> = nodes(&model)
            .iter()
            .take_while(|node| node.name.starts_with("preprocess."))
            .map(|node| node.op_type.clone())
            .collect();
        (found, before.join(" "))
    };
    let [float, byte] = [Element::F32 as i32, Element::U8 as i32];
    assert_eq!(at(3, Input::Normalised), ((float, vec![-1, 3, 6, 8]), String::new()));
    assert_eq!(at(3, Input::Unit), ((float, vec![-1, 3, 6, 8]), "Sub Div".into()));
    assert_eq!(at(3, Input::Bytes), ((byte, vec![-1, 6, 8, 3]), "Cast Transpose Div Sub Div".into()));
    assert_eq!(at(1, Input::Bytes), ((byte, vec![-1, 6, 8, 1]), "Cast Transpose Div Sub Div".into()));
    assert_eq!(at(3, Input::Rgba), ((byte, vec![-1, 6, 8, 4]), "Cast Slice Transpose Div Sub Div".into()));
    let grey = "Cast Slice MatMul Add Div Floor Transpose Div Sub Div";
    assert_eq!(at(1, Input::Rgba), ((byte, vec![-1, 6, 8, 4]), grey.into()));
}

#[test]
fn half_precision_is_inside_and_the_batch_may_be_fixed() {
    let session = small();
    let shape = Some(vec![4, 3, 32, 32]);
    let model = exported(
        &session,
        &OnnxOptions { shape, dynamic_batch: false, precision: Precision::Fp16, ..OnnxOptions::default() },
    );
    let graph = model.graph.as_ref().unwrap();
    assert_eq!(typed(&graph.input[0]), (Element::F32 as i32, vec![4, 3, 32, 32]));
    assert_eq!(typed(&graph.output[0]), (Element::F32 as i32, vec![4, 5]));
    assert!(graph.initializer.iter().all(|tensor| tensor.data_type == Element::F16 as i32));
    let (_, weight) = session.state_dict::<f32>().unwrap().into_iter().find(|(name, _)| name == "fc.weight").unwrap();
    let rounded: Vec<u8> = weight.data.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    assert_eq!(tensor(&model, "fc.weight").raw_data, rounded);
    assert_eq!((ops(&model)[0], ops(&model).last()), ("Cast", Some(&"Cast")));
    assert_eq!(metadata(&model)["half"], "true");
}
