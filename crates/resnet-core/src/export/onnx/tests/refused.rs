//! What cannot be exported, and options.

use super::*;
use crate::cancel::CancelFlag;

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let refused = |session: &Session, options: &OnnxOptions| {
        let error = session.export_onnx(&path, options).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        (error.code, error.message)
    };
    let shaped = |shape: &[usize]| OnnxOptions { shape: Some(shape.into()), ..OnnxOptions::default() };
    let open = Session::new(Layer::Relu, &SessionOptions::default()).unwrap();
    assert_eq!(refused(&open, &options()).0, Code::NotBuilt);
    let small = small();
    let cases = [
        (OnnxOptions::default(), "shape: expected [N, C, H, W] for a model that does not know what pictures it takes, got none"),
        (shaped(&[3, 32]), "shape: expected [N, C, H, W] or [C, H, W], got [3, 32]"),
        (shaped(&[3, 0, 32]), "shape: expected sizes from 1 to 2147483647, got [3, 0, 32]"),
        (shaped(&[3, 32, usize::MAX]), "shape: expected sizes from 1 to 2147483647, got [3, 32, 18446744073709551615]"),
        (shaped(&[3, 1 << 20, 1 << 20]), "shape: expected at most 2147483647 numbers in all, got [3, 1048576, 1048576]"),
        (
            OnnxOptions { dynamic_batch: false, ..shaped(&[1 << 20, 3, 32, 32]) },
            "shape: expected at most 2147483647 numbers in all, got [1048576, 3, 32, 32]",
        ),
        (shaped(&[1, 32, 32]), "shape: expected 3 channels, got 1"),
        (
            OnnxOptions { input: Input::Bytes, ..options() },
            "input: expected normalised for a model that does not know what pictures it takes (setInterface tells it), got bytes",
        ),
    ];
    for (options, message) in cases {
        assert_eq!(refused(&small, &options).1, message);
    }
    let maps = session(conv(2, 1), 3);
    let (code, message) = refused(&maps, &OnnxOptions { probabilities: true, ..options() });
    let expected =
        "probabilities: expected a network that returns logits (N, classes), got an output of 3 sizes for each image";
    assert_eq!((code, &*message), (Code::Shape, expected));
    let mut large = session(conv(1, 1), 1);
    set(&mut large, &[("weight", vec![1.0, 7e4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])]);
    let (code, message) = refused(&large, &OnnxOptions { precision: Precision::Fp16, ..shaped(&[1, 4, 4]) });
    let expected = "weight: expected numbers from -65504 to 65504, as fp16 holds them, got 70000";
    assert_eq!((code, &*message), (Code::NonFiniteWeights, expected));
    let missing = folder.path().join("gone/m.onnx");
    let error = small.export_onnx(&missing, &options()).unwrap_err();
    assert!(error.code == Code::Io && error.message.starts_with("cannot write "), "{error}");
    let (mut cancelled, flag) = (small, CancelFlag::default());
    flag.raise();
    cancelled.cancelled_by(Cancel::by([flag]));
    assert_eq!(refused(&cancelled, &options()).0, Code::Aborted);
}

#[test]
fn a_file_that_is_there_stays_where_a_new_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fs::write(&path, "old").unwrap();
    small().export_onnx(&path, &OnnxOptions::default()).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    small().export_onnx(&path, &options()).unwrap();
    assert!(ModelProto::decode(&*fs::read(&path).unwrap()).unwrap().graph.is_some());
}

#[test]
fn files_beyond_the_format_s_lengths_are_refused() {
    assert!(file::check_len(i32::MAX as u64).is_ok());
    let error = file::check_len(1 << 31).unwrap_err();
    let expected = "network: expected a file of at most 2147483647 bytes, the most that the format can have (precision fp16 needs half), got \
                    2147483648 bytes";
    assert_eq!((error.code, &*error.message), (Code::InvalidArgument, expected));
}

#[test]
fn options_are_those_of_typescript() {
    let json = r#"{"shape":[1,3,8,8],"dynamic_batch":false,"fold_norms":false,"input":"rgba","probabilities":true,"precision":"fp16"}"#;
    let expected = OnnxOptions {
        shape: Some(vec![1, 3, 8, 8]),
        dynamic_batch: false,
        fold_norms: false,
        input: Input::Rgba,
        probabilities: true,
        precision: Precision::Fp16,
    };
    assert_eq!(OnnxOptions::from_json(json).unwrap(), expected);
    for (from, to) in [("rgba", "bgr"), ("fp16", "int8"), ("\"shape\"", "\"shapes\""), ("[1,3,8,8]", "[-1,3,8,8]")] {
        let error = OnnxOptions::from_json(&json.replace(from, to)).unwrap_err();
        assert!(error.code == Code::InvalidArgument && error.message.starts_with("options: "), "{error}");
    }
}
