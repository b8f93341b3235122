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
            // Where there is NEON, the target guarantees it.
            Isa::Portable | Isa::Neon => self.run_with(plane, height, out, scratch),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has AVX2, or there would be no such `Isa`.
            Isa::Avx2 | Isa::Avx512 => unsafe { self.run_with_avx2(plane, height, out, scratch) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => unreachable!("an x86 instruction set on another architecture"),
        }
    }

    /// Values that a plane of this height and width needs between the passes: so much room `scratch` will have.
    pub fn scratch_len(&self, size: [usize; 2]) -> usize {
        let (rows, between) = self.between(size);
        rows * between + rows * size[1] + rows * self.across.len()
    }

    /// Rows that go across, and the width of the plane between the passes.
    fn between(&self, [height, width]: [usize; 2]) -> (usize, usize) {
        if self.down_first {
            (self.down.len(), width)
        } else {
            (height, self.across.len())
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
        let (rows, between) = self.between([height, width]);
        scratch.resize(self.scratch_len([height, width]), A::Pixel::default());
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

/// One output column for each window. `workspace` has room for the plane and the output: on the transposed plane whole columns are added,
/// which vectorises as the pass down does.
#[inline(always)]
fn go_across<A: Arithmetic>(
    windows: &[Window<A::Sum>],
    plane: &[A::Pixel],
    height: usize,
    out: &mut [A::Pixel],
    workspace: &mut [A::Pixel],
) {
    let (columns, made) = workspace.split_at_mut(plane.len());
    A::transpose(plane, height, columns);
    go_down::<A>(windows, columns, height, made);
    A::transpose(&made[..out.len()], windows.len(), out);
}

/// Turns rows into columns, pixel by pixel.
#[inline(always)]
pub(super) fn transpose<P: Copy>(from: &[P], rows: usize, to: &mut [P]) {
    for (y, row) in from.chunks_exact(from.len() / rows).enumerate() {
        row.iter().enumerate().for_each(|(x, &pixel)| to[x * rows + y] = pixel);
    }
}

/// The same of bytes, in squares of eight.
#[inline(always)]
pub(super) fn transpose_bytes(from: &[u8], rows: usize, to: &mut [u8]) {
    const SIDE: usize = 8;
    /// Exchanges the parts of two rows that stand across the diagonal of a square of four parts.
    fn exchange(square: &mut [u64; SIDE], distance: usize, bits: u32, mask: u64) {
        for upper in (0..SIDE).filter(|row| row & distance == 0) {
            let differing = (square[upper] >> bits ^ square[upper + distance]) & mask;
            square[upper + distance] ^= differing;
            square[upper] ^= differing << bits;
        }
    }
    let width = from.len() / rows;
    let (whole_rows, whole_columns) = (rows / SIDE * SIDE, width / SIDE * SIDE);
    for top in (0..whole_rows).step_by(SIDE) {
        for left in (0..whole_columns).step_by(SIDE) {
            let row =
                |i: usize| from[(top + i) * width + left..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let mut square: [u64; SIDE] = std::array::from_fn(row);
            exchange(&mut square, 4, 32, 0xffff_ffff);
            exchange(&mut square, 2, 16, 0x0000_ffff_0000_ffff);
            exchange(&mut square, 1, 8, 0x00ff_00ff_00ff_00ff);
            for (i, bytes) in square.iter().enumerate() {
                to[(left + i) * rows + top..][..SIDE].copy_from_slice(&bytes.to_le_bytes());
            }
        }
    }
    for y in 0..rows {
        let rest = if y < whole_rows { whole_columns } else { 0 };
        (rest..width).for_each(|x| to[x * rows + y] = from[y * width + x]);
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

#[cfg(test)]
mod tests {
    use super::{transpose, transpose_bytes};

    #[test]
    fn bytes_are_transposed_like_anything_else() {
        for (rows, width) in [(8, 8), (16, 24), (1, 30), (30, 1), (7, 9), (19, 8), (23, 41)] {
            let from: Vec<u8> = (0..rows * width).map(|i| (i * 37 % 251) as u8).collect();
            let [mut expected, mut found] = [vec![0; from.len()], vec![1; from.len()]];
            transpose(&from, rows, &mut expected);
            transpose_bytes(&from, rows, &mut found);
            assert_eq!(found, expected, "{rows}x{width}");
        }
    }
}
