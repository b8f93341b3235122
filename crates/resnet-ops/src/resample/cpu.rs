//! Resampling of one plane.

use super::{Arithmetic, Passes, Window};
use crate::Isa;

/// Outputs that are summed at once: enough for the widest registers.
const BLOCK: usize = 32;

impl<A: Arithmetic> Passes<A> {
    /// Resamples a plane of `height` rows to `out`, a row for each window down, a column for each across; `scratch`, of any length,
    /// keeps its memory from call to call.
    pub fn run(&self, plane: &[A::Pixel], height: usize, out: &mut [A::Pixel], scratch: &mut Vec<A::Pixel>) {
        match Isa::from_environment().unwrap_or(Isa::Portable) {
            Isa::Portable => self.run_with(plane, height, out, scratch),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has AVX2, or there would be no such `Isa`.
            Isa::Avx2 | Isa::Avx512 => unsafe { self.run_with_avx2(plane, height, out, scratch) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => unreachable!("an x86 instruction set on another architecture"),
        }
    }

    /// The same code compiled for AVX2; without FMA no rounding changes.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn run_with_avx2(
        &self,
        plane: &[A::Pixel],
        height: usize,
        out: &mut [A::Pixel],
        scratch: &mut Vec<A::Pixel>,
    ) {
        self.run_with(plane, height, out, scratch);
    }

    #[inline(always)]
    fn run_with(&self, plane: &[A::Pixel], height: usize, out: &mut [A::Pixel], scratch: &mut Vec<A::Pixel>) {
        let width = plane.len() / height;
        // `rows` go across; the plane between the passes is `between` wide.
        let (rows, between) = if self.down_first { (self.down.len(), width) } else { (height, self.across.len()) };
        scratch.resize(rows * between + rows * width + rows, A::Pixel::default());
        let (middle, workspace) = scratch.split_at_mut(rows * between);
        if self.down_first {
            go_down::<A>(&self.down, plane, width, middle);
            go_across::<A>(&self.across, middle, rows, out, workspace);
        } else {
            go_across::<A>(&self.across, plane, rows, middle, workspace);
            go_down::<A>(&self.down, middle, between, out);
        }
    }
}

/// One output row for each window.
#[inline(always)]
fn go_down<A: Arithmetic>(windows: &[Window<A::Sum>], plane: &[A::Pixel], width: usize, out: &mut [A::Pixel]) {
    for (window, row) in windows.iter().zip(out.chunks_exact_mut(width)) {
        weigh::<A>(window, plane, row);
    }
}

/// One output column for each window. `workspace` has room for the plane and a column: on the transposed plane whole columns are
/// added, which vectorises as the pass down does.
#[inline(always)]
fn go_across<A: Arithmetic>(
    windows: &[Window<A::Sum>],
    plane: &[A::Pixel],
    height: usize,
    out: &mut [A::Pixel],
    workspace: &mut [A::Pixel],
) {
    let (columns, column) = workspace.split_at_mut(plane.len());
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
#[inline(always)]
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
