use super::{Outcome, Target};
use crate::element::Real;
use crate::{Buffer, Result};

pub(super) fn evaluate<T: Real>(
    classes: usize,
    logits: &Buffer,
    targets: &[Target],
    share: f64,
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
    let logits = logits.slice::<T>()?;
    let mut dlogits = dlogits.map(|dlogits| dlogits.slice_mut::<T>()).transpose()?;
    let share = T::of(share);
    let mut outcome = Outcome::default();
    for (sample, (logits, target)) in logits.chunks_exact(classes).zip(targets).enumerate() {
        let Target { classes: [label, other], weights } = *target;
        let (label, other, weights) = (label as usize, other as usize, weights.map(T::of));
        // A NaN that is met stays, as nothing is above it.
        let above = |class: usize, best: usize| logits[class] > logits[best] || logits[class].is_nan();
        let best = (1..classes).fold(0, |best, class| if above(class, best) { class } else { best });
        let maximum = logits[best];
        let sum: T = logits.iter().map(|&logit| (logit - maximum).exp()).sum();
        let loss = |class: usize| sum.ln() - (logits[class] - maximum);
        outcome.loss_sum += (weights[0] * loss(label)).into();
        if weights[1] > T::zero() {
            outcome.loss_sum += (weights[1] * loss(other)).into();
        }
        outcome.correct += usize::from(best == label && !maximum.is_nan());
        if let Some(dlogits) = &mut dlogits {
            for (class, dlogit) in dlogits[sample * classes..][..classes].iter_mut().enumerate() {
                let wanted = |of: usize, weight: T| if class == of { weight } else { T::zero() };
                let wanted = wanted(label, weights[0]) + wanted(other, weights[1]);
                *dlogit = ((logits[class] - maximum).exp() / sum * (weights[0] + weights[1]) - wanted) * share;
            }
        }
    }
    Ok(outcome)
}
