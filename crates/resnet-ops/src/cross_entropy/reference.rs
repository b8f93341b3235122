use super::Outcome;
use crate::element::Real;
use crate::{Buffer, Result};

pub(super) fn evaluate<T: Real>(
    classes: usize,
    logits: &Buffer,
    labels: &[u32],
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    let logits = logits.slice::<T>()?;
    let mut dlogits = dlogits.map(|dlogits| dlogits.slice_mut::<T>()).transpose()?;
    let count = T::of(labels.len() as f64);
    let mut outcome = Outcome::default();
    for (sample, (logits, &label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        let label = label as usize;
        // A NaN that is met stays, as nothing is above it.
        let above = |class: usize, best: usize| logits[class] > logits[best] || logits[class].is_nan();
        let best = (1..classes).fold(0, |best, class| if above(class, best) { class } else { best });
        let maximum = logits[best];
        let sum: T = logits.iter().map(|&logit| (logit - maximum).exp()).sum();
        outcome.loss_sum += (sum.ln() - (logits[label] - maximum)).into();
        outcome.correct += usize::from(best == label && !maximum.is_nan());
        if let Some(dlogits) = &mut dlogits {
            for (class, dlogit) in dlogits[sample * classes..][..classes].iter_mut().enumerate() {
                let target = if class == label { T::one() } else { T::zero() };
                *dlogit = ((logits[class] - maximum).exp() / sum - target) / count;
            }
        }
    }
    Ok(outcome)
}
