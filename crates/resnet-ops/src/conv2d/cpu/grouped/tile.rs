//! The micro-kernel of forward and input gradient: some columns of a target line, of a few images, in registers.

use super::columns::{Columns, TapRun};
use super::{LineSweep, WIDEST};
use crate::conv2d::cpu::axis::Axis;
use crate::conv2d::cpu::target::Target;
use crate::simd::{kernel, Part, Simd, LANES};
use crate::Isa;
use std::ops::Range;

/// How many lines further down a tile prefetches.
const PREFETCHED: usize = 4;

/// All pixels of some images for one block of target channels.
pub(super) struct BlockTask<'a> {
    pub(super) sweep: &'a LineSweep,
    pub(super) width: usize,
    pub(super) span: usize,
    pub(super) kernel: [usize; 2],
    /// The first source block that the target block sees, in the first image of the batch.
    pub(super) source: &'a [f32],
    pub(super) target: Target<'a>,
    /// The target block's place in the first image of the batch.
    pub(super) block: usize,
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// One tile's place.
struct LineTile<'a> {
    task: &'a BlockTask<'a>,
    columns: &'a Columns,
    lines: &'a Axis,
    /// Which of the lines, of the columns, and the first image.
    line: usize,
    first: usize,
    image: usize,
}

/// Computes all pixels of some images for one block of target channels.
pub(super) fn run(isa: Isa, task: &BlockTask, images: Range<usize>) {
    match task.width.min(register(isa)) {
        1 => sweep::<1>(isa, task, images),
        8 => sweep::<8>(isa, task, images),
        16 => sweep::<16>(isa, task, images),
        _ => sweep::<4>(isa, task, images),
    }
}

/// Whether there is a tile of so many columns of one image.
const fn exists(columns: usize, sums: usize) -> bool {
    columns <= 8 || columns.is_multiple_of(2) && columns <= sums
}

/// Tiles that a line is cut into, as equal as can be.
fn tiles(columns: usize, sums: usize) -> usize {
    let suits = |&tiles: &usize| exists(columns / tiles, sums) && exists(columns.div_ceil(tiles), sums);
    (1..).find(suits).expect("a tile for any column")
}

fn sweep<const SPREAD: usize>(isa: Isa, task: &BlockTask, images: Range<usize>) {
    let sums = most_sums(isa);
    // Short lines would leave too few sums to keep the multiply-add units busy: those of several images then.
    let longest = task.sweep.columns[0].count;
    let at_once = [4, 2, 1].into_iter().find(|images| images * longest <= sums).unwrap_or(1);
    let mut image = images.start;
    while image < images.end {
        let count = if image + at_once <= images.end { at_once } else { 1 };
        for columns in &task.sweep.columns {
            let tiles = if count > 1 { 1 } else { tiles(columns.count, sums) };
            for lines in &task.sweep.lines {
                for line in 0..lines.count {
                    for index in 0..tiles {
                        let (first, end) = (columns.count * index / tiles, columns.count * (index + 1) / tiles);
                        let tile = LineTile { task, columns, lines, line, first, image };
                        macro_rules! pick {
                            ($($images:literal: $($columns:literal)*;)*) => {
                                match (count, end - first) {
                                    $($(($images, $columns) => compute::<SPREAD, $images, $columns>(isa, &tile),)*)*
                                    (images, columns) => unreachable!("a tile of {columns} columns of {images} images"),
                                }
                            };
                        }
                        // Lines of one column are never those of two images only.
                        pick!(1: 1 2 3 4 5 6 7 8 10 12 14; 2: 2 3 4 5 6 7; 4: 1 2 3;)
                    }
                }
            }
        }
        image += count;
    }
}

kernel! {
    fn most_sums<S>() -> usize {
        <S::Part as Part>::SUMS
    }
}

kernel! {
    /// Lanes of a register.
    fn register<S>() -> usize {
        <S::Part as Part>::LANES
    }
}

kernel! {
    fn compute<S, const SPREAD: usize, const IMAGES: usize, const COLUMNS: usize>(tile: &LineTile) {
        if IMAGES * COLUMNS > <S::Part as Part>::SUMS || SPREAD > <S::Part as Part>::LANES {
            unreachable!("more sums than registers, or a group wider than one");
        }
        tile.prefetch::<S>(IMAGES, COLUMNS);
        // SAFETY: whoever makes the task gives it source, target and weights of the sizes that the sweep was made for.
        unsafe { sum::<S::Part, SPREAD, IMAGES, COLUMNS>(tile) }
    }
}

impl LineTile<'_> {
    /// Asks for the pixels that the tile some lines down will touch: there is too little arithmetic to wait for them then.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, images: usize, columns: usize) {
        let (BlockTask { sweep, span, .. }, lines, line) = (self.task, self.lines, self.line + PREFETCHED);
        let target = (lines.target.0 + line * lines.target.1) * sweep.target.line
            + (self.columns.first + self.first * self.columns.step) * LANES;
        for image in self.image..self.image + images {
            let y = self.task.target.y.wrapping_add(self.task.block + image * sweep.target.image + target);
            for column in 0..columns {
                S::prefetch(y.wrapping_add(column * self.columns.step * LANES));
            }
            // All sets of columns read the same source.
            let (Some(&(_, row)), Some(run), 0) = (lines.taps.last(), self.columns.runs.first(), self.columns.first)
            else {
                continue;
            };
            for block in 0..*span {
                let x = image * sweep.source.image + block * sweep.source.block + self.first * run.step * LANES;
                let x = self.task.source.as_ptr().wrapping_add(x);
                for line in row + line * lines.source_step..row + (line + 1) * lines.source_step {
                    for column in 0..columns * run.step {
                        S::prefetch(x.wrapping_add(line * sweep.source.line + column * LANES));
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn sum<P: Part, const SPREAD: usize, const IMAGES: usize, const COLUMNS: usize>(tile: &LineTile) {
    let BlockTask { sweep, width, span, kernel: [rows, columns], source, target, block, weights, bias, .. } =
        *tile.task;
    let line = tile.lines.target.0 + tile.line * tile.lines.target.1;
    let column = tile.columns.first + tile.first * tile.columns.step;
    let target_step = tile.columns.step * LANES;
    let tap_weights = width * LANES;
    // SAFETY: lines and columns of a sweep are inside its source and target, but for columns of a run that are checked.
    unsafe {
        let place = block + tile.image * sweep.target.image + line * sweep.target.line + column * LANES;
        for lane in (0..LANES).step_by(P::LANES) {
            let place = place + lane;
            let mut sums = [[P::load(bias.as_ptr().add(lane)); COLUMNS]; IMAGES];
            if !target.addend.is_null() {
                for image in 0..IMAGES {
                    for column in 0..COLUMNS {
                        let at = place + image * sweep.target.image + column * target_step;
                        sums[image][column] = P::add(sums[image][column], P::load(target.addend.add(at)));
                    }
                }
            }
            for block in 0..span {
                let x = source.as_ptr().add(tile.image * sweep.source.image + block * sweep.source.block);
                let x = x.add(lane / width * width);
                let w = weights.as_ptr().add(block * rows * columns * tap_weights + lane);
                // Of few products a row, so that what a row is reached by counts.
                if let (1, [run @ TapRun { taps: WIDEST, step: 1, .. }]) = (SPREAD, &tile.columns.runs[..]) {
                    add_rows::<P, SPREAD, IMAGES, COLUMNS>(tile, run, x, w, &mut sums);
                    continue;
                }
                for &(row, first_line) in &tile.lines.taps {
                    let x = x.add((first_line + tile.line * tile.lines.source_step) * sweep.source.line);
                    let w = w.add(row * columns * tap_weights);
                    for run in &tile.columns.runs {
                        let first = run.first + (tile.first * run.step) as isize;
                        let inside = &run.inside;
                        let terms = Terms {
                            x: x.wrapping_offset(first * LANES as isize),
                            x_image: sweep.source.image,
                            x_step: run.step * LANES,
                            w: w.add(run.tap * tap_weights),
                            w_step: run.tap_step * tap_weights as isize,
                            width,
                            inside: inside.start.saturating_sub(tile.first)..inside.end.saturating_sub(tile.first),
                        };
                        match run.taps {
                            1 => add::<P, SPREAD, IMAGES, COLUMNS, 1>(&terms, &mut sums),
                            2 => add::<P, SPREAD, IMAGES, COLUMNS, 2>(&terms, &mut sums),
                            _ => add::<P, SPREAD, IMAGES, COLUMNS, WIDEST>(&terms, &mut sums),
                        }
                    }
                }
            }
            // As in `Target::write`, but for parts of vectors.
            if target.relu {
                for image in 0..IMAGES {
                    for column in 0..COLUMNS {
                        sums[image][column] = P::max(P::splat(0.0), sums[image][column]);
                    }
                }
            }
            for image in 0..IMAGES {
                for column in 0..COLUMNS {
                    let at = place + image * sweep.target.image + column * target_step;
                    P::store(target.y.add(at), sums[image][column]);
                }
            }
        }
    }
}

/// Adds the products of all kernel rows, whose taps are one run of neighbours: what depends on the run alone is worked out once,
/// and columns are at constant distances.
#[inline(always)]
unsafe fn add_rows<P: Part, const SPREAD: usize, const IMAGES: usize, const COLUMNS: usize>(
    tile: &LineTile,
    run: &TapRun,
    x: *const f32,
    w: *const f32,
    sums: &mut [[P::R; COLUMNS]; IMAGES],
) {
    let BlockTask { sweep, width, kernel: [_, columns], .. } = *tile.task;
    let (line, x_image, tap_weights) = (sweep.source.line, sweep.source.image, width * LANES);
    let inside = run.inside.start.saturating_sub(tile.first)..run.inside.end.saturating_sub(tile.first);
    let x = x.wrapping_offset((run.first + tile.first as isize) * LANES as isize);
    let x = x.wrapping_add(tile.line * tile.lines.source_step * line);
    let w_step = run.tap_step * tap_weights as isize;
    // SAFETY: as in `sum`.
    unsafe {
        let w = w.add(run.tap * tap_weights);
        for &(row, first_line) in &tile.lines.taps {
            let (x, w) = (x.wrapping_add(first_line * line), w.add(row * columns * tap_weights));
            let terms = Terms { x, x_image, x_step: LANES, w, w_step, width, inside: inside.clone() };
            add::<P, SPREAD, IMAGES, COLUMNS, WIDEST>(&terms, sums);
        }
    }
}

/// What a run of taps adds to a tile: `inside` counts from the tile's first source column, at `x`.
struct Terms {
    x: *const f32,
    x_image: usize,
    x_step: usize,
    w: *const f32,
    w_step: isize,
    width: usize,
    inside: Range<usize>,
}

/// Adds the products of a run of `TAPS` taps.
#[inline(always)]
unsafe fn add<P: Part, const SPREAD: usize, const IMAGES: usize, const COLUMNS: usize, const TAPS: usize>(
    terms: &Terms,
    sums: &mut [[P::R; COLUMNS]; IMAGES],
) {
    // SAFETY: as in `sum`.
    unsafe {
        if SPREAD == 1 {
            add_channel::<P, SPREAD, IMAGES, COLUMNS, TAPS>(terms, 0, sums);
        } else if SPREAD == 4 && P::LANES > 4 {
            // Written out, because spreading a constant channel takes a register less.
            add_channel::<P, SPREAD, IMAGES, COLUMNS, TAPS>(terms, 0, sums);
            add_channel::<P, SPREAD, IMAGES, COLUMNS, TAPS>(terms, 1, sums);
            add_channel::<P, SPREAD, IMAGES, COLUMNS, TAPS>(terms, 2, sums);
            add_channel::<P, SPREAD, IMAGES, COLUMNS, TAPS>(terms, 3, sums);
        } else {
            for j in 0..terms.width {
                add_channel::<P, SPREAD, IMAGES, COLUMNS, TAPS>(terms, j, sums);
            }
        }
    }
}

/// Adds the products of channel `j` of each group.
#[inline(always)]
unsafe fn add_channel<P: Part, const SPREAD: usize, const IMAGES: usize, const COLUMNS: usize, const TAPS: usize>(
    terms: &Terms,
    j: usize,
    sums: &mut [[P::R; COLUMNS]; IMAGES],
) {
    // SAFETY: as in `sum`.
    unsafe {
        let mut weights = [P::splat(0.0); TAPS];
        for tap in 0..TAPS {
            weights[tap] = P::load(terms.w.wrapping_offset(tap as isize * terms.w_step).add(j * LANES));
        }
        for image in 0..IMAGES {
            let x = terms.x.wrapping_add(image * terms.x_image);
            // Written out, because LLVM does not unroll as much as the longest tiles need to stay in registers.
            macro_rules! each {
                ($($number:literal)*) => {$(
                    if $number < COLUMNS + TAPS - 1 {
                        let x = x.wrapping_add($number * terms.x_step);
                        add_column::<P, SPREAD, COLUMNS, TAPS, $number>(x, j, &weights, &terms.inside, &mut sums[image]);
                    }
                )*};
            }
            each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
    }
}

/// Adds the products of one source column to the sums of those that it meets.
#[inline(always)]
unsafe fn add_column<P: Part, const SPREAD: usize, const COLUMNS: usize, const TAPS: usize, const NUMBER: usize>(
    x: *const f32,
    j: usize,
    weights: &[P::R; TAPS],
    inside: &Range<usize>,
    sums: &mut [P::R; COLUMNS],
) {
    // As padding is narrower than the kernel, only the columns of two taps on each side can lie on it. (To read zeros there
    // instead was far slower with AVX2: LLVM keeps an address for each column.)
    let edge = NUMBER + 1 < WIDEST || NUMBER + WIDEST > COLUMNS + TAPS - 1;
    if edge && !(NUMBER >= inside.start && NUMBER < inside.end) {
        return;
    }
    // SAFETY: the column is inside the source.
    unsafe {
        let value = P::spread::<SPREAD>(x, j);
        for tap in 0..TAPS {
            if NUMBER >= tap && NUMBER - tap < COLUMNS {
                sums[NUMBER - tap] = P::fma(value, weights[tap], sums[NUMBER - tap]);
            }
        }
        // LLVM would spread all columns first and then lack registers for the sums.
        for tap in 0..TAPS {
            if NUMBER >= tap && NUMBER - tap < COLUMNS {
                P::pin(&mut sums[NUMBER - tap]);
            }
        }
    }
}
