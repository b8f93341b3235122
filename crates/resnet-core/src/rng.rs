//! The one random generator: a counter-based stream for each seed, purpose and pair of numbers, so that no draw depends on
//! how many were made before it elsewhere.

use rand_chacha::rand_core::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use resnet_ops::random::normal;
use resnet_ops::Real;

/// What a stream is drawn for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Initial weights.
    Init = 1,
    /// The order of samples.
    Shuffle = 2,
    /// What dropout drops.
    Dropout = 3,
    /// Which samples are kept apart for validation.
    Split = 4,
    /// How an image is changed, by epoch and sample; epoch 0 for what is the same in all.
    Augment = 5,
    /// How images of a batch are mixed, by epoch and step.
    Mix = 6,
}

/// A stream of random numbers.
pub struct Stream(ChaCha8Rng);

/// The stream of a seed, a purpose and two numbers, such as epoch and sample.
pub fn stream(seed: u64, purpose: Purpose, first: u64, second: u64) -> Stream {
    let mut key = [0; 32];
    for (place, number) in key.chunks_exact_mut(8).zip([seed, purpose as u64, first, second]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    Stream(ChaCha8Rng::from_seed(key))
}

impl Stream {
    /// Uniform in \[-bound, bound) with 24 bits.
    pub fn uniform(&mut self, bound: f64) -> f64 {
        const STEPS: f64 = (1u32 << 24) as f64;
        (2.0 * f64::from(self.0.next_u32() >> 8) / STEPS - 1.0) * bound
    }

    /// Uniform in \[from, to) with 24 bits.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        const STEPS: f64 = (1u32 << 24) as f64;
        from + f64::from(self.0.next_u32() >> 8) / STEPS * (to - from)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.between(0.0, 1.0) < probability
    }

    /// Normal with mean 0.
    pub fn normal(&mut self, deviation: f64) -> f64 {
        let mut value = [0.0];
        normal(&[[self.0.next_u32(), self.0.next_u32()]], deviation, &mut value);
        value[0]
    }

    /// Fills with such numbers: those that as many calls of [`Stream::normal`] would give.
    pub fn fill_normal<T: Real>(&mut self, deviation: f64, values: &mut [T]) {
        let mut words = [[0; 2]; 256];
        for values in values.chunks_mut(words.len()) {
            words[..values.len()].as_flattened_mut().fill_with(|| self.0.next_u32());
            normal(&words[..values.len()], deviation, values);
        }
    }

    /// A number of 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in 0..end, which must not be empty.
    pub fn below(&mut self, end: u64) -> u64 {
        // Lemire 2019: the high half of a product, drawn again where the low half would favour some numbers.
        let threshold = end.wrapping_neg() % end;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(end);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }
}

/// Brings values into random order (Fisher-Yates).
pub fn shuffle<T>(mut stream: Stream, values: &mut [T]) {
    for last in (1..values.len()).rev() {
        values.swap(last, stream.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_seed_and_numbers() {
        let draw = |seed, epoch| {
            let mut order: Vec<usize> = (0..50).collect();
            shuffle(stream(seed, Purpose::Shuffle, epoch, 0), &mut order);
            order
        };
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_ne!(draw(1, 1), draw(2, 1));
        let mut sorted = draw(3, 0);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
    }

    #[test]
    fn many_normal_numbers_are_those_that_come_one_by_one() {
        let (mut many, mut single) = (stream(7, Purpose::Init, 0, 0), stream(7, Purpose::Init, 0, 0));
        let mut values = [0.0; 600];
        many.fill_normal(0.5, &mut values);
        assert!(values.iter().all(|&value| value == single.normal(0.5)));
        assert_eq!(many.bits(), single.bits());
    }

    #[test]
    fn uniform_fills_its_interval() {
        let mut numbers = stream(7, Purpose::Init, 0, 0);
        let draws: Vec<f64> = (0..10_000).map(|_| numbers.uniform(2.0)).collect();
        let mean = draws.iter().sum::<f64>() / 1e4;
        assert!(draws.iter().all(|x| (-2.0..2.0).contains(x)));
        assert!(mean.abs() < 0.05, "{mean}");
    }
}
