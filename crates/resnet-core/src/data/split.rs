//! Keeping some samples apart, and what the frequencies of classes say.

use super::dataset::{Dataset, Splits};
use super::labels::LabelKind;
use crate::error::{Code, Error, Result};
use crate::rng::{shuffle, stream, Purpose};

impl Dataset {
    /// Parts the samples at random: of `fraction` of them, between 0 and 1, the second part, in which they stand in the set's order. If
    /// `stratified`, of each class by itself, rounded; a class with two samples or more is in both parts, one with a single sample in the
    /// first. Samples with any number of labels are of no class by itself: they are one group, whatever is said.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a part would be empty; `ERR_LABEL` if there are more classes than can be told apart.
    pub fn split(&self, fraction: f64, stratified: bool, seed: u64) -> Result<Splits> {
        self.check_count_of_classes()?;
        let mut members = match self.labels().single().filter(|_| stratified) {
            Some(labels) => {
                let mut members = vec![Vec::new(); self.num_classes()];
                (0u32..).zip(labels).for_each(|(index, &label)| members[label as usize].push(index));
                members
            }
            None => vec![(0..self.len() as u32).collect::<Vec<_>>()],
        };
        let mut is_apart = vec![false; self.len()];
        for (group, members) in members.iter_mut().enumerate().filter(|(_, members)| members.len() > 1) {
            let wanted = (members.len() as f64 * fraction).round().clamp(1.0, members.len() as f64 - 1.0);
            shuffle(stream(seed, Purpose::Split, group as u64, 0), members);
            members.iter().take(wanted as usize).for_each(|&index| is_apart[index as usize] = true);
        }
        let part = |apart: bool| -> Vec<u32> {
            (0u32..).zip(&is_apart).filter(|(_, &is_apart)| is_apart == apart).map(|(index, _)| index).collect()
        };
        let (train, validation) = (part(false), part(true));
        if validation.is_empty() {
            let expected = "samples of which at least one can be kept apart";
            return Err(Error::expected(Code::InvalidArgument, "split", expected, format!("{}", self.len())));
        }
        Ok(Splits { train: self.subset(&train)?, validation: Some(self.subset(&validation)?) })
    }

    /// A weight for each class, in proportion to its frequency to the power of minus `power`, such that the mean over the samples is 1; 0
    /// for a class without samples.
    ///
    /// # Errors
    /// `ERR_LABEL` if there are more classes than can be counted one by one; `ERR_INVALID_ARGUMENT` if samples have any number of labels.
    pub fn class_weights(&self, power: f64) -> Result<Vec<f64>> {
        self.check_count_of_classes()?;
        let mut counts = vec![0usize; self.num_classes()];
        self.single_labels("classWeights")?.iter().for_each(|&label| counts[label as usize] += 1);
        let weight = |&count: &usize| if count == 0 { 0.0 } else { (count as f64).powf(-power) };
        let weights: Vec<f64> = counts.iter().map(weight).collect();
        let sum: f64 = weights.iter().zip(&counts).map(|(weight, &count)| weight * count as f64).sum();
        Ok(weights.iter().map(|weight| weight * self.len() as f64 / sum).collect())
    }

    /// Refuses so many classes that what is counted for each would fill the memory: more than a million.
    ///
    /// # Errors
    /// `ERR_LABEL`.
    pub(super) fn check_count_of_classes(&self) -> Result<()> {
        const MOST: usize = 1 << 20;
        if self.num_classes() > MOST {
            let expected = format!("at most {MOST} classes to be treated one by one");
            return Err(Error::expected(Code::Label, "labels", expected, self.num_classes()));
        }
        Ok(())
    }

    /// A class for each sample.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if samples have any number of labels; `parameter` is what asks for one.
    pub(super) fn single_labels(&self, parameter: &str) -> Result<&[u32]> {
        let kind = self.labels().kind();
        let expected = format!("data with {}", LabelKind::Single.told());
        let refused = || Error::expected(Code::InvalidArgument, parameter, expected, kind.told());
        self.labels().single().ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pixels;
    use super::*;

    fn numbers(labels: Vec<u32>) -> Dataset {
        let count = labels.len();
        let pixels = (0..count).map(|i| i as f32).collect();
        Dataset::from_arrays(Pixels::F32(pixels), [count, 1, 1, 1], labels, None).unwrap()
    }

    fn values(data: &Dataset) -> Vec<usize> {
        let indices: Vec<usize> = (0..data.len()).collect();
        let mut images = vec![0.0; data.len()];
        data.fill(&indices, &mut images, &mut vec![0; data.len()]).unwrap();
        images.into_iter().map(|value| value as usize).collect()
    }

    #[test]
    fn stratified_parts_have_each_class_s_share_and_nothing_twice() {
        let labels: Vec<u32> = (0..111).map(|i| if i < 100 { 0 } else { 1 + u32::from(i == 110) }).collect();
        let data = numbers(labels);
        let Splits { train, validation } = data.split(0.2, true, 7).unwrap();
        let validation = validation.unwrap();
        let count =
            |part: &Dataset, class| part.labels().single().unwrap().iter().filter(|&&label| label == class).count();
        assert_eq!([0, 1, 2].map(|class| count(&validation, class)), [20, 2, 0]);
        assert_eq!([0, 1, 2].map(|class| count(&train, class)), [80, 8, 1]);
        let mut all = [values(&train), values(&validation)].concat();
        assert!(values(&validation).is_sorted());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..111));
        assert_eq!(values(&data.split(0.2, true, 7).unwrap().train), values(&train));
        assert_ne!(values(&data.split(0.2, true, 8).unwrap().train), values(&train));
    }

    #[test]
    fn without_classes_all_samples_are_one_group() {
        let data = numbers((0..10).collect());
        assert_eq!(data.split(0.3, false, 0).unwrap().validation.unwrap().len(), 3);
        let error = data.split(0.3, true, 0).unwrap_err();
        assert_eq!(error.message, "split: expected samples of which at least one can be kept apart, got 10");
    }

    #[test]
    fn weights_are_a_power_of_the_inverse_frequency_with_mean_1() {
        let data = numbers((0..100).map(|i| u32::from(i >= 80)).collect());
        assert_eq!(data.class_weights(0.0).unwrap(), [1.0, 1.0]);
        let full = data.class_weights(1.0).unwrap();
        assert!((full[0] - 0.625).abs() < 1e-12 && (full[1] - 2.5).abs() < 1e-12, "{full:?}");
        let half = data.class_weights(0.5).unwrap();
        assert!((half[1] / half[0] - 2.0).abs() < 1e-12);
        assert!((half[0] * 0.8 + half[1] * 0.2 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_subset_s_subset_has_its_own_images_and_labels() {
        let data = numbers((0..10).collect());
        let part = data.subset(&[8, 2, 2, 5]).unwrap();
        assert_eq!((values(&part), part.labels()), (vec![8, 2, 2, 5], [8, 2, 2, 5][..].into()));
        let inner = part.subset(&[3, 0]).unwrap();
        assert_eq!((values(&inner), inner.num_classes()), (vec![5, 8], 10));
        assert_eq!(values(&part.take(2).unwrap()), [8, 2]);
        assert_eq!(part.subset(&[4]).unwrap_err().message, "indices[0]: expected an index below 4, got 4");
        assert_eq!(part.subset(&[]).unwrap_err().message, "indices: expected at least one, got none");
    }

    #[test]
    fn joined_sets_have_all_samples_in_order() {
        let data = numbers((0..10).collect());
        let joined = Dataset::concat(vec![data.subset(&[9, 1]).unwrap(), data.clone(), data.take(1).unwrap()]).unwrap();
        assert_eq!(values(&joined), [9, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
        assert_eq!(values(&joined.subset(&[12, 3, 0]).unwrap()), [0, 1, 9]);
        let other = Dataset::concat(vec![data.clone(), numbers(vec![0])]).unwrap_err();
        let expected = "the classes of the first, 10 without names, got 1 without names";
        assert_eq!(other.message, format!("concat[1]: expected {expected}"));
        assert_eq!(Dataset::concat(Vec::new()).unwrap_err().code, Code::InvalidArgument);
    }
}
