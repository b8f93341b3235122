//! Changes of brightness and colours of images of bytes, as Pillow makes them.

use super::canvas::Canvas;
use crate::data::picture::luma;

/// A change of brightness or colours. Factors: 1 leaves an image as it is. What changes colours leaves grey images as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tone {
    /// Between black (0) and beyond the image.
    Brightness(f64),
    /// Between its mean grey (0) and beyond the image.
    Contrast(f64),
    /// Between its greys (0) and beyond the image.
    Saturation(f64),
    /// A turn of the hue, from -0.5 to 0.5.
    Hue(f64),
    /// Between a smoothed image (0) and beyond the image.
    Sharpness(f64),
    /// Bits that are kept.
    Posterize(u32),
    /// The value from which on values are inverted.
    Solarize(f64),
    /// The values of each channel are spread over the whole range.
    AutoContrast,
    /// Each channel's values become equally frequent.
    Equalize,
}

impl Tone {
    pub fn apply(self, canvas: &mut Canvas) {
        let shape = canvas.shape;
        let Some(planes) = canvas.as_bytes() else { return };
        let [channels, height, width] = shape;
        let area = height * width;
        match self {
            Self::Brightness(factor) => by_table(planes, |value| blend(0, value, factor)),
            Self::Contrast(factor) => {
                let total: u64 = (0..area).map(|i| u64::from(grey(planes, area, channels, i))).sum();
                let mean = (total as f64 / area as f64 + 0.5) as u8;
                by_table(planes, |value| blend(mean, value, factor));
            }
            Self::Saturation(factor) if channels == 3 => {
                for i in 0..area {
                    let grey = grey(planes, area, channels, i);
                    for channel in 0..3 {
                        let value = &mut planes[channel * area + i];
                        *value = blend(grey, *value, factor);
                    }
                }
            }
            Self::Hue(turn) if channels == 3 => {
                let turn = (turn * 255.0) as i32 as u8;
                for i in 0..area {
                    let [h, s, v] = to_hsv([planes[i], planes[area + i], planes[2 * area + i]]);
                    let colour = from_hsv([h.wrapping_add(turn), s, v]);
                    colour.into_iter().enumerate().for_each(|(channel, value)| planes[channel * area + i] = value);
                }
            }
            Self::Saturation(_) | Self::Hue(_) => {}
            Self::Sharpness(factor) => {
                for plane in planes.chunks_exact_mut(area) {
                    let smooth = smoothed(plane, [height, width]);
                    plane.iter_mut().zip(smooth).for_each(|(value, smooth)| *value = blend(smooth, *value, factor));
                }
            }
            Self::Posterize(bits) => {
                let mask = !(((1u32 << (8 - bits)) - 1) as u8);
                by_table(planes, |value| value & mask);
            }
            Self::Solarize(threshold) => {
                by_table(planes, |value| if f64::from(value) < threshold { value } else { 255 - value });
            }
            Self::AutoContrast => {
                planes.chunks_exact_mut(area).for_each(|plane| apply_table(plane, &spread(&histogram(plane))));
            }
            Self::Equalize => {
                planes.chunks_exact_mut(area).for_each(|plane| apply_table(plane, &equalizing(&histogram(plane))));
            }
        }
    }
}

fn grey(planes: &[u8], area: usize, channels: usize, i: usize) -> u8 {
    if channels == 3 {
        luma([planes[i], planes[area + i], planes[2 * area + i]])
    } else {
        planes[i]
    }
}

/// Pillow's `blend`: cut off to whole values, in f32.
fn blend(from: u8, to: u8, factor: f64) -> u8 {
    (f32::from(from) + factor as f32 * (f32::from(to) - f32::from(from))) as u8
}

fn by_table(planes: &mut [u8], of: impl Fn(u8) -> u8) {
    apply_table(planes, &std::array::from_fn(|value| of(value as u8)));
}

fn apply_table(planes: &mut [u8], table: &[u8; 256]) {
    planes.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

fn histogram(plane: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    plane.iter().for_each(|&value| counts[usize::from(value)] += 1);
    counts
}

/// `ImageOps.autocontrast`'s table.
fn spread(counts: &[usize; 256]) -> [u8; 256] {
    let low = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let high = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    if high <= low {
        return std::array::from_fn(|value| value as u8);
    }
    let scale = 255.0 / (high - low) as f64;
    let offset = -(low as f64) * scale;
    std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
}

/// `ImageOps.equalize`'s table.
fn equalizing(counts: &[usize; 256]) -> [u8; 256] {
    let total: usize = counts.iter().sum();
    let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
    let step = (total - last) / 255;
    if step == 0 {
        return std::array::from_fn(|value| value as u8);
    }
    let mut sum = step / 2;
    std::array::from_fn(|value| {
        let level = (sum / step).min(255);
        sum += counts[value];
        level as u8
    })
}

/// Pillow's `SMOOTH`: the outermost pixels stay.
fn smoothed(plane: &[u8], [height, width]: [usize; 2]) -> Vec<u8> {
    let mut out = plane.to_vec();
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            let mut sum = 0.5;
            for (dy, row) in (y - 1..=y + 1).enumerate() {
                for (dx, value) in plane[row * width + x - 1..][..3].iter().enumerate() {
                    let weight = if (dy, dx) == (1, 1) { 5.0 } else { 1.0 };
                    sum += f32::from(*value) * (weight / 13.0);
                }
            }
            out[y * width + x] = sum as u8;
        }
    }
    out
}

/// Hue, saturation and value as Pillow's mode `HSV` has them.
fn to_hsv(colour: [u8; 3]) -> [u8; 3] {
    let (most, least) = (colour.into_iter().max().unwrap_or(0), colour.into_iter().min().unwrap_or(0));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let [r, g, b] = colour.map(|value| f32::from(most - value) / range);
    let hue = if colour[0] == most {
        b - g
    } else if colour[1] == most {
        (2.0 + f64::from(r) - f64::from(b)) as f32
    } else {
        (4.0 + f64::from(g) - f64::from(r)) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixth = f64::from(hue) * 6.0 / 255.0;
    let part = (sixth - sixth.floor()) as f32;
    let saturation = f64::from(saturation) as f32 / 255.0;
    let of = |share: f64| (f64::from(value) * (1.0 - share)).round().clamp(0.0, 255.0) as u8;
    let (s, f) = (f64::from(saturation), f64::from(part));
    let [p, q, t] = [of(s), of(s * f), of(s * (1.0 - f))];
    match sixth.floor() as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
