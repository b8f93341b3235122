//! Bringing a picture of any shape to the one that a network takes.

use super::decode::{Colours, Picture};
use crate::data::transform::{check_size, Normalise};
use crate::error::{Code, Error, Result};
use resnet_ops::allocate::{make_room, with_room};
use resnet_ops::resample::{fixed_point, pillow_goes_down_first, pillow_windows_within, Fixed, Passes};
use serde::{Deserialize, Serialize};

/// What becomes of a picture with another aspect ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It is seen whole, centred, with borders of the background: Pillow's `ImageOps.pad`.
    #[default]
    Pad,
    /// It fills the shape, and what is beyond it is cut off at both sides: Pillow's `ImageOps.fit`.
    Crop,
    /// It is stretched: Pillow's `resize`.
    Stretch,
}

/// All that is done to a picture before a network sees it, without augmentation: plain data, the same in training, evaluation and
/// prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureTransform {
    /// Height and width, each from 1 to 16384.
    pub size: [usize; 2],
    /// What becomes of another aspect ratio.
    pub fit: Fit,
    /// 3: red, green and blue. 1: grey.
    pub channels: usize,
    /// Red, green and blue of borders, and of what is behind transparent pixels.
    pub background: [u8; 3],
    /// What is taken off values from 0 to 1, and what they are divided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
}

/// Memory that fitting needs, kept from picture to picture.
#[derive(Default)]
pub(in crate::data) struct FitScratch {
    resized: Vec<u8>,
    work: Vec<u8>,
}

/// A part of a picture: where it begins and ends, down and across, in pixels.
#[derive(Clone, Copy)]
struct Section {
    down: [f32; 2],
    across: [f32; 2],
}

impl PictureTransform {
    /// The transform of a description such as `{"size":[96,96],"fit":"pad","channels":3,"background":[255,255,255]}`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        let parsed = serde_json::from_str::<Self>(json);
        let transform = parsed.map_err(|error| Error::new(Code::InvalidArgument, format!("transform: {error}")))?;
        transform.check()?;
        Ok(transform)
    }

    /// Refuses what no picture can be brought to.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check(&self) -> Result<()> {
        check_size("size", self.size)?;
        if ![1, 3].contains(&self.channels) {
            return Err(Error::expected(Code::InvalidArgument, "channels", "1 or 3", self.channels));
        }
        self.normalise.as_ref().map_or(Ok(()), |normalise| normalise.check(self.channels))
    }

    /// Channels, height and width of what it makes.
    pub fn output(&self) -> [usize; 3] {
        [self.channels, self.size[0], self.size[1]]
    }

    /// How colours become channels.
    pub(super) fn colours(&self) -> Colours {
        Colours { channels: self.channels, background: self.background }
    }

    /// The description, which [`Self::from_json`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The picture in the wanted shape, (C, H, W).
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub(in crate::data) fn fit(&self, picture: &Picture, out: &mut Vec<u8>, scratch: &mut FitScratch) -> Result<()> {
        let ([height, width], [rows, columns]) = (picture.size, self.size);
        let [h, w, r, c] = [height, width, rows, columns].map(|side| side as f64);
        match self.fit {
            Fit::Stretch => picture.resize(self.size, out, scratch),
            Fit::Crop => {
                let (ratio, wanted) = (w / h, c / r);
                let (kept_w, kept_h) = if ratio >= wanted { (wanted * h, h) } else { (w, w / wanted) };
                let (kept_w, kept_h) = if ratio == wanted { (w, h) } else { (kept_w, kept_h) };
                let (left, top) = ((w - kept_w) * 0.5, (h - kept_h) * 0.5);
                let down = [top as f32, (top + kept_h) as f32];
                let across = [left as f32, (left + kept_w) as f32];
                resample(picture, Section { down, across }, self.size, out, scratch)
            }
            Fit::Pad => {
                let (ratio, wanted) = (w / h, c / r);
                let mut inner = self.size;
                if ratio > wanted {
                    inner[0] = (h / w * c).round_ties_even().max(1.0) as usize;
                } else if ratio < wanted {
                    inner[1] = (w / h * r).round_ties_even().max(1.0) as usize;
                }
                if inner == self.size {
                    return picture.resize(self.size, out, scratch);
                }
                let mut resized = std::mem::take(&mut scratch.resized);
                picture.resize(inner, &mut resized, scratch)?;
                self.paste(&resized, inner, out)?;
                scratch.resized = resized;
                Ok(())
            }
        }
    }

    /// The smaller picture in the middle of the background.
    fn paste(&self, planes: &[u8], inner: [usize; 2], out: &mut Vec<u8>) -> Result<()> {
        let [rows, columns] = self.size;
        let [top, left] = [0, 1].map(|axis| ((self.size[axis] - inner[axis]) as f64 * 0.5).round_ties_even() as usize);
        make_room(out, self.channels * rows * columns)?;
        out.resize(self.channels * rows * columns, 0);
        let behind = match self.channels {
            1 => vec![super::decode::luma(self.background)],
            _ => self.background.to_vec(),
        };
        let parts = planes.chunks_exact(inner[0] * inner[1]).zip(out.chunks_exact_mut(rows * columns));
        for ((plane, out), behind) in parts.zip(behind) {
            out.fill(behind);
            for (row, out) in plane.chunks_exact(inner[1]).zip(out.chunks_exact_mut(columns).skip(top)) {
                out[left..left + inner[1]].copy_from_slice(row);
            }
        }
        Ok(())
    }
}

impl Picture {
    /// The part from this row and column on, of this height and width, which is inside.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub(in crate::data) fn part(&self, [top, left, height, width]: [usize; 4]) -> Result<Self> {
        let [rows, columns] = self.size;
        let mut planes = with_room(self.planes.len() / (rows * columns) * height * width)?;
        for plane in self.planes.chunks_exact(rows * columns) {
            for row in plane.chunks_exact(columns).skip(top).take(height) {
                planes.extend_from_slice(&row[left..left + width]);
            }
        }
        Ok(Self { size: [height, width], planes })
    }

    /// All of it in another size.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub(in crate::data) fn resize(&self, size: [usize; 2], out: &mut Vec<u8>, scratch: &mut FitScratch) -> Result<()> {
        resample(self, self.whole(), size, out, scratch)
    }

    fn whole(&self) -> Section {
        let [height, width] = self.size.map(|side| side as f32);
        Section { down: [0.0, height], across: [0.0, width] }
    }
}

/// Resizes a section of each plane, as Pillow's `resize` with `BILINEAR` and a `box` does, to the bit.
fn resample(
    picture: &Picture,
    section: Section,
    size: [usize; 2],
    out: &mut Vec<u8>,
    scratch: &mut FitScratch,
) -> Result<()> {
    let ([height, width], [rows, columns]) = (picture.size, size);
    let channels = picture.planes.len() / (height * width);
    make_room(out, channels * rows * columns)?;
    out.resize(channels * rows * columns, 0);
    let whole = section.down == [0.0, height as f32] && section.across == [0.0, width as f32];
    if whole && size == picture.size {
        out.copy_from_slice(&picture.planes);
        return Ok(());
    }
    let passes = Passes::<Fixed> {
        down: fixed_point(&pillow_windows_within(height, section.down, rows)),
        across: fixed_point(&pillow_windows_within(width, section.across, columns)),
        down_first: pillow_goes_down_first(picture.size, size),
    };
    make_room(&mut scratch.work, passes.scratch_len(picture.size))?;
    for (plane, out) in picture.planes.chunks_exact(height * width).zip(out.chunks_exact_mut(rows * columns)) {
        passes.run(plane, height, out, &mut scratch.work);
    }
    Ok(())
}
