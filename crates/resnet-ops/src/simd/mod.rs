//! The one vector abstraction: 16 f32 lanes, as one AVX-512 register, two AVX registers, four of NEON, or an array that LLVM
//! vectorises.
//!
//! A kernel is written once, generic over [`Simd`], inside [`kernel!`], which compiles it for every instruction set and
//! picks one at run time from an [`Isa`].

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16;
mod int8;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod part;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use bf16::Bf16Products;
pub use int8::Int8Products;
pub use isa::Isa;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use part::Part;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Lanes of a vector.
pub(crate) const LANES: usize = crate::blocked::LANES;

/// Sixteen f32 lanes.
///
/// # Safety
/// The functions must be inlined into a function compiled for the instruction set; pointers must cover what is named.
pub(crate) trait Simd: Copy + 'static {
    /// The lanes.
    type V: Copy;
    /// One register of the 16 lanes.
    type Part: Part;
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
    /// Lane by lane: as a number a - b, which are there as integers of 32 bits.
    unsafe fn difference_of_integers(a: Self::V, b: Self::V) -> Self::V;
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

    /// sums\[n\]\[o\] += the 16 values of row n of a, lane by lane times those of row o of b. Pitches are floats between rows.
    #[inline(always)]
    unsafe fn add_products<const N: usize, const O: usize>(
        sums: &mut [[Self::V; O]; N],
        a: *const f32,
        a_pitch: usize,
        b: *const f32,
        b_pitch: usize,
    ) {
        // SAFETY: the caller grants the rows.
        unsafe {
            let mut rows = [Self::splat(0.0); O];
            for o in 0..O {
                rows[o] = Self::load(b.add(o * b_pitch));
            }
            for n in 0..N {
                let a = Self::load(a.add(n * a_pitch));
                for o in 0..O {
                    sums[n][o] = Self::fma(a, rows[o], sums[n][o]);
                }
            }
        }
    }

    /// Exchanges rows and columns of 16 x 16 values: value j of row i goes to place i of row j. Pitches are floats between rows.
    #[inline(always)]
    unsafe fn transpose(source: *const f32, source_pitch: usize, target: *mut f32, target_pitch: usize) {
        for i in 0..LANES {
            for j in 0..LANES {
                // SAFETY: the caller grants 16 rows of 16 values on both sides.
                unsafe { *target.add(j * target_pitch + i) = *source.add(i * source_pitch + j) };
            }
        }
    }

    /// Keeps the compiler from loading before here what is used after here, where registers are just enough for the sums.
    #[inline(always)]
    fn load_later() {}

    /// Starts to bring the cache line at `p`, which may be any address, near the core.
    #[inline(always)]
    fn prefetch(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch touches no memory as far as the program can tell; every x86-64 machine has it.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
        }
        #[cfg(target_arch = "aarch64")]
        #[allow(clippy::pointers_in_nomem_asm_block)]
        // SAFETY: likewise.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(nomem, nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = p;
    }

    /// Starts to bring the cache line at `p`, which may be any address, to the second-level cache.
    #[inline(always)]
    fn prefetch_far(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.cast());
        }
        #[cfg(target_arch = "aarch64")]
        #[allow(clippy::pointers_in_nomem_asm_block)]
        // SAFETY: likewise.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{p}]", p = in(reg) p, options(nomem, nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
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

/// Compiles a function that is generic over [`Simd`], and maybe sizes, for every instruction set, and makes the function of
/// that name which takes an [`Isa`] first and calls the right one.
macro_rules! kernel {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$S:ident $(, const $size:ident: usize)*>(
        $($arg:ident: $type:ty),* $(,)?
    ) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[inline]
        $vis fn $name<$(const $size: usize),*>(isa: $crate::Isa, $($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            unsafe fn generic<$S: $crate::simd::Simd, $(const $size: usize),*>($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2<$(const $size: usize),*>($($arg: $type),*) $(-> $ret)? {
                // SAFETY: compiled for AVX2 and FMA.
                unsafe { generic::<$crate::simd::Avx2, $($size),*>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512<$(const $size: usize),*>($($arg: $type),*) $(-> $ret)? {
                // SAFETY: compiled for AVX-512.
                unsafe { generic::<$crate::simd::Avx512, $($size),*>($($arg),*) }
            }
            // Functions of their own, as those are: compiled once for all callers, and their instructions can be looked at.
            #[inline(never)]
            unsafe fn portable<$(const $size: usize),*>($($arg: $type),*) $(-> $ret)? {
                // SAFETY: every machine runs it.
                unsafe { generic::<$crate::simd::Portable, $($size),*>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[inline(never)]
            unsafe fn neon<$(const $size: usize),*>($($arg: $type),*) $(-> $ret)? {
                // SAFETY: every arm64 machine has NEON.
                unsafe { generic::<$crate::simd::Neon, $($size),*>($($arg),*) }
            }
            // SAFETY: an `Isa` other than `Portable` exists only where the machine was found to have it.
            unsafe {
                match isa {
                    $crate::Isa::Portable => portable::<$($size),*>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx2 => avx2::<$($size),*>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx512 => avx512::<$($size),*>($($arg),*),
                    #[cfg(not(target_arch = "x86_64"))]
                    $crate::Isa::Avx2 | $crate::Isa::Avx512 => {
                        unreachable!("an x86 instruction set on another architecture")
                    }
                    #[cfg(target_arch = "aarch64")]
                    $crate::Isa::Neon => neon::<$($size),*>($($arg),*),
                    #[cfg(not(target_arch = "aarch64"))]
                    $crate::Isa::Neon => unreachable!("an arm64 instruction set on another architecture"),
                }
            }
        }
    };
}
pub(crate) use kernel;
