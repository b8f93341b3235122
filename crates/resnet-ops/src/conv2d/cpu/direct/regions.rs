//! Cuts a map into rectangles of pixels that touch the same kernel taps.

use super::tile::Tap;
use crate::conv2d::cpu::axis::Axis;
use crate::conv2d::cpu::map::Map;
use std::ops::Range;

/// Steps along one axis of a region.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) count: usize,
    /// Floats between neighbours in the source.
    pub(super) source: usize,
    /// Floats between neighbours in the target.
    pub(super) target: usize,
}

/// One of the parts that images are cut into.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) index: usize,
    pub(super) of: usize,
}

/// A rectangle of target pixels that touch the same taps.
pub(super) struct Region {
    pub(super) y: Steps,
    pub(super) x: Steps,
    /// The first target pixel, in floats from the start of the channel block.
    target: usize,
    pub(super) taps: Vec<Tap>,
}

impl Region {
    pub(super) fn new(y: &Axis, x: &Axis, source: &Map, target: &Map, taps: Vec<Tap>) -> Self {
        let steps = |axis: &Axis, source: usize, target: usize| Steps {
            count: axis.count,
            source: axis.source_step * source,
            target: axis.target.1 * target,
        };
        let first = y.target.0 * target.line + x.target.0 * target.pixel;
        let (mut y, mut x) = (steps(y, source.line, target.line), steps(x, source.pixel, target.pixel));
        if (y.source, y.target) == (x.count * x.source, x.count * x.target) {
            // Lines without a gap are one line.
            x.count *= std::mem::replace(&mut y.count, 1);
        }
        Self { y, x, target: first, taps }
    }

    /// Its pixels in some images, and which of them are a part's.
    pub(super) fn pixels(&self, images: &Range<usize>, part: Part) -> Range<usize> {
        let pixels = images.len() * self.y.count * self.x.count;
        pixels * part.index / part.of..pixels * (part.index + 1) / part.of
    }

    /// Its pixels from one on, across, then down, then image by image: where each is in source and target. The source
    /// place is the one that the taps' offsets count from. Maps begin at the first image's.
    pub(super) fn offsets(&self, first_image: usize, first: usize, source: &Map, target: &Map) -> Offsets<'_> {
        let (line, pixel) = (first / self.x.count, first % self.x.count);
        let (image, line) = (first_image + line / self.y.count, line % self.y.count);
        let images = (source.image, target.image);
        let mut offsets = Offsets { region: self, image, line, pixel: 0, images, next: (0, 0) };
        offsets.begin_line();
        offsets.next.0 += pixel * self.x.source;
        offsets.next.1 += pixel * self.x.target;
        offsets.pixel = pixel;
        offsets
    }
}

/// Goes through a region's pixels without end. (Nested iterators would take a tenth of the time of small tiles.)
pub(super) struct Offsets<'a> {
    region: &'a Region,
    image: usize,
    line: usize,
    pixel: usize,
    /// Floats of an image in source and target.
    images: (usize, usize),
    next: (usize, usize),
}

impl Offsets<'_> {
    fn begin_line(&mut self) {
        let Region { y, target, .. } = self.region;
        self.next.0 = self.image * self.images.0 + self.line * y.source;
        self.next.1 = self.image * self.images.1 + self.line * y.target + target;
    }
}

impl Iterator for Offsets<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        let (offset, Region { y, x, .. }) = (self.next, self.region);
        self.pixel += 1;
        self.next = (offset.0 + x.source, offset.1 + x.target);
        if self.pixel == x.count {
            (self.pixel, self.line) = (0, self.line + 1);
            if self.line == y.count {
                (self.line, self.image) = (0, self.image + 1);
            }
            self.begin_line();
        }
        Some(offset)
    }
}
