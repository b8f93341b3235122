//! Counts of what an evaluation decided, and what they say of each class: scikit-learn's definitions, 0 where something is undefined.

use crate::data::{LabelKind, LabelsRef};
use crate::error::{Code, Error, Result};
use resnet_ops::allocate::zeros;

/// Most outputs for which each pair of classes is counted.
const MOST_CLASSES: usize = 4096;

/// What is counted of logits.
pub(crate) struct Tally {
    outputs: usize,
    samples: usize,
    top: Option<Top>,
    counts: Counts,
}

struct Top {
    k: usize,
    /// Samples whose label is among the k largest logits.
    right: usize,
}

enum Counts {
    Nothing,
    /// How many samples of each class were taken for each class, (classes, classes), and how many samples each class has.
    Pairs {
        confusion: Vec<u32>,
        support: Vec<usize>,
    },
    /// Of each class, and the samples of which all decisions are right.
    Sets {
        classes: Vec<Decided>,
        exact: usize,
    },
}

/// What was decided about a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Decided {
    /// Samples of the class that were taken for it.
    right: usize,
    /// Samples that were taken for it.
    taken: usize,
    /// Samples of the class.
    support: usize,
}

/// What an evaluation says beside loss and accuracy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Share of samples whose label is among the k largest logits.
    pub top_k_accuracy: Option<f64>,
    /// Each output's.
    pub classes: Option<Vec<ClassReport>>,
    /// Row by row: how many samples of each class were taken for each class.
    pub confusion: Option<Vec<Vec<u32>>>,
    /// Mean of the classes' F1.
    pub macro_f1: Option<f64>,
    /// F1 of all decisions about any number of classes together.
    pub micro_f1: Option<f64>,
    /// Share of samples of which all decisions are right.
    pub exact_match: Option<f64>,
}

/// What an evaluation says of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassReport {
    /// Share of those taken for the class that are of it.
    pub precision: f64,
    /// Share of those of the class that were taken for it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Samples of the class.
    pub support: usize,
}

impl Decided {
    fn report(self) -> ClassReport {
        let Self { right, taken, support } = self;
        let (precision, recall) = (share(right, taken), share(right, support));
        ClassReport { precision, recall, f1: share(2 * right, taken + support), support }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl Tally {
    /// Nothing is counted yet. `by_class` counts pairs of classes of samples that have one label each; where they have any number, the
    /// classes are always counted.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the k largest of so many outputs cannot be, or samples have no one label, or pairs of them are too many.
    pub fn new(outputs: usize, kind: LabelKind, top_k: Option<usize>, by_class: bool) -> Result<Self> {
        let refuse = |parameter, expected: String, got: String| {
            Err(Error::expected(Code::InvalidArgument, parameter, expected, got))
        };
        if let Some(k) = top_k {
            if kind == LabelKind::Multi {
                return refuse("topK", "none of data with any number of labels for each sample".into(), k.to_string());
            }
            if k == 0 || k > outputs {
                return refuse("topK", format!("from 1 to the network's {outputs} classes"), k.to_string());
            }
        }
        let counts = match (kind, by_class) {
            (LabelKind::Multi, _) => Counts::Sets { classes: zeros(outputs)?, exact: 0 },
            (LabelKind::Single, false) => Counts::Nothing,
            (LabelKind::Single, true) if outputs > MOST_CLASSES => {
                return refuse("byClass", format!("a network of at most {MOST_CLASSES} classes"), outputs.to_string());
            }
            (LabelKind::Single, true) => {
                Counts::Pairs { confusion: zeros(outputs * outputs)?, support: zeros(outputs)? }
            }
        };
        Ok(Self { outputs, samples: 0, top: top_k.map(|k| Top { k, right: 0 }), counts })
    }

    /// Counts some samples: their logits (N, outputs) and labels.
    ///
    /// # Errors
    /// `ERR_INTERNAL` if labels are of another kind.
    pub fn add(&mut self, logits: &[f32], labels: LabelsRef) -> Result<()> {
        self.samples += labels.len();
        let rows = logits.chunks_exact(self.outputs);
        match (labels, &mut self.counts) {
            (LabelsRef::Multi { matrix, .. }, Counts::Sets { classes, exact }) => {
                for (logits, wanted) in rows.zip(matrix.chunks_exact(classes.len())) {
                    let mut all = true;
                    for ((class, &logit), &wanted) in classes.iter_mut().zip(logits).zip(wanted) {
                        let (taken, wanted) = (logit >= 0.0, wanted == 1);
                        class.taken += usize::from(taken);
                        class.support += usize::from(wanted);
                        class.right += usize::from(taken && wanted);
                        all &= taken == wanted && !logit.is_nan();
                    }
                    *exact += usize::from(all);
                }
                Ok(())
            }
            (LabelsRef::Single(labels), counts) => {
                for (logits, &label) in rows.zip(labels) {
                    let label = label as usize;
                    let best = largest(logits);
                    if let Some(top) = &mut self.top {
                        let above = |(class, &logit): (usize, &f32)| {
                            logit > logits[label] || (logit == logits[label] && class < label)
                        };
                        let before = logits.iter().enumerate().filter(|&one| above(one)).count();
                        top.right += usize::from(best.is_some() && before < top.k);
                    }
                    if let Counts::Pairs { confusion, support } = counts {
                        support[label] += 1;
                        best.into_iter().for_each(|best| confusion[label * self.outputs + best] += 1);
                    }
                }
                Ok(())
            }
            (LabelsRef::Multi { .. }, Counts::Nothing | Counts::Pairs { .. }) => {
                Err(Error::new(Code::Internal, "labels of another kind than were to be counted"))
            }
        }
    }

    /// What the counts say; of any number of labels each class's if `by_class`.
    pub fn report(self, by_class: bool) -> Report {
        let top_k_accuracy = self.top.map(|top| share(top.right, self.samples));
        let base = Report { top_k_accuracy, ..Report::default() };
        let mean =
            |reports: &[ClassReport]| reports.iter().map(|one| one.f1).sum::<f64>() / reports.len().max(1) as f64;
        match self.counts {
            Counts::Nothing => base,
            Counts::Pairs { confusion, support } => {
                let rows: Vec<Vec<u32>> = confusion.chunks_exact(self.outputs).map(<[u32]>::to_vec).collect();
                let decided = |(class, support): (usize, usize)| {
                    let taken = rows.iter().map(|row| row[class] as usize).sum();
                    Decided { right: rows[class][class] as usize, taken, support }
                };
                let all: Vec<Decided> = support.into_iter().enumerate().map(decided).collect();
                // As scikit-learn has it, of the classes that there are or that were decided for.
                let present: Vec<ClassReport> =
                    all.iter().filter(|one| one.taken + one.support > 0).map(|one| one.report()).collect();
                let classes = Some(all.into_iter().map(Decided::report).collect());
                Report { macro_f1: Some(mean(&present)), classes, confusion: Some(rows), ..base }
            }
            Counts::Sets { classes, exact } => {
                let sum = |of: fn(&Decided) -> usize| classes.iter().map(of).sum();
                let together = Decided {
                    right: sum(|one| one.right),
                    taken: sum(|one| one.taken),
                    support: sum(|one| one.support),
                };
                let reports: Vec<ClassReport> = classes.iter().map(|one| one.report()).collect();
                Report {
                    macro_f1: Some(mean(&reports)),
                    micro_f1: Some(together.report().f1),
                    exact_match: Some(share(exact, self.samples)),
                    classes: by_class.then_some(reports),
                    ..base
                }
            }
        }
    }
}

/// Where the largest logit is, of equal ones the first; nowhere if one is NaN.
fn largest(logits: &[f32]) -> Option<usize> {
    let above = |best: usize, class: usize| if logits[class] > logits[best] { class } else { best };
    (!logits.iter().any(|logit| logit.is_nan())).then(|| (1..logits.len()).fold(0, above))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    fn counted(outputs: usize, top_k: Option<usize>, logits: &[f32], labels: LabelsRef) -> Report {
        let mut tally = Tally::new(outputs, labels.kind(), top_k, true).unwrap();
        // In two parts.
        let half = labels.len() / 2;
        tally.add(&logits[..half * outputs], labels.part(0..half)).unwrap();
        tally.add(&logits[half * outputs..], labels.part(half..labels.len())).unwrap();
        tally.report(true)
    }

    #[test]
    fn pairs_of_classes_are_scikit_learns() {
        // Taken for 0, 1, 1, 2, 0 and, with a NaN, for none; class 3 does not come up.
        let rows: [[f32; 4]; 6] = [
            [3.0, 1.0, 0.0, 0.0],
            [0.0, 2.0, 1.0, 0.0],
            [1.0, 2.0, 0.0, 0.0],
            [0.0, 0.0, 5.0, 0.0],
            [2.0, 2.0, 0.0, 0.0],
            [9.0, NAN, 0.0, 0.0],
        ];
        let report = counted(4, Some(2), rows.as_flattened(), [0, 1, 0, 2, 1, 0][..].into());
        assert_eq!(report.confusion.unwrap(), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]);
        let classes = report.classes.unwrap();
        let told: Vec<_> = classes.iter().map(|one| (one.precision, one.recall, one.f1, one.support)).collect();
        assert_eq!(told, [(0.5, 1.0 / 3.0, 0.4, 3), (0.5, 0.5, 0.5, 2), (1.0, 1.0, 1.0, 1), (0.0, 0.0, 0.0, 0)]);
        assert!((report.macro_f1.unwrap() - 1.9 / 3.0).abs() < 1e-12);
        // Of the two largest logits one is the label's, but where one is NaN.
        assert_eq!(report.top_k_accuracy, Some(5.0 / 6.0));
        assert_eq!((report.micro_f1, report.exact_match), (None, None));
        let first = counted(4, Some(1), rows.as_flattened(), [0, 1, 0, 2, 1, 0][..].into());
        assert_eq!(first.top_k_accuracy, Some(0.5), "as accuracy");
    }

    #[test]
    fn sets_of_classes_have_means_of_two_kinds() {
        // Decisions 1 0 1, 1 1 0, 0 0 0 (a NaN is for nothing, and not right), 0 0 0.
        let logits = [1.0, -1.0, 0.0, 2.0, 2.0, -3.0, -1.0, -1.0, NAN, -1.0, -1.0, -1.0];
        let matrix = [1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        let report = counted(3, None, &logits, LabelsRef::Multi { classes: 3, matrix: &matrix });
        let classes = report.classes.unwrap();
        assert_eq!(classes[0], ClassReport { precision: 1.0, recall: 1.0, f1: 1.0, support: 2 });
        assert_eq!(classes[1], ClassReport { precision: 0.0, recall: 0.0, f1: 0.0, support: 1 });
        assert_eq!((report.macro_f1, report.exact_match), (Some(2.0 / 3.0), Some(0.5)));
        // Three right of four that were taken and four that there are.
        assert_eq!(report.micro_f1, Some(6.0 / 8.0));
        assert_eq!(report.confusion, None);
    }

    #[test]
    fn refuses_what_cannot_be_counted() {
        let message =
            |outputs, kind, top| Tally::new(outputs, kind, top, true).err().map(|error| error.message).unwrap();
        let single = LabelKind::Single;
        assert_eq!(message(3, single, Some(4)), "topK: expected from 1 to the network's 3 classes, got 4");
        assert_eq!(message(5000, single, None), "byClass: expected a network of at most 4096 classes, got 5000");
        let expected = "topK: expected none of data with any number of labels for each sample, got 2";
        assert_eq!(message(3, LabelKind::Multi, Some(2)), expected);
    }
}
