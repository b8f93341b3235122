//! Lanes in the registers of NEON, which every arm64 machine has.
//!
//! ```text
//!   a vector: four registers of four lanes      a tile of 6 pixels x 1 vector: 24 sums, 4 weights, a pixel's value of which
//!   ┌────┬────┬────┬────┐                       a lane multiplies (`fmla v, v, v.s[0]`), of 32 registers
//!   └────┴────┴────┴────┘
//! ```
//!
//! Sums run as those of AVX2 do, tile by tile and lane by lane, with the same roundings: both give the same bits.

use super::{Part, Simd, LANES};
use std::arch::aarch64::*;
use std::arch::asm;

/// Four 128-bit registers.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// The same for each of the four registers.
macro_rules! each {
    (|$q:ident| $value:expr) => {{
        let value = |$q: usize| $value;
        [value(0), value(1), value(2), value(3)]
    }};
}

// SAFETY (all functions): every arm64 machine has NEON; the caller grants 16 values at pointers.
#[allow(clippy::undocumented_unsafe_blocks, unused_unsafe)]
impl Simd for Neon {
    type V = [float32x4_t; 4];
    type Part = Self;
    const ACCUMULATORS: usize = 6;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        unsafe { [vdupq_n_f32(value); 4] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        each!(|q| unsafe { vld1q_f32(p.add(4 * q)) })
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        each!(|q| unsafe { vst1q_f32(p.add(4 * q), v[q]) });
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each!(|q| unsafe { vaddq_f32(a[q], b[q]) })
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each!(|q| unsafe { vsubq_f32(a[q], b[q]) })
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each!(|q| unsafe { vmulq_f32(a[q], b[q]) })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each!(|q| unsafe { vfmaq_f32(c[q], a[q], b[q]) })
    }
    #[inline(always)]
    unsafe fn add_scaled<const N: usize, const OFFSET: usize>(
        sums: &mut [Self::V; N],
        p: *const f32,
        vectors: &[Self::V; N],
    ) {
        unsafe {
            let value = [<Self as Part>::spread::<LANES>(p, OFFSET); 4];
            for (sum, &vector) in sums.iter_mut().zip(vectors) {
                *sum = <Self as Simd>::fma(value, vector, *sum);
            }
        }
    }
    #[inline(always)]
    unsafe fn add_products<const N: usize, const O: usize>(
        sums: &mut [[Self::V; O]; N],
        a: *const f32,
        a_pitch: usize,
        b: *const f32,
        b_pitch: usize,
    ) {
        // A quarter of the lanes after the other: of whole rows there are more than registers.
        for q in 0..4 {
            let mut rows = [unsafe { vdupq_n_f32(0.0) }; O];
            for o in 0..O {
                rows[o] = unsafe { vld1q_f32(b.add(o * b_pitch + 4 * q)) };
            }
            for n in 0..N {
                let a = unsafe { vld1q_f32(a.add(n * a_pitch + 4 * q)) };
                for o in 0..O {
                    sums[n][o][q] = unsafe { vfmaq_f32(sums[n][o][q], a, rows[o]) };
                }
            }
            Self::load_later();
        }
    }
    #[inline(always)]
    fn load_later() {
        // SAFETY: no instruction, but one that the compiler must take to change memory.
        unsafe { asm!("", options(nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn transpose(source: *const f32, source_pitch: usize, target: *mut f32, target_pitch: usize) {
        for i in (0..16).step_by(4) {
            for j in (0..16).step_by(4) {
                unsafe {
                    let (source, target) = (source.add(i * source_pitch + j), target.add(j * target_pitch + i));
                    let rows = each!(|q| vld1q_f32(source.add(q * source_pitch)));
                    // Pairs of values change places, then pairs of pairs.
                    let pairs = [
                        vtrn1q_f32(rows[0], rows[1]),
                        vtrn2q_f32(rows[0], rows[1]),
                        vtrn1q_f32(rows[2], rows[3]),
                        vtrn2q_f32(rows[2], rows[3]),
                    ];
                    let pairs = each!(|q| vreinterpretq_f64_f32(pairs[q]));
                    let columns = [
                        vtrn1q_f64(pairs[0], pairs[2]),
                        vtrn1q_f64(pairs[1], pairs[3]),
                        vtrn2q_f64(pairs[0], pairs[2]),
                        vtrn2q_f64(pairs[1], pairs[3]),
                    ];
                    each!(|q| vst1q_f32(target.add(q * target_pitch), vreinterpretq_f32_f64(columns[q])));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each!(|q| unsafe { <Self as Part>::max(a[q], b[q]) })
    }
    #[inline(always)]
    unsafe fn where_positive(condition: Self::V, value: Self::V) -> Self::V {
        each!(|q| unsafe { only(vcgtzq_f32(condition[q]), value[q]) })
    }
    #[inline(always)]
    unsafe fn where_equal(a: Self::V, b: Self::V, value: Self::V) -> Self::V {
        each!(|q| unsafe { only(vceqq_f32(a[q], b[q]), value[q]) })
    }
    #[inline(always)]
    unsafe fn difference_of_integers(a: Self::V, b: Self::V) -> Self::V {
        each!(|q| unsafe { vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_f32(a[q]), vreinterpretq_s32_f32(b[q]))) })
    }
    #[inline(always)]
    unsafe fn where_above(a: Self::V, b: Self::V, value: Self::V, other: Self::V) -> Self::V {
        each!(|q| unsafe {
            let number = vceqq_f32(a[q], a[q]);
            vbslq_f32(vornq_u32(vcgtq_f32(a[q], b[q]), number), value[q], other[q])
        })
    }
}

/// Lane by lane: `value` where the mask is set, else 0.
#[inline(always)]
#[allow(unused_unsafe)]
unsafe fn only(mask: uint32x4_t, value: float32x4_t) -> float32x4_t {
    // SAFETY: every arm64 machine has NEON.
    unsafe { vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(value))) }
}

// SAFETY (all functions): every arm64 machine has NEON; the caller grants 4 values at pointers.
#[allow(clippy::undocumented_unsafe_blocks, unused_unsafe)]
impl Part for Neon {
    type R = float32x4_t;
    const LANES: usize = 4;
    const SUMS: usize = 14;
    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, r: float32x4_t) {
        unsafe { vst1q_f32(p, r) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn pin(r: &mut float32x4_t) {
        unsafe { asm!("/* {0:v} */", inout(vreg) * r, options(nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn spread<const GROUP: usize>(p: *const f32, j: usize) -> float32x4_t {
        unsafe {
            match GROUP {
                1 => vld1q_f32(p),
                _ => {
                    let mut value = *p.add(j);
                    // LLVM would spread it in a load, which takes a turn of a unit that multiplies; `fmla` spreads a lane for nothing.
                    asm!("/* {0:s} */", inout(vreg) value, options(pure, nomem, nostack, preserves_flags));
                    vdupq_n_f32(value)
                }
            }
        }
    }
}
