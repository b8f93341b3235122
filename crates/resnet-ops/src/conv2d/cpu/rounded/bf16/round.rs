//! Rounding of f32 to bf16, to the nearest and of two as near to the even one; a NaN stays one, denormal numbers become zero.
//!
//! Two of them fill a word, which lies in a float's place. A row is sixteen words:
//!
//! ```text
//!   [`Round::join`]     x0 x1 │ x2 x3 │ … x15 │ y0 y1 │ …       32 channels of a pixel, x and y two blocks of them
//!   [`Round::weave`]    x0 y0 │ x1 y1 │ x2 y2 │ …               16 channels, of each two pixels, or inputs
//! ```

use crate::blocked::LANES;
use crate::conv2d::cpu::rounded::tile::ROW;
use crate::simd::Simd;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A place of zeros.
pub(super) const NOWHERE: usize = usize::MAX;

/// Two numbers in one word.
pub(super) fn word(first: f32, second: f32) -> f32 {
    f32::from_bits(u32::from(round(first)) | u32::from(round(second)) << 16)
}

/// A number's upper half once it is rounded.
pub(super) fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    if !value.is_normal() && value.is_finite() {
        return (bits >> 16) as u16 & 0x8000;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// How vectors of 16 are rounded.
///
/// # Safety
/// The functions must be inlined into a function compiled for the instruction set; pointers must cover 16 values each.
pub(super) trait Round {
    /// What transposes.
    type Lanes: Simd;
    /// Writes a row: the values at `first`, then those at `second`.
    unsafe fn join(first: *const f32, second: *const f32, row: *mut f32);
    /// Writes a row: the values at both by turns.
    unsafe fn weave(first: *const f32, second: *const f32, row: *mut f32);
}

/// One by one.
pub(super) struct OneByOne;

impl Round for OneByOne {
    type Lanes = crate::simd::Portable;

    #[inline(always)]
    unsafe fn join(first: *const f32, second: *const f32, row: *mut f32) {
        for (half, values) in [first, second].into_iter().enumerate() {
            for pair in 0..LANES / 2 {
                // SAFETY: the caller grants 16 values and a row.
                unsafe {
                    *row.add(half * LANES / 2 + pair) = word(*values.add(2 * pair), *values.add(2 * pair + 1));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn weave(first: *const f32, second: *const f32, row: *mut f32) {
        for lane in 0..LANES {
            // SAFETY: as above.
            unsafe { *row.add(lane) = word(*first.add(lane), *second.add(lane)) };
        }
    }
}

/// By AVX512_BF16's instruction.
#[cfg(target_arch = "x86_64")]
pub(super) struct Vectors;

#[cfg(target_arch = "x86_64")]
impl Round for Vectors {
    type Lanes = crate::simd::Avx512;

    #[inline(always)]
    unsafe fn join(first: *const f32, second: *const f32, row: *mut f32) {
        // SAFETY: inlined into code compiled for AVX512_BF16; the caller grants 16 values each and a row.
        unsafe {
            let both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(second), _mm512_loadu_ps(first));
            _mm512_storeu_si512(row.cast(), std::mem::transmute::<__m512bh, __m512i>(both));
        }
    }

    #[inline(always)]
    unsafe fn weave(first: *const f32, second: *const f32, row: *mut f32) {
        const ORDER: [u16; 32] = {
            let mut order = [0; 32];
            let mut lane = 0;
            while lane < LANES {
                (order[2 * lane], order[2 * lane + 1]) = (lane as u16, (LANES + lane) as u16);
                lane += 1;
            }
            order
        };
        // SAFETY: as above.
        unsafe {
            let both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(second), _mm512_loadu_ps(first));
            let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
            let woven = _mm512_permutexvar_epi16(order, std::mem::transmute::<__m512bh, __m512i>(both));
            _mm512_storeu_si512(row.cast(), woven);
        }
    }
}

/// By integers in registers of NEON: its own instruction keeps denormal numbers.
#[cfg(target_arch = "aarch64")]
pub(super) struct Quarters;

#[cfg(target_arch = "aarch64")]
impl Quarters {
    /// The upper halves of four numbers once they are rounded, each in a word.
    #[inline(always)]
    unsafe fn rounded(p: *const f32) -> uint32x4_t {
        // SAFETY: the caller grants four values; every arm64 machine has NEON.
        unsafe {
            let value = vld1q_f32(p);
            let bits = vreinterpretq_u32_f32(value);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let nearest = vshrq_n_u32::<16>(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))));
            let cut = vshrq_n_u32::<16>(bits);
            let denormal = vceqzq_u32(vandq_u32(bits, vdupq_n_u32(0x7f80_0000)));
            let signed = vbslq_u32(denormal, vandq_u32(cut, vdupq_n_u32(0x8000)), nearest);
            vbslq_u32(vceqq_f32(value, value), signed, vorrq_u32(cut, vdupq_n_u32(0x40)))
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Round for Quarters {
    type Lanes = crate::simd::Neon;

    #[inline(always)]
    unsafe fn join(first: *const f32, second: *const f32, row: *mut f32) {
        for (half, values) in [first, second].into_iter().enumerate() {
            for eight in 0..2 {
                // SAFETY: the caller grants 16 values and a row.
                unsafe {
                    let (low, high) = (Self::rounded(values.add(8 * eight)), Self::rounded(values.add(8 * eight + 4)));
                    let words = vorrq_u32(vuzp1q_u32(low, high), vshlq_n_u32::<16>(vuzp2q_u32(low, high)));
                    vst1q_u32(row.add(8 * half + 4 * eight).cast(), words);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn weave(first: *const f32, second: *const f32, row: *mut f32) {
        for quarter in 0..4 {
            // SAFETY: as above.
            unsafe {
                let [first, second] = [first, second].map(|values| Self::rounded(values.add(4 * quarter)));
                vst1q_u32(row.add(4 * quarter).cast(), vorrq_u32(first, vshlq_n_u32::<16>(second)));
            }
        }
    }
}

/// Compiles a function that is generic over [`Round`] for every way of adding up, and makes the function of that name which takes
/// a [`Bf16Products`](crate::Bf16Products) first and calls the right one.
macro_rules! rounding {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$R:ident>($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        $vis unsafe fn $name(products: $crate::Bf16Products, $($arg: $type),*) {
            #[inline(always)]
            unsafe fn generic<$R: $crate::conv2d::cpu::rounded::bf16::round::Round>($($arg: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
            unsafe fn vectors($($arg: $type),*) {
                // SAFETY: compiled for AVX512_BF16; the caller grants what is named.
                unsafe { generic::<$crate::conv2d::cpu::rounded::bf16::round::Vectors>($($arg),*) }
            }
            // SAFETY: other products than the model's exist only where the machine has what their rounding is compiled for.
            unsafe {
                match products {
                    $crate::Bf16Products::Model => generic::<$crate::conv2d::cpu::rounded::bf16::round::OneByOne>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Bf16Products::Avx512 | $crate::Bf16Products::Amx => vectors($($arg),*),
                    #[cfg(not(target_arch = "x86_64"))]
                    $crate::Bf16Products::Avx512 | $crate::Bf16Products::Amx => {
                        unreachable!("an x86 instruction set on another architecture")
                    }
                    #[cfg(target_arch = "aarch64")]
                    $crate::Bf16Products::Neon => generic::<$crate::conv2d::cpu::rounded::bf16::round::Quarters>($($arg),*),
                    #[cfg(not(target_arch = "aarch64"))]
                    $crate::Bf16Products::Neon => unreachable!("an arm64 instruction set on another architecture"),
                }
            }
        }
    };
}
pub(super) use rounding;

rounding! {
    /// Rounds 32 channels of each of `count` pixels, `pixel` floats apart, to rows; the second block is zero where there is none.
    pub(in crate::conv2d::cpu::rounded) fn pixels<R>(blocks: [*const f32; 2], pixel: usize, count: usize, rows: *mut f32) {
        let zeros = [0f32; LANES];
        for index in 0..count {
            // SAFETY: the caller grants the pixels and as many rows.
            unsafe {
                let second = if blocks[1].is_null() { zeros.as_ptr() } else { blocks[1].add(index * pixel) };
                R::join(blocks[0].add(index * pixel), second, rows.add(index * ROW));
            }
        }
    }
}

rounding! {
    /// Rounds 16 channels of two pixels to each row; their places are in floats from `start`, or [`NOWHERE`].
    pub(super) fn pairs<R>(start: *const f32, places: &[usize], rows: *mut f32) {
        let zeros = [0f32; LANES];
        for (index, pair) in places.chunks_exact(2).enumerate() {
            let at = |place| if place == NOWHERE { zeros.as_ptr() } else { start.wrapping_add(place) };
            // SAFETY: the caller grants the pixels and a row for each two.
            unsafe { R::weave(at(pair[0]), at(pair[1]), rows.add(index * ROW)) };
        }
    }
}

rounding! {
    /// Rounds 16 channels of 32 pixels to a row for each channel.
    pub(super) fn channels<R>(start: *const f32, places: &[usize], rows: *mut f32) {
        let zeros = [0f32; LANES];
        let mut woven = [0f32; ROW * LANES];
        for (index, pair) in places.chunks_exact(2).take(LANES).enumerate() {
            let at = |place| if place == NOWHERE { zeros.as_ptr() } else { start.wrapping_add(place) };
            // SAFETY: the caller grants the pixels.
            unsafe { R::weave(at(pair[0]), at(pair[1]), woven[index * ROW..].as_mut_ptr()) };
        }
        // SAFETY: 16 rows of 16 words on both sides, the caller grants the second.
        unsafe { R::Lanes::transpose(woven.as_ptr(), ROW, rows, ROW) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bf16Products;

    /// Numbers around every rule: halves between neighbours, the largest, denormal ones, none.
    fn numbers() -> Vec<f32> {
        let bits = [
            0x3f80_0000,
            0x3f80_8000,
            0x3f81_8000,
            0x3f80_8001,
            0x3f80_7fff,
            0x7f7f_ffff,
            0x7f7f_7fff,
            0x7f80_0000,
            0xff80_0000,
            0x7f80_0001,
            0xffc1_2345,
            0x0000_0001,
            0x807f_ffff,
            0x0080_0000,
            0x8000_0000,
            0xc2f6_e979,
        ];
        bits.map(f32::from_bits).into()
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let rounded: Vec<u16> = numbers().into_iter().map(round).collect();
        let expected = [
            0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7f80, 0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0xffc1, 0, 0x8000, 0x80,
            0x8000, 0xc2f7,
        ];
        assert_eq!(rounded, expected);
    }

    #[test]
    fn every_machine_rounds_alike() {
        let (first, places) = (numbers(), [0, 16, NOWHERE, 0].repeat(8));
        let second: Vec<f32> = first.iter().rev().map(|value| value * 3.0).collect();
        let both = [first, second].concat();
        let bits = |rows: &[f32]| rows.iter().map(|word| word.to_bits()).collect::<Vec<_>>();
        let on = |products| {
            let (mut joined, mut woven, mut turned) = ([0f32; 2 * ROW], [0f32; 16 * ROW], [0f32; 16 * ROW]);
            // SAFETY: all is as long as is said.
            unsafe {
                pixels(products, [both.as_ptr(), both[16..].as_ptr()], 0, 1, joined.as_mut_ptr());
                pixels(products, [both.as_ptr(), std::ptr::null()], 0, 1, joined[ROW..].as_mut_ptr());
                pairs(products, both.as_ptr(), &places, woven.as_mut_ptr());
                channels(products, both.as_ptr(), &places, turned.as_mut_ptr());
            }
            [bits(&joined), bits(&woven), bits(&turned)]
        };
        let [joined, woven, turned] = on(Bf16Products::Model);
        assert_eq!(joined[0], u32::from(round(both[0])) | u32::from(round(both[1])) << 16);
        assert_eq!(woven[5], u32::from(round(both[5])) | u32::from(round(both[21])) << 16);
        assert_eq!(turned[3 * ROW + 2], woven[2 * ROW + 3]);
        for products in Bf16Products::available() {
            assert_eq!(on(products), [joined.clone(), woven.clone(), turned.clone()], "{}", products.name());
        }
    }
}
