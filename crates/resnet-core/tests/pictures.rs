//! Pictures against Pillow, hostile files, folders of all kinds; `tools/picture_fixtures.py` wrote the fixtures.

use resnet_core::cancel::Cancel;
use resnet_core::data::{Fit, GivenPicture, PictureTransform};
use resnet_core::{Code, Result};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

const EXPECTED: &[u8] = include_bytes!("fixtures/pictures/expected.safetensors");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures").join(name)
}

fn transform(size: [usize; 2], fit: Fit) -> PictureTransform {
    PictureTransform { size, fit, channels: 3, background: [255; 3], normalise: None }
}

fn images(transform: &PictureTransform, picture: GivenPicture) -> Result<Vec<f32>> {
    transform.images(&[picture], &Cancel::default()).map(|images| images.data)
}

fn read(transform: &PictureTransform, path: PathBuf) -> Vec<f32> {
    images(transform, GivenPicture::File(path)).unwrap()
}

fn decoded(transform: &PictureTransform, bytes: &[u8]) -> Result<Vec<f32>> {
    images(transform, GivenPicture::Bytes(bytes.to_vec()))
}

/// The bytes that scaled values were made of.
fn bytes(values: Vec<f32>) -> Vec<u8> {
    values.into_iter().map(|value| (value * 255.0).round() as u8).collect()
}

/// Names behind this prefix, with shape (C, H, W) and bytes.
fn expected(prefix: &str) -> Vec<(String, [usize; 3], Vec<u8>)> {
    let fixture = SafeTensors::deserialize(EXPECTED).unwrap();
    let named = fixture.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)));
    named.map(|(name, tensor)| (name, tensor.shape().try_into().unwrap(), tensor.data().to_vec())).collect()
}

#[test]
fn every_kind_of_picture_is_what_pillow_decodes() {
    let all = expected("decoded.");
    assert_eq!(all.len(), 26);
    for (name, [_, height, width], expected) in all {
        let found = bytes(read(&transform([height, width], Fit::Stretch), fixture(&name)));
        let most = found.iter().zip(&expected).map(|(found, expected)| found.abs_diff(*expected)).max().unwrap();
        // Lossy formats leave it to decoders how they round, and how they enlarge what is stored in half the size.
        let allowed = match &*name {
            "subsampled.jpg" => 5,
            "cmyk.jpg" | "grey.jpg" => 1,
            name if name.ends_with(".jpg") => 2,
            _ => 0,
        };
        assert!(most <= allowed, "{name}: {most}");
    }
}

#[test]
fn every_fit_is_pillows_to_the_bit() {
    let all = expected("fit.");
    assert_eq!(all.len(), 30);
    for (name, [_, height, width], expected) in all {
        let (mode, file) = name.split_once('.').unwrap();
        let fit = [("pad", Fit::Pad), ("crop", Fit::Crop), ("stretch", Fit::Stretch)];
        let (_, fit) = fit.into_iter().find(|(known, _)| *known == mode).unwrap();
        let file = &file[..file.rfind('.').unwrap()];
        let found = bytes(read(&transform([height, width], fit), fixture(file)));
        assert!(found == expected, "{name}");
    }
}

#[test]
fn grey_is_pillows_and_the_background_is_seen_through() {
    let colour = read(&transform([24, 32], Fit::Pad), fixture("rgb.png"));
    let grey = PictureTransform { channels: 1, ..transform([24, 32], Fit::Pad) };
    let (colour, found) = (bytes(colour), bytes(read(&grey, fixture("rgb.png"))));
    for i in 0..24 * 32 {
        let [r, g, b] = [0, 1, 2].map(|channel| u32::from(colour[channel * 768 + i]));
        assert_eq!(u32::from(found[i]), (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
    }
    let red = PictureTransform { background: [255, 0, 0], ..transform([24, 32], Fit::Pad) };
    let seen = bytes(read(&red, fixture("rgba.png")));
    assert_eq!([seen[0], seen[768], seen[2 * 768]], [255, 0, 0], "the first column is transparent");
    let borders = bytes(read(&PictureTransform { size: [40, 32], ..red }, fixture("rgb.png")));
    assert_eq!([borders[0], borders[40 * 32], borders[2 * 40 * 32]], [255, 0, 0]);
}

#[test]
fn what_is_no_picture_is_refused_by_what_it_is() {
    let whole = std::fs::read(fixture("rgb.jpg")).unwrap();
    let png = std::fs::read(fixture("rgb.png")).unwrap();
    let webp = std::fs::read(fixture("lossless.webp")).unwrap();
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let check = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&check.to_be_bytes());
    let mut broken = png.clone();
    broken[60] ^= 0x55;
    // One whose frame is lossy and larger, and an animation of such a one.
    let lossy = std::fs::read(fixture("lossy.webp")).unwrap();
    let (in_small, animated) = (extended([8, 8], &lossy[12..]), extended([8, 8], &animation(&lossy[12..])));
    assert!(decoded(&transform([8, 8], Fit::Pad), &extended([32, 24], &lossy[12..])).is_ok());
    let cases: [(&str, &[u8], &str); 15] = [
        ("empty.jpg", b"", "got an empty file"),
        ("film.jpg", b"\0\0\0\x18ftypheic\0\0\0\0", "got a HEIC or a film"),
        ("anim.png", b"GIF89a\x01\0\x01\0", "got a GIF"),
        ("paper.jpg", b"%PDF-1.7\n", "got a PDF"),
        ("page.jpg", b"<!DOCTYPE html>", "got a web page"),
        ("lfs.jpg", b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer"),
        ("text.jpg", b"hello", "got a file of another kind"),
        ("half.jpg", &whole[..whole.len() / 2], "got a JPEG that ends early"),
        ("start.jpg", &whole[..30], "got a JPEG that ends early"),
        ("half.png", &png[..png.len() / 2], "got a damaged one"),
        ("half.webp", &webp[..webp.len() / 2], "got a damaged one"),
        ("frame.webp", &in_small, "got a WebP of 8x8 pixels with a frame of 32x24"),
        ("frames.webp", &animated, "got a WebP of 8x8 pixels with a frame of 32x24"),
        ("broken.png", &broken, "got a damaged one"),
        ("huge.png", &huge, "got one of 30000x30000 pixels"),
    ];
    for (name, bytes, message) in cases {
        let error = decoded(&transform([8, 8], Fit::Pad), bytes).unwrap_err();
        assert_eq!(error.code, Code::DataCorrupt, "{error}");
        let start = "pictures[0]: expected a JPEG, PNG or WebP picture, ";
        assert!(error.message.starts_with(start) && error.message.contains(message), "{name}: {error}");
    }
}

/// A chunk of RIFF.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [kind, &(content.len() as u32).to_le_bytes()[..], content].concat()
}

/// A WebP in the extended form, of this width and height, with these chunks.
fn extended([width, height]: [u8; 2], chunks: &[u8]) -> Vec<u8> {
    let flags = if chunks.starts_with(b"ANIM") { 2 } else { 0 };
    let head = chunk(b"VP8X", &[flags, 0, 0, 0, width - 1, 0, 0, height - 1, 0, 0]);
    chunk(b"RIFF", &[b"WEBP", &head[..], chunks].concat())
}

/// The chunks of an animation of one frame of 8x8 pixels, for so long as it likes.
fn animation(frame: &[u8]) -> Vec<u8> {
    let place = [0, 0, 0, 0, 0, 0, 7, 0, 0, 7, 0, 0, 100, 0, 0, 0];
    [chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &[&place[..], frame].concat())].concat()
}

/// The check value of PNG's chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn pixels_are_taken_as_they_are() {
    let transform = transform([1, 2], Fit::Stretch);
    let pixels = |data: &[u8], channels| {
        let picture = GivenPicture::Pixels { data: data.to_vec(), size: [1, 2], channels };
        images(&transform, picture).map(bytes)
    };
    assert_eq!(pixels(&[1, 2], 1).unwrap(), [1, 2, 1, 2, 1, 2]);
    assert_eq!(pixels(&[1, 255, 2, 0], 2).unwrap(), [1, 255, 1, 255, 1, 255], "what is transparent is white");
    assert_eq!(pixels(&[1, 2, 3, 4, 5, 6], 3).unwrap(), [1, 4, 2, 5, 3, 6]);
    assert_eq!(pixels(&[1, 2, 3, 255, 4, 5, 6, 0], 4).unwrap(), [1, 255, 2, 255, 3, 255]);
    for (data, channels) in [(&[0; 5][..], 3), (&[0; 10], 5), (&[], 0)] {
        assert_eq!(pixels(data, channels).unwrap_err().code, Code::Shape);
    }
}
