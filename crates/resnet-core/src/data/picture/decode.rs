//! Decoding of JPEG, PNG and WebP. What a file claims is held against caps before anything is allocated for it.

use crate::error::Error;
use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits};
use resnet_ops::allocate::{with_room, zeros};
use std::cell::Cell;
use std::io::Cursor;
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::Once;

/// Most pixels of a picture: a hundred million.
const MAX_PIXELS: u64 = 100_000_000;

/// Most bytes that a picture's own pixels may take, and its decoder's tables.
const MAX_BYTES: u64 = 512 << 20;

/// Bytes that are to be had when a decoder begins, beside pixels. So many are never taken from an allocator's heap, whose ways it would change.
const SPARE: usize = 33 << 20;

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

/// Why there is no picture.
#[derive(Debug, PartialEq)]
pub(in crate::data) enum NoPicture {
    /// Words on what its bytes are instead.
    Damaged(String),
    /// There is no memory for it.
    Memory(Error),
}

impl From<resnet_ops::Error> for NoPicture {
    fn from(error: resnet_ops::Error) -> Self {
        Self::Memory(error.into())
    }
}

impl From<String> for NoPicture {
    fn from(got: String) -> Self {
        Self::Damaged(got)
    }
}

/// Decodes a file's bytes, told by themselves and not by a name, upright by their EXIF orientation.
pub(in crate::data) fn decode(bytes: &[u8], colours: Colours) -> Result<Picture, NoPicture> {
    let image = decode_upright(bytes)?;
    let size = [image.height() as usize, image.width() as usize];
    let kind = image.color();
    let channels = kind.channel_count();
    let pixels = match channels {
        channels if kind.bytes_per_pixel() == channels => image.into_bytes(),
        // Those of more bits.
        1 => image.into_luma8().into_raw(),
        2 => image.into_luma_alpha8().into_raw(),
        3 => image.into_rgb8().into_raw(),
        _ => image.into_rgba8().into_raw(),
    };
    Ok(to_planes(&pixels, size, channels.into(), colours)?)
}

/// Height, width and kind of colours of a picture, all of which is decoded.
pub(super) fn described(bytes: &[u8]) -> Result<([usize; 2], &'static str), NoPicture> {
    let image = decode_upright(bytes)?;
    let kind = match (image.color().has_color(), image.color().has_alpha()) {
        (false, false) => "grey",
        (false, true) => "grey with alpha",
        (true, false) => "colour",
        (true, true) => "colour with alpha",
    };
    Ok(([image.height() as usize, image.width() as usize], kind))
}

thread_local! {
    /// Whether a decoder runs on this thread.
    static DECODES: Cell<bool> = const { Cell::new(false) };
}

/// A decoder's defect is a damaged file to whoever reads it: told as an error, and not on stderr.
fn decode_upright(bytes: &[u8]) -> Result<DynamicImage, NoPicture> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if !DECODES.get() {
                tell(panic);
            }
        }));
    });
    DECODES.set(true);
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_by_kind(bytes)));
    DECODES.set(false);
    decoded.unwrap_or_else(|_| Err("one that its decoder fails on".to_owned().into()))
}

fn decode_by_kind(bytes: &[u8]) -> Result<DynamicImage, NoPicture> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            check_jpeg_end(bytes)?;
            upright(JpegDecoder::new(Cursor::new(bytes)))
        }
        Ok(ImageFormat::Png) => upright(PngDecoder::with_limits(Cursor::new(bytes), limits())),
        Ok(ImageFormat::WebP) => {
            let decoder = WebPDecoder::new(Cursor::new(bytes));
            if let Ok(decoder) = &decoder {
                check_webp_frames(bytes, decoder.dimensions())?;
            }
            upright(decoder)
        }
        Ok(_) | Err(_) => Err(kind_of(bytes).to_owned().into()),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn upright<D: ImageDecoder>(decoder: image::ImageResult<D>) -> Result<DynamicImage, NoPicture> {
    let damaged = |error: image::ImageError| format!("a damaged one ({error})");
    let mut decoder = decoder.map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_BYTES {
        let most = format!("{MAX_PIXELS} pixels and {MAX_BYTES} bytes are the most");
        return Err(format!("one of {width}x{height} pixels, where {most}").into());
    }
    if width == 0 || height == 0 {
        return Err(format!("one of {width}x{height} pixels").into());
    }
    decoder.set_limits(limits()).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    // The decoder would end the process where there is no memory for the pixels, a turned copy of them, or its tables.
    drop(with_room::<u8>(2 * decoder.total_bytes() as usize + SPARE)?);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The decoder makes room for a lossy frame by what that says of its size, and finds only then that the file says another.
fn check_webp_frames(bytes: &[u8], (width, height): (u32, u32)) -> Result<(), String> {
    for (kind, chunk) in chunks(bytes.get(12..).unwrap_or_default()) {
        // A frame of an animation has its place and size in front.
        let inner = if kind == *b"ANMF" { chunk.get(16..).unwrap_or_default() } else { &[] };
        for (kind, frame) in chunks(inner).chain([(kind, chunk)]) {
            let Some(&[.., a, b, c, d]) = frame.get(..10).filter(|_| kind == *b"VP8 ") else { continue };
            let [w, h] = [[a, b], [c, d]].map(|side| u32::from(u16::from_le_bytes(side) & 0x3fff));
            if w > width || h > height {
                return Err(format!("a WebP of {width}x{height} pixels with a frame of {w}x{h}"));
            }
        }
    }
    Ok(())
}

/// The kind and content of each chunk of RIFF; of one that is cut off what there is.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<8>()?;
        let [kind @ .., a, b, c, d] = *head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        rest = behind.get(len.saturating_add(len % 2)..).unwrap_or_default();
        Some((kind, &behind[..len.min(behind.len())]))
    })
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
///
/// # Errors
/// If there is no memory for it.
pub(super) fn from_pixels(
    pixels: &[u8],
    size: [usize; 2],
    channels: usize,
    colours: Colours,
) -> crate::error::Result<Option<Picture>> {
    let len = size[0].checked_mul(size[1]).and_then(|area| area.checked_mul(channels));
    if !(1..=4).contains(&channels) || pixels.is_empty() || len != Some(pixels.len()) {
        return Ok(None);
    }
    Ok(Some(to_planes(pixels, size, channels, colours)?))
}

/// Pixels of 1 to 4 channels, as many as the size says, as planes.
fn to_planes(pixels: &[u8], size: [usize; 2], channels: usize, colours: Colours) -> resnet_ops::Result<Picture> {
    let mut planes = zeros(colours.channels * size[0] * size[1])?;
    let behind = colours.background;
    match channels {
        1 => split(pixels, &mut planes, |[grey]| [grey; 3]),
        2 => split(pixels, &mut planes, |[grey, alpha]| seen_before(behind, [grey; 3], alpha)),
        3 => split(pixels, &mut planes, |colour| colour),
        _ => split(pixels, &mut planes, |[red, green, blue, alpha]| seen_before(behind, [red, green, blue], alpha)),
    }
    Ok(Picture { size, planes })
}

/// A colour that lets the one behind it through.
fn seen_before(behind: [u8; 3], colour: [u8; 3], alpha: u8) -> [u8; 3] {
    let alpha = u32::from(alpha);
    let mixed = |channel: usize| u32::from(colour[channel]) * alpha + u32::from(behind[channel]) * (255 - alpha);
    [0, 1, 2].map(|channel| ((mixed(channel) + 127) / 255) as u8)
}

/// Pixels of `N` bytes as one plane of grey, or as planes of red, green and blue.
fn split<const N: usize>(pixels: &[u8], planes: &mut [u8], colour: impl Fn([u8; N]) -> [u8; 3]) {
    let pixels = pixels.as_chunks::<N>().0;
    if planes.len() == pixels.len() {
        return planes.iter_mut().zip(pixels).for_each(|(grey, &pixel)| *grey = luma(colour(pixel)));
    }
    let (red, rest) = planes.split_at_mut(pixels.len());
    let (green, blue) = rest.split_at_mut(pixels.len());
    for (((&pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        [*red, *green, *blue] = colour(pixel);
    }
}

/// Grey as Pillow's mode `L` has it (ITU-R 601-2).
pub(in crate::data) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}
