//! Augmentations against torchvision on Pillow's images; `tools/picture_fixtures.py` wrote the fixture.

use super::affine::{AffineMatrix, Mapped, Sampling};
use super::canvas::{Canvas, Planes};
use super::resized_crop::ResizedCrop;
use super::tone::Tone;
use super::trivial::{Change, TrivialAugment};
use super::*;
use crate::data::picture::{Picture, ReadScratch};
use crate::rng::{stream, Purpose};
use safetensors::SafeTensors;

const FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/pictures/expected.safetensors");
const SHAPE: [usize; 3] = [3, 20, 26];
const MIDDLE: [f64; 2] = [13.0, 10.0];

fn expected(name: &str) -> Vec<u8> {
    SafeTensors::deserialize(FIXTURE).unwrap().tensor(name).unwrap().data().to_vec()
}

fn canvas() -> Canvas {
    let mut canvas = Canvas::default();
    canvas.bytes(SHAPE).extend(expected("image"));
    canvas
}

/// What has become of the image is the fixture's to the bit.
#[track_caller]
fn assert_is(mut canvas: Canvas, name: &str) {
    let (found, expected) = (canvas.as_bytes().unwrap(), expected(name));
    let off = found.iter().zip(&expected).map(|(found, expected)| found.abs_diff(*expected));
    assert!(
        *found == expected,
        "{name}: {} bytes are off, by up to {:?}",
        off.clone().filter(|&off| off > 0).count(),
        off.max()
    );
}

/// The numbers behind a prefix in the fixture's names, with what stands after them.
fn named(prefix: &str) -> Vec<(String, Vec<usize>)> {
    let fixture = SafeTensors::deserialize(FIXTURE).unwrap();
    let numbers = |name: &str| {
        let rest = name.strip_prefix(prefix)?;
        Some((name.to_owned(), rest.split(['.', 'x']).map(|number| number.parse().unwrap()).collect()))
    };
    fixture.names().into_iter().filter_map(numbers).collect()
}

#[test]
fn a_resized_crop_is_torchvisions() {
    let crops = named("resized_crop.");
    assert_eq!(crops.len(), 24);
    for (name, numbers) in crops {
        let picture = Picture { size: [20, 26], planes: expected("image") };
        let &[top, left, h, w, height, width] = &numbers[..] else { panic!("{name}") };
        let (mut out, part) = (Vec::new(), picture.part([top, left, h, w]).unwrap());
        part.resize([height, width], &mut out, &mut ReadScratch::default().fit).unwrap();
        assert!(out == expected(&name), "{name}");
    }
}

#[test]
fn where_no_crop_fits_it_is_torchvisions_middle() {
    let middles = named("resized_crop_middle.");
    assert_eq!(middles.len(), 6);
    for (name, numbers) in middles {
        let &[height, width, share] = &numbers[..] else { panic!("{name}") };
        let crop = ResizedCrop { scale: [share as f64 / 100.0; 2], ratio: [0.75, 4.0 / 3.0] };
        let found = crop.draw([height, width], &mut stream(1, Purpose::Augment, 1, 1));
        assert_eq!(found.map(|number| number as u8), expected(&name)[..], "{name}");
    }
}

#[test]
fn affine_is_torchvisions() {
    let cases = [
        (30.0, [0.0, 0.0], 1.0, [0.0, 0.0]),
        (-17.5, [3.0, -2.0], 1.3, [10.0, -5.0]),
        (0.0, [4.0, 1.0], 0.7, [0.0, 0.0]),
        (90.0, [0.0, 0.0], 1.0, [0.0, 0.0]),
    ];
    for (i, (angle, translate, scale, shear)) in cases.into_iter().enumerate() {
        for (sampling, name) in [(Sampling::Nearest, "nearest"), (Sampling::Bilinear, "bilinear")] {
            let mut canvas = canvas();
            let matrix = AffineMatrix::inverse(MIDDLE, angle, translate, scale, shear);
            canvas.redraw(&Mapped { matrix, sampling, fill: 77 });
            assert_is(canvas, &format!("affine.{i}.{name}"));
        }
    }
}

#[test]
fn rotation_is_torchvisions() {
    for (i, degrees) in [13.5, -90.0, 135.0, 4.5].into_iter().enumerate() {
        let mut canvas = canvas();
        TrivialAugment { sampling: Sampling::Nearest, fill: 77 }.change(Change::Rotate(degrees), &mut canvas);
        assert_is(canvas, &format!("rotate.{i}"));
    }
}

#[test]
fn tones_are_torchvisions() {
    for (i, factor) in [0.0, 0.35, 1.0, 1.8].into_iter().enumerate() {
        for (name, tone) in [
            ("brightness", Tone::Brightness(factor)),
            ("contrast", Tone::Contrast(factor)),
            ("saturation", Tone::Saturation(factor)),
            ("sharpness", Tone::Sharpness(factor)),
        ] {
            let mut canvas = canvas();
            tone.apply(&mut canvas);
            assert_is(canvas, &format!("tone.{name}.{i}"));
        }
    }
    for (i, turn) in [-0.5, -0.13, 0.0, 0.4].into_iter().enumerate() {
        let mut canvas = canvas();
        Tone::Hue(turn).apply(&mut canvas);
        assert_is(canvas, &format!("tone.hue.{i}"));
    }
    let mut spread = canvas();
    Tone::Contrast(0.4).apply(&mut spread);
    Tone::AutoContrast.apply(&mut spread);
    assert_is(spread, "tone.autocontrast.0");
    let mut equalized = canvas();
    Tone::Equalize.apply(&mut equalized);
    assert_is(equalized, "tone.equalize.0");
}

#[test]
fn trivial_augment_is_torchvisions() {
    let fixture = SafeTensors::deserialize(FIXTURE).unwrap();
    let mut tested = 0;
    for name in fixture.names() {
        let Some(numbers) = name.strip_prefix("trivial.") else { continue };
        let numbers: Vec<i64> = numbers.split('.').map(|number| number.parse().unwrap()).collect();
        let mut canvas = canvas();
        let change = Change::of(numbers[0] as u64, numbers[1] as u64, numbers[2] < 0);
        TrivialAugment { sampling: Sampling::Nearest, fill: 77 }.change(change, &mut canvas);
        assert_is(canvas, name);
        tested += 1;
    }
    assert!(tested > 80, "{tested}");
}

#[test]
fn numbers_are_changed_in_place_as_bytes_are() {
    let bytes = expected("image");
    let list = r#"[{"type":"flip","p":1,"vertical":true,"alternating":false},{"type":"random_crop","padding":3,"fill":0,"reflect":true},
        {"type":"affine","degrees":20,"translate":[0.1,0.1],"scale":[0.8,1.2],"shear":[5,5],"sampling":"nearest","fill":255}]"#;
    let augment = Augment::from_json(list).unwrap();
    let mut canvases = [canvas(), Canvas::default()];
    canvases[1].floats(SHAPE).extend(bytes.iter().map(|&byte| f32::from(byte) / 255.0));
    for canvas in &mut canvases {
        augment.apply(canvas, &mut augment.streams(3, 1, 5));
    }
    let [Planes::Bytes(bytes), Planes::Floats(floats)] = canvases.map(|canvas| canvas.planes) else { panic!() };
    assert!(bytes.iter().zip(&floats).all(|(&byte, &float)| f32::from(byte) / 255.0 == float));
    assert_ne!(bytes, expected("image"));
}

#[test]
fn the_alternating_flip_takes_turns() {
    let augment = Augment::from_json(r#"[{"type":"flip","p":0.5,"vertical":false,"alternating":true}]"#).unwrap();
    let flipped = |epoch, sample| {
        let mut canvas = canvas();
        augment.apply(&mut canvas, &mut augment.streams(3, epoch, sample));
        canvas.as_bytes().unwrap() != expected("image")
    };
    let first: Vec<bool> = (0..100).map(|sample| flipped(1, sample)).collect();
    assert!((30..70).contains(&first.iter().filter(|&&flipped| flipped).count()));
    assert!((0..100).all(|sample| flipped(2, sample) != first[sample as usize]));
    assert!((0..100).all(|sample| flipped(3, sample) == first[sample as usize]));
}

#[test]
fn a_flip_mirrors_all_channels() {
    for vertical in [false, true] {
        let augment = format!(r#"[{{"type":"flip","p":1,"vertical":{vertical},"alternating":false}}]"#);
        let (augment, mut canvas, image) = (Augment::from_json(&augment).unwrap(), canvas(), expected("image"));
        augment.apply(&mut canvas, &mut augment.streams(3, 1, 1));
        let found = canvas.as_bytes().unwrap();
        for (i, &value) in found.iter().enumerate() {
            let (c, y, x) = (i / 520, i / 26 % 20, i % 26);
            let [y, x] = if vertical { [19 - y, x] } else { [y, 25 - x] };
            assert_eq!(value, image[c * 520 + y * 26 + x]);
        }
    }
}

#[test]
fn refuses_what_does_not_fit_the_images() {
    let refused = |json: &str, shape, bytes| Augment::from_json(json).unwrap().check(shape, bytes).unwrap_err().message;
    let crop = r#"{"type":"resized_crop","scale":[0.5,1],"ratio":[1,1]}"#;
    let flip = r#"{"type":"flip","p":1,"vertical":false,"alternating":false}"#;
    let jitter = r#"{"type":"color_jitter","brightness":0.5,"contrast":0,"saturation":0,"hue":0}"#;
    let error = refused(&format!("[{flip},{crop}]"), [3, 8, 8], true);
    assert_eq!(error, "augment[1]: expected resizedCrop as the first of the list, got it later");
    let error = refused(&format!("[{jitter}]"), [3, 8, 8], false);
    assert!(error.starts_with("augment[0]: expected images of bytes"), "{error}");
    let error = refused(&format!("[{jitter}]"), [4, 8, 8], true);
    assert_eq!(error, "augment[0]: expected images of 1 or 3 channels, got 4");
    let error = refused(r#"[{"type":"random_crop","padding":8,"fill":0,"reflect":true}]"#, [1, 8, 9], true);
    assert_eq!(error, "augment[0]: expected a padding below 8 with mode \"reflect\", got 8");
    assert_eq!(Augment::from_json("[{\"type\":\"blur\"}]").unwrap_err().code, Code::InvalidArgument);
}
