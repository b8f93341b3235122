//! The one vector abstraction: 16 f32 lanes, as one AVX-512 register, two AVX registers, or an array that LLVM vectorises.
//!
//! A kernel is written once, generic over [`Simd`], inside [`kernel!`], which compiles it for every instruction set and
//! picks one at run time from an [`Isa`].

use candle_core::{bail, Result};

/// Lanes of a vector.
pub(crate) const LANES: usize = crate::layout::LANES;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Whatever the target guarantees.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Isa {
    /// The instruction sets that this machine has, narrowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
            }
            let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if avx512 && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                found.push(Self::Avx512);
            }
        }
        found
    }

    /// The name that `RESNET_NATIVE_ISA` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The instruction set that `RESNET_NATIVE_ISA` names, else the widest of the machine.
    pub fn from_environment() -> Result<Self> {
        let available = Self::available();
        let Ok(wanted) = std::env::var("RESNET_NATIVE_ISA") else {
            return Ok(available[available.len() - 1]);
        };
        match available.iter().find(|isa| isa.name() == wanted) {
            Some(&isa) => Ok(isa),
            None => {
                let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
                bail!("RESNET_NATIVE_ISA: expected one of {} on this machine, got {wanted:?}", names.join(", "))
            }
        }
    }
}

/// Sixteen f32 lanes.
///
/// # Safety
/// The functions must be inlined into a function compiled for the instruction set; pointers must cover what is named.
pub(crate) trait Simd: Copy + 'static {
    /// The lanes.
    type V: Copy;
    /// Sums of 16 lanes that fit the registers beside what they are made of.
    const ACCUMULATORS: usize;
    /// Blocks of 16 output channels that a tile of a convolution covers.
    const VECTORS: usize = if Self::ACCUMULATORS >= 24 { 2 } else { 1 };
    /// Pixels, or source channels, that it covers.
    const ROWS: usize = Self::ACCUMULATORS / Self::VECTORS;
    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self::V;
    /// 16 values at `p`.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Writes 16 values to `p`.
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c, rounded once where the hardware does.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Lane by lane: a where a > b, else b; so b where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Lane by lane: `value` where `condition` > 0, else 0.
    unsafe fn where_positive(condition: Self::V, value: Self::V) -> Self::V;
    /// Lane by lane: `value` where a == b, else 0.
    unsafe fn where_equal(a: Self::V, b: Self::V, value: Self::V) -> Self::V;
    /// Lane by lane: `value` where a > b or a is NaN, else `other`.
    unsafe fn where_above(a: Self::V, b: Self::V, value: Self::V, other: Self::V) -> Self::V;

    /// sums += p\[OFFSET\] · vectors, for one or two vectors: the heart of a convolution.
    #[inline(always)]
    unsafe fn add_scaled<const N: usize, const OFFSET: usize>(
        sums: &mut [Self::V; N],
        p: *const f32,
        vectors: &[Self::V; N],
    ) {
        // SAFETY: the caller grants a value at `p + OFFSET`.
        unsafe {
            let value = Self::splat(*p.add(OFFSET));
            for (sum, &vector) in sums.iter_mut().zip(vectors) {
                *sum = Self::fma(value, vector, *sum);
            }
        }
    }

    /// Starts to bring the cache line at `p`, which may be any address, near the core.
    #[inline(always)]
    fn prefetch(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch touches no memory as far as the program can tell; every x86-64 machine has it.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }

    /// The first `count` (at most 16) values at `p`, the rest zero.
    #[inline(always)]
    unsafe fn load_first(p: *const f32, count: usize) -> Self::V {
        let mut lanes = [0f32; LANES];
        // SAFETY: the caller grants `count` values at `p`; `lanes` has 16.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }

    /// Writes the first `count` (at most 16) lanes to `p`.
    #[inline(always)]
    unsafe fn store_first(p: *mut f32, v: Self::V, count: usize) {
        let lanes = Self::lanes(v);
        // SAFETY: the caller grants `count` places at `p`; `lanes` has 16.
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, count) }
    }

    /// The lanes as an array.
    #[inline(always)]
    fn lanes(v: Self::V) -> [f32; LANES] {
        let mut lanes = [0f32; LANES];
        // SAFETY: `lanes` has 16 places.
        unsafe { Self::store(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// The sum of the lanes, added in a fixed tree.
    #[inline(always)]
    fn sum(v: Self::V) -> f32 {
        let mut lanes = Self::lanes(v);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

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
    unsafe fn where_above(a: Self::V, b: Self::V, value: Self::V, other: Self::V) -> Self::V {
        lanewise!(|i| if (a[i] > b[i]) | a[i].is_nan() { value[i] } else { other[i] })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
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
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Compiles a function that is generic over [`Simd`] for every instruction set, and makes the function of that name which
/// takes an [`Isa`] first and calls the right one.
macro_rules! kernel {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$S:ident>($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[inline]
        $vis fn $name(isa: $crate::Isa, $($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            unsafe fn generic<$S: $crate::simd::Simd>($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $type),*) $(-> $ret)? {
                // SAFETY: compiled for AVX2 and FMA.
                unsafe { generic::<$crate::simd::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512($($arg: $type),*) $(-> $ret)? {
                // SAFETY: compiled for AVX-512.
                unsafe { generic::<$crate::simd::Avx512>($($arg),*) }
            }
            // SAFETY: an `Isa` other than `Portable` exists only where the machine was found to have it.
            unsafe {
                match isa {
                    $crate::Isa::Portable => generic::<$crate::simd::Portable>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx512 => avx512($($arg),*),
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => unreachable!("an x86 instruction set on another architecture"),
                }
            }
        }
    };
}
pub(crate) use kernel;
