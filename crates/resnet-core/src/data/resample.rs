//! Resampling of one plane by weighted sums of neighbouring pixels, in a pass across and a pass down.

use std::ops::Range;

/// Outputs that are summed at once: enough for the widest registers.
const BLOCK: usize = 32;

/// How pixels are weighted, summed and rounded.
pub(super) trait Arithmetic {
    /// A value of the plane.
    type Pixel: Copy + Default;
    /// A weight, and a sum.
    type Sum: Copy;
    /// What a sum starts from.
    const START: Self::Sum;
    /// A sum with one more weighted pixel.
    fn add(sum: Self::Sum, weight: Self::Sum, pixel: Self::Pixel) -> Self::Sum;
    /// The pixel that a sum becomes.
    fn finish(sum: Self::Sum) -> Self::Pixel;
}

/// Pillow's for 8-bit pixels: fixed point.
pub(super) struct Fixed;

/// Pillow's for pixels of mode F.
pub(super) struct Double;

/// PyTorch's for f32 tensors.
pub(super) struct Single;

/// Bits behind the point: 32, less 8 of the pixel and 2 that keep sums from overflowing.
const PRECISION: u32 = 22;

impl Arithmetic for Fixed {
    type Pixel = u8;
    type Sum = i32;
    const START: i32 = 1 << (PRECISION - 1);
    fn add(sum: i32, weight: i32, pixel: u8) -> i32 {
        sum + weight * i32::from(pixel)
    }
    fn finish(sum: i32) -> u8 {
        (sum >> PRECISION).clamp(0, 255) as u8
    }
}

impl Arithmetic for Double {
    type Pixel = f32;
    type Sum = f64;
    const START: f64 = 0.0;
    fn add(sum: f64, weight: f64, pixel: f32) -> f64 {
        sum + weight * f64::from(pixel)
    }
    fn finish(sum: f64) -> f32 {
        sum as f32
    }
}

impl Arithmetic for Single {
    type Pixel = f32;
    type Sum = f32;
    const START: f32 = 0.0;
    fn add(sum: f32, weight: f32, pixel: f32) -> f32 {
        sum + weight * pixel
    }
    fn finish(sum: f32) -> f32 {
        sum
    }
}

/// The input pixels from `start` on that make one output pixel, with their weights.
pub(super) struct Window<W> {
    start: usize,
    weights: Vec<W>,
}

/// Pillow's bilinear windows: a triangle that is two output pixels wide when shrinking, two input pixels when growing.
pub(super) fn pillow_windows(input: usize, output: usize) -> Vec<Window<f64>> {
    let scale = input as f64 / output as f64;
    let support = scale.max(1.0);
    let window = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        let Range { start, end } = (center - support + 0.5) as usize..((center + support + 0.5) as usize).min(input);
        // A multiplication by the inverse, as Pillow does it: a division rounds differently.
        let distance = |pixel: usize| ((pixel as f64 - center + 0.5) * (1.0 / support)).abs();
        let weights: Vec<f64> = (start..end).map(|pixel| (1.0 - distance(pixel)).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        Window { start, weights: weights.into_iter().map(|weight| weight / sum).collect() }
    };
    (0..output).map(window).collect()
}

/// The same windows with weights in fixed point.
pub(super) fn fixed_point(windows: &[Window<f64>]) -> Vec<Window<i32>> {
    let fixed = |weight: &f64| (0.5 + weight * f64::from(1u32 << PRECISION)) as i32;
    windows.iter().map(|w| Window { start: w.start, weights: w.weights.iter().map(fixed).collect() }).collect()
}

/// PyTorch's bilinear windows without antialiasing: the two nearest pixels, the border's own beyond the border.
pub(super) fn torch_windows(input: usize, output: usize) -> Vec<Window<f32>> {
    let scale = input as f32 / output as f32;
    let window = |index: usize| {
        let place = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
        let start = (place as usize).min(input - 1);
        let second = place - start as f32;
        let weights = if start + 1 < input { vec![1.0 - second, second] } else { vec![1.0] };
        Window { start, weights }
    };
    (0..output).map(window).collect()
}

/// Whether Pillow (since version 13) goes down before it goes across: where that saves work.
pub(super) fn pillow_goes_down_first(input: [usize; 2], output: [usize; 2]) -> bool {
    let lost = |axis: usize| input[axis].saturating_sub(output[axis]);
    lost(0) > 2 * lost(1)
}

/// The windows of both passes for one input and output size.
pub(super) struct Passes<A: Arithmetic> {
    /// One window for each output row.
    pub down: Vec<Window<A::Sum>>,
    /// One window for each output column.
    pub across: Vec<Window<A::Sum>>,
    /// Which pass comes first: it matters to what is rounded between them.
    pub down_first: bool,
}

impl<A: Arithmetic> Passes<A> {
    /// Resamples a plane of `height` rows; `scratch` keeps its memory from call to call.
    pub fn run(&self, plane: &[A::Pixel], height: usize, out: &mut [A::Pixel], scratch: &mut Vec<A::Pixel>) {
        let width = plane.len() / height;
        // `rows` go across; the plane between the passes is `between` wide.
        let (rows, between) = if self.down_first { (self.down.len(), width) } else { (height, self.across.len()) };
        scratch.resize(rows * between + rows * width + rows, A::Pixel::default());
        let (middle, work) = scratch.split_at_mut(rows * between);
        if self.down_first {
            go_down::<A>(&self.down, plane, width, middle);
            go_across::<A>(&self.across, middle, rows, out, work);
        } else {
            go_across::<A>(&self.across, plane, rows, middle, work);
            go_down::<A>(&self.down, middle, between, out);
        }
    }
}

/// One output row for each window.
fn go_down<A: Arithmetic>(windows: &[Window<A::Sum>], plane: &[A::Pixel], width: usize, out: &mut [A::Pixel]) {
    for (window, row) in windows.iter().zip(out.chunks_exact_mut(width)) {
        weigh::<A>(window, plane, row);
    }
}

/// One output column for each window. `work` has room for the plane and a column: on the transposed plane whole columns are
/// added, which vectorises as the pass down does.
fn go_across<A: Arithmetic>(
    windows: &[Window<A::Sum>],
    plane: &[A::Pixel],
    height: usize,
    out: &mut [A::Pixel],
    work: &mut [A::Pixel],
) {
    let (columns, column) = work.split_at_mut(plane.len());
    for (y, row) in plane.chunks_exact(plane.len() / height).enumerate() {
        for (x, &pixel) in row.iter().enumerate() {
            columns[x * height + y] = pixel;
        }
    }
    for (x, window) in windows.iter().enumerate() {
        weigh::<A>(window, columns, column);
        for (row, &pixel) in out.chunks_exact_mut(windows.len()).zip(&*column) {
            row[x] = pixel;
        }
    }
}

/// The weighted sum of a window's lines, each as long as `out`.
fn weigh<A: Arithmetic>(window: &Window<A::Sum>, lines: &[A::Pixel], out: &mut [A::Pixel]) {
    let length = out.len();
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut sums = [A::START; BLOCK];
        for (tap, &weight) in window.weights.iter().enumerate() {
            let line = &lines[(window.start + tap) * length + block * BLOCK..][..out.len()];
            for (sum, &pixel) in sums.iter_mut().zip(line) {
                *sum = A::add(*sum, weight, pixel);
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = A::finish(sum);
        }
    }
}
