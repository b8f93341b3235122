//! Taking rare classes more often.

use crate::rng::{shuffle, stream, Purpose};

/// As many samples as there are, each with how often it came before; see [`super::Order::Balanced`]. Of a class each sample comes as often
/// as any other, or once more.
pub(super) fn balanced(labels: &[u32], num_classes: usize, power: f64, seed: u64, epoch: u64) -> Vec<[u32; 2]> {
    let mut members = vec![Vec::new(); num_classes];
    (0u32..).zip(labels).for_each(|(index, &label)| members[label as usize].push(index));
    let counts: Vec<usize> = members.iter().map(Vec::len).collect();
    let mut draws = Vec::with_capacity(labels.len());
    for (class, (members, wanted)) in members.iter().zip(shares(&counts, power)).enumerate() {
        for round in 0..wanted.div_ceil(members.len().max(1)) {
            let place = (class as u64 + 1) | (round as u64) << 32;
            let mut order = members.clone();
            shuffle(stream(seed, Purpose::Shuffle, epoch, place), &mut order);
            let left = wanted - round * members.len();
            draws.extend(order.into_iter().take(left).map(|member| [member, round as u32]));
        }
    }
    shuffle(stream(seed, Purpose::Shuffle, epoch, 0), &mut draws);
    draws
}

/// How many samples of each class are taken, as many as there are in all: what is lost by rounding goes to the largest remainders.
fn shares(counts: &[usize], power: f64) -> Vec<usize> {
    let weights: Vec<f64> =
        counts.iter().map(|&count| if count == 0 { 0.0 } else { (count as f64).powf(1.0 - power) }).collect();
    let (total, sum) = (counts.iter().sum::<usize>(), weights.iter().sum::<f64>());
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * total as f64).collect();
    let mut shares: Vec<usize> = exact.iter().map(|&share| share as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let left = total - shares.iter().sum::<usize>();
    by_remainder.iter().cycle().take(left).for_each(|&class| shares[class] += 1);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn classes_come_in_proportion_to_the_power() {
        assert_eq!(shares(&[900, 90, 10], 0.0), [900, 90, 10]);
        assert_eq!(shares(&[900, 90, 10], 1.0), [334, 333, 333]);
        // Square roots 30, 9.487, 3.162.
        assert_eq!(shares(&[900, 90, 10], 0.5), [703, 223, 74]);
        assert_eq!(shares(&[5, 0, 5], 1.0), [5, 0, 5]);
    }

    #[test]
    fn a_class_s_samples_come_equally_often_and_each_time_counts() {
        let labels: Vec<u32> = (0..100).map(|i| u32::from(i >= 90)).collect();
        let draws = balanced(&labels, 2, 1.0, 3, 1);
        assert_eq!(draws.len(), 100);
        assert_eq!(draws.iter().collect::<HashSet<_>>().len(), 100, "each draw has a number of its own");
        for sample in 90..100 {
            assert_eq!(draws.iter().filter(|draw| draw[0] == sample).count(), 5);
        }
        assert_eq!(draws.iter().filter(|draw| draw[0] < 90).map(|draw| draw[0]).collect::<HashSet<_>>().len(), 50);
        assert_eq!(draws, balanced(&labels, 2, 1.0, 3, 1));
        assert_ne!(draws, balanced(&labels, 2, 1.0, 3, 2));
        let mut all: Vec<u32> = balanced(&labels, 2, 0.0, 3, 1).into_iter().map(|draw| draw[0]).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
    }
}
