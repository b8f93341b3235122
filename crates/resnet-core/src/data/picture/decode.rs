//! Decoding of JPEG, PNG and WebP. What a file claims is held against caps before anything is allocated for it.

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageDecoder, ImageFormat, Limits, RgbImage, RgbaImage};
use std::io::Cursor;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Most pixels of a picture: a hundred million.
const MAX_PIXELS: u64 = 100_000_000;

/// Most bytes that a picture's own pixels may take, and its decoder's tables.
const MAX_BYTES: u64 = 512 << 20;

/// How colours become channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) struct Colours {
    /// 3: red, green and blue. 1: grey, by Pillow's weights.
    pub channels: usize,
    /// What transparent pixels are seen before, as red, green and blue.
    pub background: [u8; 3],
}

/// A decoded picture: (C, H, W), bytes.
#[derive(Debug, PartialEq)]
pub(in crate::data) struct Picture {
    pub size: [usize; 2],
    pub planes: Vec<u8>,
}

/// Decodes a file's bytes, told by themselves and not by a name, upright by their EXIF orientation.
///
/// # Errors
/// Words on what they are instead of a picture.
pub(in crate::data) fn decode(bytes: &[u8], colours: Colours) -> Result<Picture, String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_upright(bytes)));
    // A decoder's defect is a damaged file to whoever reads it.
    let image = decoded.unwrap_or_else(|_| Err("one that its decoder fails on".into()))?;
    Ok(to_planes(image, colours))
}

/// Height, width and kind of colours of a picture, all of which is decoded.
///
/// # Errors
/// As [`decode`].
pub(super) fn described(bytes: &[u8]) -> Result<([usize; 2], &'static str), String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_upright(bytes)));
    let image = decoded.unwrap_or_else(|_| Err("one that its decoder fails on".into()))?;
    let kind = match (image.color().has_color(), image.color().has_alpha()) {
        (false, false) => "grey",
        (false, true) => "grey with alpha",
        (true, false) => "colour",
        (true, true) => "colour with alpha",
    };
    Ok(([image.height() as usize, image.width() as usize], kind))
}

fn decode_upright(bytes: &[u8]) -> Result<DynamicImage, String> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            check_jpeg_end(bytes)?;
            upright(JpegDecoder::new(Cursor::new(bytes)))
        }
        Ok(ImageFormat::Png) => upright(PngDecoder::with_limits(Cursor::new(bytes), limits())),
        Ok(ImageFormat::WebP) => upright(WebPDecoder::new(Cursor::new(bytes))),
        Ok(_) | Err(_) => Err(kind_of(bytes).to_owned()),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn upright<D: ImageDecoder>(decoder: image::ImageResult<D>) -> Result<DynamicImage, String> {
    let damaged = |error: image::ImageError| format!("a damaged one ({error})");
    let mut decoder = decoder.map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_BYTES {
        return Err(format!(
            "one of {width}x{height} pixels, where {MAX_PIXELS} pixels and {MAX_BYTES} bytes are the most"
        ));
    }
    if width == 0 || height == 0 {
        return Err(format!("one of {width}x{height} pixels"));
    }
    decoder.set_limits(limits()).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The decoder fills what is missing with grey; a file that was cut off is found out here, because it lacks the end marker. Within the
/// coded pixels that pair of bytes cannot stand, before them it may (in a thumbnail).
fn check_jpeg_end(bytes: &[u8]) -> Result<(), String> {
    let cut_off = || Err("a JPEG that ends early".to_owned());
    let mut place = 2;
    // Segments up to the first scan: a marker, then a length that counts itself.
    loop {
        match bytes.get(place..place + 4) {
            Some([0xff, 0xff, ..]) => place += 1,
            Some([0xff, 0xda, ..]) => break,
            Some([0xff, _, high, low]) => place += 2 + usize::from(u16::from_be_bytes([*high, *low])),
            // What is no marker is the decoder's to judge.
            Some(_) => return Ok(()),
            None => return cut_off(),
        }
    }
    match bytes[place..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
        true => Ok(()),
        false => cut_off(),
    }
}

/// What a file is that is no picture of ours, by its first bytes.
pub(super) fn kind_of(bytes: &[u8]) -> &'static str {
    const KINDS: [(usize, &[u8], &str); 14] = [
        (0, b"GIF8", "a GIF"),
        (0, b"%PDF", "a PDF"),
        (4, b"ftypavif", "an AVIF"),
        (4, b"ftyp", "a HEIC or a film"),
        (0, b"BM", "a BMP"),
        (0, b"II*\0", "a TIFF or raw file"),
        (0, b"MM\0*", "a TIFF or raw file"),
        (0, b"PK", "a zip or Office file"),
        (0, b"version https://git-lfs", "a Git LFS pointer (git lfs pull brings the file itself)"),
        (0, b"<svg", "an SVG"),
        (0, b"<?xml", "an XML or SVG file"),
        (0, b"<!", "a web page"),
        (0, b"<html", "a web page"),
        (0, b"\0\0\x01\0", "an icon"),
    ];
    if bytes.is_empty() {
        return "an empty file";
    }
    let fits =
        |&&(start, sign, _): &&(usize, &[u8], &str)| bytes.get(start..).is_some_and(|rest| rest.starts_with(sign));
    KINDS.iter().find(fits).map_or("a file of another kind", |(_, _, kind)| kind)
}

/// Whether the first bytes are those of a picture that can be decoded.
pub(super) fn is_picture(first: &[u8]) -> bool {
    matches!(image::guess_format(first), Ok(ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP))
}

/// A picture of decoded pixels, (H, W, C); None if there are not as many as their size says.
pub(super) fn from_pixels(
    pixels: &[u8],
    [height, width]: [usize; 2],
    channels: usize,
    colours: Colours,
) -> Option<Picture> {
    let [h, w] = [u32::try_from(height).ok()?, u32::try_from(width).ok()?];
    if h == 0 || w == 0 {
        return None;
    }
    let pixels = pixels.to_vec();
    let image = match channels {
        1 => GrayImage::from_raw(w, h, pixels)?.into(),
        2 => GrayAlphaImage::from_raw(w, h, pixels)?.into(),
        3 => RgbImage::from_raw(w, h, pixels)?.into(),
        4 => RgbaImage::from_raw(w, h, pixels)?.into(),
        _ => return None,
    };
    Some(to_planes(image, colours))
}

fn to_planes(image: DynamicImage, colours: Colours) -> Picture {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let area = width * height;
    let mut planes = vec![0; colours.channels * area];
    let color = image.color();
    if !color.has_color() && !color.has_alpha() {
        let grey = image.into_luma8().into_raw();
        planes.chunks_exact_mut(area).for_each(|plane| plane.copy_from_slice(&grey));
    } else if color.has_alpha() {
        let mut pixels = image.into_rgba8().into_raw();
        for pixel in pixels.chunks_exact_mut(4) {
            let alpha = u32::from(pixel[3]);
            for (value, &behind) in pixel.iter_mut().zip(&colours.background) {
                *value = ((u32::from(*value) * alpha + u32::from(behind) * (255 - alpha) + 127) / 255) as u8;
            }
        }
        split::<4>(&pixels, &mut planes, area, colours.channels);
    } else {
        split::<3>(&image.into_rgb8().into_raw(), &mut planes, area, colours.channels);
    }
    Picture { size: [height, width], planes }
}

/// Pixels of `N` bytes, red, green and blue first, as planes.
fn split<const N: usize>(pixels: &[u8], planes: &mut [u8], area: usize, channels: usize) {
    let pixels = pixels.as_chunks::<N>().0;
    if channels == 1 {
        for (grey, pixel) in planes.iter_mut().zip(pixels) {
            *grey = luma([pixel[0], pixel[1], pixel[2]]);
        }
        return;
    }
    let (red, rest) = planes.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        [*red, *green, *blue] = [pixel[0], pixel[1], pixel[2]];
    }
}

/// Grey as Pillow's mode `L` has it (ITU-R 601-2).
pub(in crate::data) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}
