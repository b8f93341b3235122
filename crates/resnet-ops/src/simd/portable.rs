//! Lanes in an array.

use super::{Simd, LANES};

/// Arrays of 16, which LLVM turns into whatever the target has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

macro_rules! lanewise {
    (|$i:ident| $value:expr) => {{
        let mut lanes = [0f32; LANES];
        for $i in 0..LANES {
            lanes[$i] = $value;
        }
        lanes
    }};
}

impl Simd for Portable {
    type V = [f32; LANES];
    type Part = Self;
    const ACCUMULATORS: usize = 3;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller grants 16 values at `p`.
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: the caller grants 16 places at `p`.
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        lanewise!(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        lanewise!(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        lanewise!(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        lanewise!(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        lanewise!(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn where_positive(condition: Self::V, value: Self::V) -> Self::V {
        lanewise!(|i| if condition[i] > 0.0 { value[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn where_equal(a: Self::V, b: Self::V, value: Self::V) -> Self::V {
        lanewise!(|i| if a[i] == b[i] { value[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn difference_of_integers(a: Self::V, b: Self::V) -> Self::V {
        lanewise!(|i| a[i].to_bits().wrapping_sub(b[i].to_bits()) as i32 as f32)
    }
    #[inline(always)]
    unsafe fn where_above(a: Self::V, b: Self::V, value: Self::V, other: Self::V) -> Self::V {
        lanewise!(|i| if (a[i] > b[i]) | a[i].is_nan() { value[i] } else { other[i] })
    }
}
