//! Random numbers of random bits, the same bits on every processor and system.

use crate::element::{wide, Real};

wide! {
    /// Writes normal numbers with mean 0 and this deviation, each from the two words at its place (Box and Muller, 1958).
    ///
    /// # Panics
    /// If there are other than two words for each number.
    pub fn normal<T: Real>(words: &[[u32; 2]], deviation: f64, values: &mut [T]) {
        assert_eq!(words.len(), values.len());
        for (value, &[first, second]) in values.iter_mut().zip(words) {
            *value = T::of(deviation * (-2.0 * ln_of_share(first)).sqrt() * cos_of_turn(second));
        }
    }
}

/// How many words there are. One stands for the middle of its share, so that none is 0 or 1.
const WORDS: f64 = (1u64 << 32) as f64;

/// Added to exponents, so that they stay above zero.
const OFFSET: u64 = 64;

/// 1, ⅓, ⅕ …: ln m = 2 artanh s = 2s · (1 + s²/3 + s⁴/5 + …), s = (m − 1) / (m + 1). Of |s| < 0.172 the rest is less than 10⁻¹⁸.
const ARTANH: [f64; 11] = {
    let mut terms = [1.0; 11];
    let mut i = 1;
    while i < terms.len() {
        terms[i] = 1.0 / (2 * i + 1) as f64;
        i += 1;
    }
    terms
};

/// Taylor's series up to x¹⁶ and, without a factor x, x¹⁷: of |x| < π/4 the rest is less than 10⁻¹⁷.
const COS: [f64; 9] = taylor(0);
const SIN: [f64; 9] = taylor(1);

const fn taylor(first: usize) -> [f64; 9] {
    let mut terms = [1.0; 9];
    let mut i = 1;
    while i < terms.len() {
        let n = 2 * i + first;
        terms[i] = -terms[i - 1] / (n * (n - 1)) as f64;
        i += 1;
    }
    terms
}

#[inline(always)]
fn sum_of_powers<const N: usize>(terms: &[f64; N], z: f64) -> f64 {
    terms.iter().rev().fold(0.0, |sum, term| sum * z + term)
}

/// The natural logarithm of a word's share of all.
#[inline(always)]
fn ln_of_share(word: u32) -> f64 {
    const LEAST: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    // The share is m · 2ᵉ, m from √½ to √2, e from −33 to 0.
    let bits = ((f64::from(word) + 0.5) / WORDS).to_bits();
    let exponent = (bits + (OFFSET << 52) - LEAST) >> 52;
    let m = f64::from_bits(bits + (OFFSET << 52) - (exponent << 52));
    let s = (m - 1.0) / (m + 1.0);
    f64::from(exponent as i32 - OFFSET as i32) * std::f64::consts::LN_2 + 2.0 * s * sum_of_powers(&ARTANH, s * s)
}

/// The cosine of a word's share of a turn.
#[inline(always)]
fn cos_of_turn(word: u32) -> f64 {
    // The nearest quarter, and from there at most an eighth either way.
    let shifted = word.wrapping_add(1 << 29);
    let quarter = shifted >> 30;
    let rest = (shifted & ((1 << 30) - 1)) as i32 - (1 << 29);
    let x = (f64::from(rest) + 0.5) * (std::f64::consts::TAU / WORDS);
    let size = if quarter & 1 == 0 { sum_of_powers(&COS, x * x) } else { x * sum_of_powers(&SIN, x * x) };
    if (quarter + 1) & 2 == 0 {
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
            let share = (f64::from(word) + 0.5) / WORDS;
            let (found, expected) = (ln_of_share(word), share.ln());
            // Both are rounded.
            assert!((found - expected).abs() <= 1e-15 * expected.abs(), "ln {share}: {found}, {expected}");
            let (found, expected) = (cos_of_turn(word), (std::f64::consts::TAU * share).cos());
            // The library is given a rounded angle.
            assert!((found - expected).abs() <= 1e-15, "cos of {share} turns: {found}, {expected}");
        }
    }

    #[test]
    fn every_processor_gives_these_bits() {
        let words: Vec<[u32; 2]> = words().zip(words().skip(17)).map(|(first, second)| [first, second]).collect();
        let mut values = vec![0f64; words.len()];
        normal(&words, 0.1, &mut values);
        let hash = |hash: u64, value: &f64| (hash ^ value.to_bits()).wrapping_mul(0x100_0000_01b3);
        assert_eq!(values.iter().fold(0, hash), 0x2bcf_f36f_1c8a_14be);
    }
}
