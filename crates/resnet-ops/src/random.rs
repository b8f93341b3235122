//! Random numbers of random bits, the same bits on every processor and system.

use crate::element::{wide, Real};

wide! {
    /// Writes normal numbers with mean 0 and this deviation, each of the two words at its place (Box and Muller, 1958).
    pub fn normal<T: Real>(words: &[[u32; 2]], deviation: f64, values: &mut [T]) {
        for (value, &[first, second]) in values.iter_mut().zip(words) {
            *value = T::of(deviation * (-2.0 * ln_of_share(first)).sqrt() * cos_of_turn(second));
        }
    }
}

/// 2³² as steps of a word, each of which stands for its middle: none is 0 or 1.
const STEPS: f64 = (1u64 << 32) as f64;

/// The natural logarithm of a share of one.
#[inline(always)]
fn ln_of_share(word: u32) -> f64 {
    let bits = ((f64::from(word) + 0.5) / STEPS).to_bits();
    // The share is m · 2ᵉ, m from √½ to √2; e is at most 0 and at least −33.
    const LEAST: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    const MOST: u64 = 64;
    let above = (bits + (MOST << 52) - LEAST) >> 52;
    let m = f64::from_bits(bits + (MOST << 52) - (above << 52));
    // ln m = 2 artanh s, |s| < 0.172: ten terms leave less than 10⁻¹⁸.
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut series = 0.0;
    for term in (0..11).rev() {
        series = series * z + 1.0 / f64::from(2 * term + 1);
    }
    f64::from(above as i32 - MOST as i32) * std::f64::consts::LN_2 + 2.0 * s * series
}

/// The cosine of a share of a whole turn.
#[inline(always)]
fn cos_of_turn(word: u32) -> f64 {
    // To the nearest quarter, and from there at most an eighth either way.
    let shifted = word.wrapping_add(1 << 29);
    let quarter = shifted >> 30;
    let rest = (shifted & ((1 << 30) - 1)) as i32 - (1 << 29);
    let x = (f64::from(rest) + 0.5) * (std::f64::consts::TAU / STEPS);
    let z = x * x;
    // Taylor's series to x¹⁶ and x¹⁷, which leave less than 10⁻¹⁷.
    let (mut cos, mut sin) = (1.0, 1.0);
    for term in (1..9).rev() {
        cos = 1.0 - cos * z / f64::from((2 * term - 1) * (2 * term));
        sin = 1.0 - sin * z / f64::from((2 * term) * (2 * term + 1));
    }
    let size = if quarter & 1 == 0 { cos } else { sin * x };
    if quarter.wrapping_add(1) & 2 == 0 {
        size
    } else {
        -size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some words of each size, and those at the borders of what is told apart.
    fn words() -> impl Iterator<Item = u32> {
        let borders = [0, 1, 1 << 29, 1 << 30, 3 << 29, 1 << 31, 5 << 29, 3 << 30, 7 << 29, 3_037_000_499, u32::MAX];
        let beside = borders.into_iter().flat_map(|word: u32| [word.wrapping_sub(1), word, word.wrapping_add(1)]);
        let mixed = (0..100_000u32).map(|i| i.wrapping_mul(2_654_435_761) >> (i % 29));
        beside.chain(mixed)
    }

    #[test]
    fn logarithms_and_cosines_are_the_library_s() {
        for word in words() {
            let share = (f64::from(word) + 0.5) / STEPS;
            let (found, expected) = (ln_of_share(word), share.ln());
            assert!((found - expected).abs() <= 4e-16 * expected.abs(), "ln {share}: {found}, {expected}");
            let (found, expected) = (cos_of_turn(word), (std::f64::consts::TAU * share).cos());
            // The library is given a rounded angle.
            assert!((found - expected).abs() <= 1e-15, "cos of {share} turns: {found}, {expected}");
        }
    }

    #[test]
    fn every_processor_gives_these_bits() {
        let words: Vec<[u32; 2]> = words().zip(words().skip(17)).map(|(first, second)| [first, second]).collect();
        let mut values = vec![0f32; words.len()];
        normal(&words, 0.1, &mut values);
        let hash =
            values.iter().fold(0u64, |hash, value| (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3));
        assert_eq!(hash, 0x8b3d_1205_3da1_5ab1);
    }
}
