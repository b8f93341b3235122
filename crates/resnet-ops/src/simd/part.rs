//! One register of a vector, for kernels that need more sums than there is room for whole vectors.

use super::{Portable, LANES};

/// A register of 16, 8 or 4 f32 lanes.
///
/// # Safety
/// As for [`super::Simd`].
pub(crate) trait Part: Copy + 'static {
    /// The register.
    type R: Copy;
    /// Its lanes.
    const LANES: usize;
    /// Sums that fit the registers beside four more.
    const SUMS: usize;
    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self::R;
    /// The values at `p`, one a lane.
    unsafe fn load(p: *const f32) -> Self::R;
    /// Writes the lanes to `p`.
    unsafe fn store(p: *mut f32, r: Self::R);
    /// a + b
    unsafe fn add(a: Self::R, b: Self::R) -> Self::R;
    /// Lane by lane: a where a > b, else b; so b where either is NaN.
    unsafe fn max(a: Self::R, b: Self::R) -> Self::R;
    /// a·b + c, rounded once where the hardware does.
    unsafe fn fma(a: Self::R, b: Self::R, c: Self::R) -> Self::R;
    /// Lane by lane: value number `j` of the lane's group, where groups of GROUP (1, 4, 8 or 16) values begin at `p`; all
    /// lanes are of the first if it is as wide as the register. Never wider, but `j` may be.
    unsafe fn spread<const GROUP: usize>(p: *const f32, j: usize) -> Self::R;
    /// Makes the compiler finish `r` here, before it loads what the code after this loads.
    #[inline(always)]
    unsafe fn pin(_r: &mut Self::R) {}
}

/// A quarter of a vector, as most targets have registers of 128 bits.
const QUARTER: usize = LANES / 4;

impl Part for Portable {
    type R = [f32; QUARTER];
    const LANES: usize = QUARTER;
    const SUMS: usize = 8;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::R {
        [value; QUARTER]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::R {
        // SAFETY: the caller grants 4 values at `p`.
        unsafe { p.cast::<Self::R>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, r: Self::R) {
        // SAFETY: the caller grants 4 places at `p`.
        unsafe { p.cast::<Self::R>().write_unaligned(r) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::R, b: Self::R) -> Self::R {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }
    #[inline(always)]
    unsafe fn max(a: Self::R, b: Self::R) -> Self::R {
        let larger = |i: usize| if a[i] > b[i] { a[i] } else { b[i] };
        [larger(0), larger(1), larger(2), larger(3)]
    }
    #[inline(always)]
    unsafe fn fma(a: Self::R, b: Self::R, c: Self::R) -> Self::R {
        // Written out, as there are thousands of these to compile.
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]]
    }
    #[inline(always)]
    unsafe fn spread<const GROUP: usize>(p: *const f32, j: usize) -> Self::R {
        // SAFETY: the caller grants a register of values at `p`, or value `j` of a group.
        unsafe {
            match GROUP {
                1 => Self::load(p),
                _ => [*p.add(j); QUARTER],
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Part;
    use crate::simd::{Avx2, Avx512};
    use std::arch::asm;
    use std::arch::x86_64::*;

    macro_rules! pin {
        ($name:ident, $feature:literal, $class:ident, $register:ty) => {
            #[inline]
            #[target_feature(enable = $feature)]
            fn $name(r: &mut $register) {
                // SAFETY: no instruction, but one that the compiler must take to change the register and memory.
                unsafe { asm!("/* {} */", inout($class) * r, options(nostack, preserves_flags)) }
            }
        };
    }
    pin!(pin_zmm, "avx512f", zmm_reg, __m512);
    pin!(pin_ymm, "avx2,fma", ymm_reg, __m256);

    // SAFETY (all functions): inlined into code compiled for AVX-512; the caller grants 16 values at pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Part for Avx512 {
        type R = __m512;
        const LANES: usize = 16;
        const SUMS: usize = 14;
        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, r: __m512) {
            unsafe { _mm512_storeu_ps(p, r) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn pin(r: &mut __m512) {
            unsafe { pin_zmm(r) }
        }
        #[inline(always)]
        unsafe fn spread<const GROUP: usize>(p: *const f32, j: usize) -> __m512 {
            unsafe {
                match GROUP {
                    1 => _mm512_loadu_ps(p),
                    4 => {
                        let values = _mm512_loadu_ps(p);
                        match j {
                            0 => _mm512_permute_ps::<0b00_00_00_00>(values),
                            1 => _mm512_permute_ps::<0b01_01_01_01>(values),
                            2 => _mm512_permute_ps::<0b10_10_10_10>(values),
                            _ => _mm512_permute_ps::<0b11_11_11_11>(values),
                        }
                    }
                    8 => {
                        let first = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8);
                        let places = _mm512_add_epi32(first, _mm512_set1_epi32(j as i32));
                        _mm512_permutexvar_ps(places, _mm512_loadu_ps(p))
                    }
                    _ => _mm512_set1_ps(*p.add(j)),
                }
            }
        }
    }

    // SAFETY (all functions): inlined into code compiled for AVX2 and FMA; the caller grants 8 values at pointers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Part for Avx2 {
        type R = __m256;
        const LANES: usize = 8;
        const SUMS: usize = 12;
        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, r: __m256) {
            unsafe { _mm256_storeu_ps(p, r) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn pin(r: &mut __m256) {
            unsafe { pin_ymm(r) }
        }
        #[inline(always)]
        unsafe fn spread<const GROUP: usize>(p: *const f32, j: usize) -> __m256 {
            unsafe {
                match GROUP {
                    1 => _mm256_loadu_ps(p),
                    4 => {
                        let values = _mm256_loadu_ps(p);
                        match j {
                            0 => _mm256_permute_ps::<0b00_00_00_00>(values),
                            1 => _mm256_permute_ps::<0b01_01_01_01>(values),
                            2 => _mm256_permute_ps::<0b10_10_10_10>(values),
                            _ => _mm256_permute_ps::<0b11_11_11_11>(values),
                        }
                    }
                    _ => _mm256_set1_ps(*p.add(j)),
                }
            }
        }
    }
}
