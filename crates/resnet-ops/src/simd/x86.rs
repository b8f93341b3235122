//! Lanes in the registers of AVX-512, and of AVX2 with FMA.

use super::Simd;
use std::arch::x86_64::*;

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// sum0 += p\[OFFSET\] · vector0, sum1 += p\[OFFSET\] · vector1. Written out, because LLVM would load the values of all
/// rows of a tile first and then lack registers for the sums.
macro_rules! add_scaled_pair {
    ($name:ident, $feature:literal, $class:ident, $vector:ty) => {
        #[inline]
        #[target_feature(enable = $feature)]
        unsafe fn $name<const OFFSET: usize>(sums: [&mut $vector; 2], p: *const f32, vectors: [$vector; 2]) {
            // Only its type matters: it tells the register's size.
            let _value: $vector;
            // SAFETY: reads one value at `p + OFFSET`, which the caller grants, and touches nothing but registers else.
            unsafe {
                std::arch::asm!(
                    "vbroadcastss {value}, dword ptr [{p} + {offset}]",
                    "vfmadd231ps {sum0}, {value}, {vector0}",
                    "vfmadd231ps {sum1}, {value}, {vector1}",
                    value = out($class) _value,
                    p = in(reg) p,
                    offset = const OFFSET * size_of::<f32>(),
                    sum0 = inout($class) *sums[0],
                    sum1 = inout($class) *sums[1],
                    vector0 = in($class) vectors[0],
                    vector1 = in($class) vectors[1],
                    options(pure, readonly, nostack, preserves_flags),
                )
            }
        }
    };
}
add_scaled_pair!(add_scaled_zmm, "avx512f", zmm_reg, __m512);
add_scaled_pair!(add_scaled_ymm, "avx2,fma", ymm_reg, __m256);

// SAFETY (all functions): inlined into code compiled for AVX-512; the caller grants 16 values at pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx512 {
    type V = __m512;
    type Part = Self;
    const ACCUMULATORS: usize = 24;
    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add_scaled<const N: usize, const OFFSET: usize>(
        sums: &mut [__m512; N],
        p: *const f32,
        vectors: &[__m512; N],
    ) {
        unsafe {
            if let ([sum0, sum1, ..], [vector0, vector1, ..]) = (&mut sums[..], &vectors[..]) {
                return add_scaled_zmm::<OFFSET>([sum0, sum1], p, [*vector0, *vector1]);
            }
            sums[0] = Self::fma(Self::splat(*p.add(OFFSET)), vectors[0], sums[0]);
        }
    }
    #[inline(always)]
    unsafe fn transpose(source: *const f32, source_pitch: usize, target: *mut f32, target_pitch: usize) {
        unsafe {
            // A loop, because a closure would not be compiled for the instruction set.
            let mut rows = [_mm512_setzero_ps(); 16];
            for i in 0..16 {
                rows[i] = _mm512_loadu_ps(source.add(i * source_pitch));
            }
            // Within each 128-bit part of four rows, 4 x 4 values; then the parts change places.
            let mut quads = [_mm512_setzero_ps(); 16];
            for i in (0..16).step_by(4) {
                let (low0, high0) =
                    (_mm512_unpacklo_ps(rows[i], rows[i + 1]), _mm512_unpackhi_ps(rows[i], rows[i + 1]));
                let (low1, high1) =
                    (_mm512_unpacklo_ps(rows[i + 2], rows[i + 3]), _mm512_unpackhi_ps(rows[i + 2], rows[i + 3]));
                quads[i] = _mm512_shuffle_ps::<0x44>(low0, low1);
                quads[i + 1] = _mm512_shuffle_ps::<0xee>(low0, low1);
                quads[i + 2] = _mm512_shuffle_ps::<0x44>(high0, high1);
                quads[i + 3] = _mm512_shuffle_ps::<0xee>(high0, high1);
            }
            for j in 0..4 {
                let (even0, odd0) = (
                    _mm512_shuffle_f32x4::<0x88>(quads[j], quads[j + 4]),
                    _mm512_shuffle_f32x4::<0xdd>(quads[j], quads[j + 4]),
                );
                let (even1, odd1) = (
                    _mm512_shuffle_f32x4::<0x88>(quads[j + 8], quads[j + 12]),
                    _mm512_shuffle_f32x4::<0xdd>(quads[j + 8], quads[j + 12]),
                );
                _mm512_storeu_ps(target.add(j * target_pitch), _mm512_shuffle_f32x4::<0x88>(even0, even1));
                _mm512_storeu_ps(target.add((j + 4) * target_pitch), _mm512_shuffle_f32x4::<0x88>(odd0, odd1));
                _mm512_storeu_ps(target.add((j + 8) * target_pitch), _mm512_shuffle_f32x4::<0xdd>(even0, even1));
                _mm512_storeu_ps(target.add((j + 12) * target_pitch), _mm512_shuffle_f32x4::<0xdd>(odd0, odd1));
            }
        }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn where_positive(condition: __m512, value: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(condition, _mm512_setzero_ps()), value) }
    }
    #[inline(always)]
    unsafe fn where_equal(a: __m512, b: __m512, value: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), value) }
    }
    #[inline(always)]
    unsafe fn difference_of_integers(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
    }
    #[inline(always)]
    unsafe fn where_above(a: __m512, b: __m512, value: __m512, other: __m512) -> __m512 {
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_mask_mov_ps(other, above, value)
        }
    }
}

/// Two 256-bit registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

// SAFETY (all functions): inlined into code compiled for AVX2 and FMA; the caller grants 16 values at pointers.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx2 {
    type V = [__m256; 2];
    type Part = Self;
    const ACCUMULATORS: usize = 6;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    unsafe fn add_scaled<const N: usize, const OFFSET: usize>(
        sums: &mut [Self::V; N],
        p: *const f32,
        vectors: &[Self::V; N],
    ) {
        for (sum, &vector) in sums.iter_mut().zip(vectors) {
            let [sum0, sum1] = sum;
            unsafe { add_scaled_ymm::<OFFSET>([sum0, sum1], p, vector) }
        }
    }
    #[inline(always)]
    unsafe fn transpose(source: *const f32, source_pitch: usize, target: *mut f32, target_pitch: usize) {
        for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            unsafe {
                let (source, target) = (source.add(i * source_pitch + j), target.add(j * target_pitch + i));
                let mut rows = [_mm256_setzero_ps(); 8];
                for i in 0..8 {
                    rows[i] = _mm256_loadu_ps(source.add(i * source_pitch));
                }
                // Within each 128-bit half of four rows, 4 x 4 values; then the halves change places.
                let mut quads = [_mm256_setzero_ps(); 8];
                for i in [0, 4] {
                    let (low0, high0) =
                        (_mm256_unpacklo_ps(rows[i], rows[i + 1]), _mm256_unpackhi_ps(rows[i], rows[i + 1]));
                    let (low1, high1) =
                        (_mm256_unpacklo_ps(rows[i + 2], rows[i + 3]), _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]));
                    quads[i] = _mm256_shuffle_ps::<0x44>(low0, low1);
                    quads[i + 1] = _mm256_shuffle_ps::<0xee>(low0, low1);
                    quads[i + 2] = _mm256_shuffle_ps::<0x44>(high0, high1);
                    quads[i + 3] = _mm256_shuffle_ps::<0xee>(high0, high1);
                }
                for j in 0..4 {
                    let (first, second) = (quads[j], quads[j + 4]);
                    _mm256_storeu_ps(target.add(j * target_pitch), _mm256_permute2f128_ps::<0x20>(first, second));
                    _mm256_storeu_ps(target.add((j + 4) * target_pitch), _mm256_permute2f128_ps::<0x31>(first, second));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn where_positive(condition: Self::V, value: Self::V) -> Self::V {
        unsafe {
            let zero = _mm256_setzero_ps();
            [
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(condition[0], zero), value[0]),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(condition[1], zero), value[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn where_equal(a: Self::V, b: Self::V, value: Self::V) -> Self::V {
        unsafe {
            [
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0]), value[0]),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1]), value[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn difference_of_integers(a: Self::V, b: Self::V) -> Self::V {
        let mut numbers = a;
        for half in 0..2 {
            numbers[half] = unsafe {
                let (a, b) = (_mm256_castps_si256(a[half]), _mm256_castps_si256(b[half]));
                _mm256_cvtepi32_ps(_mm256_sub_epi32(a, b))
            };
        }
        numbers
    }
    #[inline(always)]
    unsafe fn where_above(a: Self::V, b: Self::V, value: Self::V, other: Self::V) -> Self::V {
        let mut chosen = other;
        for half in 0..2 {
            chosen[half] = unsafe {
                let above = _mm256_cmp_ps::<_CMP_GT_OQ>(a[half], b[half]);
                let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(a[half], a[half]);
                _mm256_blendv_ps(other[half], value[half], _mm256_or_ps(above, nan))
            };
        }
        chosen
    }
}
