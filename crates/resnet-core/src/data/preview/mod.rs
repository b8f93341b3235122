//! A picture of what a training step sees.

use super::labels::Labels;
use super::pass::{Batch, DataPass, Mixed};
use crate::error::{Code, Error, Result};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// Letters from space to tilde, 12 rows of 7 pixels each; `tools/preview_font.py` wrote them.
const FONT: &[u8] = include_bytes!("font.bin");
const LETTER: [usize; 2] = [12, 7];

/// Pixels between images.
const GAP: usize = 6;

/// Shorter sides are enlarged to at least so many pixels, by whole numbers.
const LEAST_SIDE: usize = 96;

/// Most pixels of a side of the picture.
const MAX_SIDE: usize = 1 << 14;

/// An image of red, green and blue.
struct Sheet {
    width: usize,
    pixels: Vec<u8>,
}

impl DataPass {
    /// The first batch as a PNG: its images beside each other, normalising undone, each above its class (and that of the image that was
    /// mixed in, with the shares), below a line of text. Letters beyond ASCII are spelt by their numbers: `\u{e9}` for é.
    ///
    /// # Errors
    /// As [`DataPass::prepare`]; `ERR_INVALID_ARGUMENT` if the picture would have more than 16384 pixels across or down, or images have
    /// neither one channel nor three.
    pub fn preview(&self, title: &str) -> Result<Vec<u8>> {
        let mut batch = Batch::default();
        self.prepare(0, &mut batch)?;
        let [count, channels, height, width] = batch.shape;
        if ![1, 3].contains(&channels) {
            let expected = "images of 1 or 3 channels";
            return Err(Error::expected(Code::InvalidArgument, "data", expected, channels));
        }
        let zoom = LEAST_SIDE.div_ceil(height.min(width)).min(LEAST_SIDE);
        let lines = if batch.mixed.is_some() { 2 } else { 1 };
        let cell = [height * zoom + lines * LETTER[0] + GAP, width * zoom + GAP];
        let columns = (1..=count).find(|columns| columns * cell[1] >= count.div_ceil(*columns) * cell[0]).unwrap_or(1);
        let rows = count.div_ceil(columns);
        let title = wrapped(&spelt(title), (columns * cell[1]) / LETTER[1]);
        let head = title.len() * LETTER[0] + 2 * GAP;
        let sides = [rows * cell[0] + head, columns * cell[1] + GAP];
        if sides.iter().any(|&side| side > MAX_SIDE) {
            let expected = format!("so few images that a picture of {MAX_SIDE}x{MAX_SIDE} has room for them");
            return Err(Error::expected(Code::InvalidArgument, "count", expected, count));
        }
        let mut sheet = Sheet { width: sides[1], pixels: vec![255; sides[0] * sides[1] * 3] };
        title.iter().enumerate().for_each(|(line, text)| sheet.write(text, [GAP + line * LETTER[0], GAP]));
        for (index, image) in batch.images.chunks_exact(channels * height * width).enumerate() {
            let corner = [head + index / columns * cell[0], GAP + index % columns * cell[1]];
            let bytes = self.denormalised(image, [channels, height, width]);
            for y in 0..height * zoom {
                for x in 0..width * zoom {
                    let place = y / zoom * width + x / zoom;
                    let colour = [0, 1, 2].map(|c| bytes[c.min(channels - 1) * height * width + place]);
                    sheet.set([corner[0] + y, corner[1] + x], colour);
                }
            }
            for (line, text) in self.told(&batch, index).iter().enumerate() {
                let label = shortened(text, width * zoom / LETTER[1]);
                sheet.write(&label, [corner[0] + height * zoom + line * LETTER[0], corner[1]]);
            }
        }
        let mut png = Vec::new();
        let [height, width] = sides.map(|side| side as u32);
        let encoded = PngEncoder::new(&mut png).write_image(&sheet.pixels, width, height, ExtendedColorType::Rgb8);
        encoded.map_err(|error| Error::new(Code::Internal, format!("a preview: {error}")))?;
        Ok(png)
    }

    /// The classes of an image, and below it that of the one that was mixed in, each with its share.
    fn told(&self, batch: &Batch, index: usize) -> Vec<String> {
        let named = |label: usize| {
            let names = self.data().class_names();
            names.map_or_else(|| label.to_string(), |names| spelt(&names[label]))
        };
        let all = |labels: &Labels| labels.all().of(index).into_iter().map(&named).collect::<Vec<_>>().join(", ");
        let own = all(&batch.labels);
        match &batch.mixed {
            Some(Mixed { labels, share }) => {
                vec![format!("{share:.2} {own}"), format!("{:.2} {}", 1.0 - share, all(labels))]
            }
            None => vec![own],
        }
    }

    fn denormalised(&self, image: &[f32], [channels, height, width]: [usize; 3]) -> Vec<u8> {
        let normalise = self.data().normalise();
        let area = height * width;
        let value = |(i, &value): (usize, &f32)| {
            let [mean, std] =
                normalise.map_or([0.0, 1.0], |by| [by.mean[i / area % channels], by.std[i / area % channels]]);
            ((f64::from(value) * std + mean) * 255.0).round().clamp(0.0, 255.0) as u8
        };
        image.iter().enumerate().map(value).collect()
    }
}

/// A text in the letters that there are; the others by their numbers, so that no two names look the same.
fn spelt(text: &str) -> String {
    let letter = |letter: char| match letter {
        ' '..='~' => letter.to_string(),
        other => other.escape_unicode().to_string(),
    };
    text.chars().map(letter).collect()
}

/// A text that is not longer than so many letters.
fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(2)).chain("..".chars()).take(most).collect(),
        false => text.to_owned(),
    }
}

/// A text in lines of at most so many letters, but for longer words.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > most {
            lines.push(word.to_owned());
        } else {
            let gap = if line.is_empty() { "" } else { " " };
            line.push_str(gap);
            line.push_str(word);
        }
    }
    lines
}

impl Sheet {
    fn set(&mut self, [y, x]: [usize; 2], colour: [u8; 3]) {
        if let Some(pixel) = self.pixels.get_mut((y * self.width + x) * 3..(y * self.width + x + 1) * 3) {
            pixel.copy_from_slice(&colour);
        }
    }

    fn write(&mut self, text: &str, [top, left]: [usize; 2]) {
        for (place, letter) in text.chars().enumerate() {
            let code = if (' '..='~').contains(&letter) { letter as usize - 32 } else { '?' as usize - 32 };
            for (y, row) in FONT[code * LETTER[0]..][..LETTER[0]].iter().enumerate() {
                for x in (0..LETTER[1]).filter(|x| row >> (LETTER[1] - 1 - x) & 1 == 1) {
                    self.set([top + y, left + place * LETTER[1] + x], [0; 3]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Normalise, Order, Pixels};
    use super::*;

    #[test]
    fn shows_every_image_as_it_was_with_its_class_below() {
        let bytes: Vec<u8> = (0..4 * 3 * 50 * 40).map(|i: usize| (i * 7 % 256) as u8).collect();
        let names = Some(vec!["a".to_owned(), "日本".to_owned()]);
        let data = Dataset::from_arrays(Pixels::U8(bytes.clone()), [4, 3, 50, 40], vec![0, 1, 0, 1], names).unwrap();
        let normalise = Normalise { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.3, 0.1] };
        let data = data.normalised(Some(normalise)).unwrap();
        let pass = DataPass::new(&data, 4, Order::Sequential, false).unwrap();
        let png = image::load_from_memory(&pass.preview("a title").unwrap()).unwrap().into_rgb8();
        // Three times as large, three beside each other.
        assert_eq!((png.width(), png.height()), (3 * (120 + 6) + 6, 2 * (150 + 12 + 6) + 12 + 12));
        for index in 0..4usize {
            let (top, left) = (24 + index / 3 * 168, 6 + index % 3 * 126);
            for (y, x) in [(0, 0), (49, 39), (17, 23)] {
                let expected = [0, 1, 2].map(|c| bytes[((index * 3 + c) * 50 + y) * 40 + x]);
                assert_eq!(png.get_pixel((left + x * 3 + 1) as u32, (top + y * 3 + 1) as u32).0, expected);
            }
            let dark = (top + 150..top + 162)
                .flat_map(|y| (left..left + 120).map(move |x| (x as u32, y as u32)))
                .filter(|&(x, y)| png.get_pixel(x, y).0 == [0; 3])
                .count();
            assert!((8..300).contains(&dark), "{dark} pixels of letters");
        }
        assert_eq!(shortened("abcdef", 4), "ab..");
        assert_eq!(shortened("日本", 1), ".");
        assert_eq!(spelt("café\n"), "caf\\u{e9}\\u{a}");
        assert_eq!(wrapped("one two, three fourandmore", 8), ["one two,", "three", "fourandmore"]);
    }
}
