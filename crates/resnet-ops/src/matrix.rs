//! Products of matrices in tiles of accumulators that stay in registers.

use crate::blocked::LANES;
use crate::simd::{kernel, Part, Simd};

/// A matrix with a step of its own for either index, so that it can be read transposed.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl Matrix<'_> {
    /// Where an element lies, checked to leave room for `rows` by `columns` elements from there.
    fn at(&self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> *const f32 {
        let start = row * self.row + column * self.column;
        self.values[start..=start + (rows - 1) * self.row + (columns - 1) * self.column].as_ptr()
    }
}

/// A matrix of which whole rows are written, `row` elements each.
pub(crate) struct Output<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) row: usize,
}

impl Output<'_> {
    fn at(&mut self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> *mut f32 {
        let start = row * self.row + column;
        self.values[start..start + (rows - 1) * self.row + columns].as_mut_ptr()
    }
}

/// Starts of whole tiles, then of tiles of one, that cover `0..len`; and whether the tile is whole.
fn tiles(len: usize, tile: usize) -> impl Iterator<Item = (usize, bool)> {
    let whole = len / tile * tile;
    (0..whole).step_by(tile).map(|start| (start, true)).chain((whole..len).map(|start| (start, false)))
}

/// y\[n, o\] = x\[n\]·weights\[o\] + bias\[o\], `depth` products each; `bias` is empty if there is none.
#[derive(Clone, Copy)]
pub(crate) struct Dots<'a> {
    pub(crate) depth: usize,
    pub(crate) outputs: usize,
    pub(crate) x: Matrix<'a>,
    pub(crate) weights: Matrix<'a>,
    pub(crate) bias: &'a [f32],
}

kernel! {
    pub(crate) fn dots<S>(product: Dots, y: &mut Output) {
        // SAFETY: compiled for the instruction set of S.
        unsafe {
            match (S::ACCUMULATORS, sums::<S>()) {
                (16.., _) => product.in_tiles::<S, 4, 4>(y),
                (_, 24..) => product.in_tiles::<S, 2, 3>(y),
                _ => product.in_tiles::<S, 2, 2>(y),
            }
        }
    }
}

/// Registers of sums that fit beside what they are made of.
const fn sums<S: Simd>() -> usize {
    S::ACCUMULATORS * (LANES / <S::Part as Part>::LANES)
}

// SAFETY (all unsafe functions): as for those of `Simd`.
impl Dots<'_> {
    #[inline(always)]
    unsafe fn in_tiles<S: Simd, const N: usize, const O: usize>(self, y: &mut Output) {
        for (o, whole_o) in tiles(self.outputs, O) {
            for (n, whole_n) in tiles(y.values.len() / y.row, N) {
                // SAFETY: as for the caller.
                unsafe {
                    match (whole_n, whole_o) {
                        (true, true) => self.tile::<S, N, O>(n, o, y),
                        (true, false) => self.tile::<S, N, 1>(n, o, y),
                        (false, true) => self.tile::<S, 1, O>(n, o, y),
                        (false, false) => self.tile::<S, 1, 1>(n, o, y),
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize, const O: usize>(self, n: usize, o: usize, y: &mut Output) {
        let mut x = self.x.at([n, 0], [N, self.depth]);
        let mut weights = self.weights.at([o, 0], [O, self.depth]);
        // SAFETY: `at` has checked N rows of x and O rows of weights, `depth` elements each.
        let sums = unsafe {
            let mut sums = [[S::splat(0.0); O]; N];
            for _ in 0..self.depth / LANES {
                self.step::<S, N, O, true>(x, weights, &mut sums);
                (x, weights) = (x.add(LANES), weights.add(LANES));
            }
            if !self.depth.is_multiple_of(LANES) {
                self.step::<S, N, O, false>(x, weights, &mut sums);
            }
            sums
        };
        for (n_in_tile, sums) in sums.iter().enumerate() {
            for (o_in_tile, &sum) in sums.iter().enumerate() {
                let bias = self.bias.get(o + o_in_tile).copied().unwrap_or(0.0);
                y.values[(n + n_in_tile) * y.row + o + o_in_tile] = S::sum(sum) + bias;
            }
        }
    }

    /// One vector's worth of products; of the last vector, unless it is whole, what there is.
    #[inline(always)]
    unsafe fn step<S: Simd, const N: usize, const O: usize, const WHOLE: bool>(
        self,
        x: *const f32,
        weights: *const f32,
        sums: &mut [[S::V; O]; N],
    ) {
        // SAFETY: as for the caller.
        unsafe {
            if WHOLE {
                return S::add_products(sums, x, self.x.row, weights, self.weights.row);
            }
            let mut w = [S::splat(0.0); O];
            for o in 0..O {
                w[o] = S::load_first(weights.add(o * self.weights.row), self.depth % LANES);
            }
            for n in 0..N {
                let x = S::load_first(x.add(n * self.x.row), self.depth % LANES);
                for o in 0..O {
                    sums[n][o] = S::fma(x, w[o], sums[n][o]);
                }
            }
        }
    }
}

/// c\[m\] = Σ over d < depth of a\[m, d\]·b\[d\], added to what c holds if `accumulate`. Rows of b have `width` elements;
/// what a row of c has beyond becomes zero.
#[derive(Clone, Copy)]
pub(crate) struct RowSums<'a> {
    pub(crate) depth: usize,
    pub(crate) width: usize,
    pub(crate) a: Matrix<'a>,
    pub(crate) b: Matrix<'a>,
    pub(crate) accumulate: bool,
}

kernel! {
    pub(crate) fn sum_rows<S>(sums: RowSums, c: &mut Output) {
        // SAFETY: compiled for the instruction set of S.
        unsafe {
            match (S::ACCUMULATORS, self::sums::<S>()) {
                (24.., _) => sums.in_tiles::<S, 8, 3>(c),
                (_, 24..) => sums.in_tiles::<S, 4, 1>(c),
                _ => sums.in_tiles::<S, 2, 2>(c),
            }
        }
    }
}

// SAFETY (all unsafe functions): as for those of `Simd`.
impl RowSums<'_> {
    #[inline(always)]
    unsafe fn in_tiles<S: Simd, const M: usize, const V: usize>(self, c: &mut Output) {
        let vectors = self.width / LANES;
        // SAFETY: as for the caller.
        unsafe {
            for (vector, whole) in tiles(vectors, V) {
                match whole {
                    true => self.columns::<S, M, V, true>(vector * LANES, c),
                    false => self.columns::<S, M, 1, true>(vector * LANES, c),
                }
            }
            if !self.width.is_multiple_of(LANES) {
                self.columns::<S, M, 1, false>(vectors * LANES, c);
            }
        }
    }

    #[inline(always)]
    unsafe fn columns<S: Simd, const M: usize, const V: usize, const WHOLE: bool>(self, j: usize, c: &mut Output) {
        for (m, whole) in tiles(c.values.len() / c.row, M) {
            // SAFETY: as for the caller.
            unsafe {
                match whole {
                    true => self.tile::<S, M, V, WHOLE>(m, j, c),
                    false => self.tile::<S, 1, V, WHOLE>(m, j, c),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const V: usize, const WHOLE: bool>(
        self,
        m: usize,
        j: usize,
        c: &mut Output,
    ) {
        let (read, written) = ((V * LANES).min(self.width - j), (V * LANES).min(c.row - j));
        let (a, b) = (self.a.at([m, 0], [M, self.depth]), self.b.at([0, j], [self.depth, read]));
        let (row, c) = (c.row, c.at([m, j], [M, written]));
        // SAFETY: `at` has checked M by `depth` elements of a, `depth` by `read` of b and M by `written` of c.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; M];
            for d in 0..self.depth {
                let mut values = [S::splat(0.0); V];
                for v in 0..V {
                    values[v] = load::<S, WHOLE>(b.add(d * self.b.row + v * LANES), read);
                }
                for m in 0..M {
                    let factor = S::splat(*a.add(m * self.a.row + d * self.a.column));
                    for v in 0..V {
                        sums[m][v] = S::fma(factor, values[v], sums[m][v]);
                    }
                }
            }
            for m in 0..M {
                for v in 0..V {
                    let (c, count) = (c.add(m * row + v * LANES), LANES.min(written - v * LANES));
                    let before = if self.accumulate { S::load_first(c, count) } else { S::splat(0.0) };
                    S::store_first(c, S::add(before, sums[m][v]), count);
                }
            }
        }
    }
}

/// The 16 values at `p`, or only the first `count`, the rest zero.
///
/// # Safety
/// As for the functions of [`Simd`].
#[inline(always)]
unsafe fn load<S: Simd, const WHOLE: bool>(p: *const f32, count: usize) -> S::V {
    // SAFETY: the caller grants them.
    unsafe {
        match WHOLE {
            true => S::load(p),
            false => S::load_first(p, count),
        }
    }
}
