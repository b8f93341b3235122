//! Event files beside those of TensorBoard's own writer. `tools/tensor_board_fixture.py` wrote the fixture.

use resnet_core::export::tensor_board::{record, Value, What};
use resnet_core::Code;

#[test]
fn records_are_those_of_tensorboards_own_writer() {
    let png = include_bytes!("fixtures/pictures/grey.png");
    let scalar = |tag: &str, value| (tag.to_owned(), Value::Scalar(value));
    let shown = vec![
        ("first batch".to_owned(), Value::Picture(png.to_vec())),
        ("notes".to_owned(), Value::Text("**ResNet-18** at 96×96".to_owned())),
    ];
    let events = [
        (1_700_000_000.25, 0, What::Begin),
        (1_700_000_001.5, 469, What::Values(vec![scalar("step/loss", 2.31), scalar("step/lr", 0.1)])),
        (1_700_000_002.0, 300, What::GoOn),
        (1_700_000_003.0, 3_000_000_000, What::Values(shown)),
    ];
    let found: Vec<u8> =
        events.into_iter().flat_map(|(seconds, step, what)| record(seconds, step, what).unwrap()).collect();
    assert!(found == include_bytes!("fixtures/tensor_board.tfevents"), "other bytes");
}

#[test]
fn pictures_of_another_kind_are_refused() {
    for bytes in [&b""[..], b"\x89PNG\r\n\x1a\n", include_bytes!("fixtures/pictures/rgb.jpg")] {
        let picture = vec![("picture".to_owned(), Value::Picture(bytes.to_vec()))];
        assert_eq!(record(0.0, 0, What::Values(picture)).unwrap_err().code, Code::InvalidArgument);
    }
}
