use super::{Problem, Target};
use crate::element::Real;
use crate::outcome::Outcome;
use crate::{Buffer, Result};

pub(super) fn evaluate<T: Real>(problem: &Problem, logits: &Buffer, dlogits: Option<&mut Buffer>) -> Result<Outcome> {
    let &Problem { classes, targets, spread, .. } = problem;
    let (gamma, share) = (T::of(problem.gamma), T::of(problem.share));
    let logits = logits.slice::<T>()?;
    let mut dlogits = dlogits.map(|dlogits| dlogits.slice_mut::<T>()).transpose()?;
    let mut outcome = Outcome::default();
    for (sample, (logits, target)) in logits.chunks_exact(classes).zip(targets).enumerate() {
        let Target { classes: wanted, weights } = *target;
        // A NaN that is met stays, as nothing is above it.
        let above = |class: usize, best: usize| logits[class] > logits[best] || logits[class].is_nan();
        let best = (1..classes).fold(0, |best, class| if above(class, best) { class } else { best });
        let maximum = logits[best];
        let sum: T = logits.iter().map(|&logit| (logit - maximum).exp()).sum();
        let weight = |class: usize| {
            let own = |place: usize| if wanted[place] as usize == class { weights[place] } else { 0.0 };
            T::of(own(0) + own(1) + spread.get(class).copied().unwrap_or(0.0))
        };
        let log_p = |class: usize| logits[class] - maximum - sum.ln();
        // (1 − p)^γ, and its derivative by p.
        let focus = |p: T| match gamma == T::zero() {
            true => (T::one(), T::zero()),
            false => ((T::one() - p).powf(gamma), -gamma * (T::one() - p).powf(gamma - T::one())),
        };
        // The derivative of a class's part of the loss by the logarithm of its probability; what is sure has none.
        let slope = |class: usize| {
            let (log, p) = (log_p(class), log_p(class).exp());
            let (factor, change) = focus(p);
            let bent = if p == T::one() || p == T::zero() { T::zero() } else { change * p * log };
            if weight(class) == T::zero() {
                T::zero()
            } else {
                -weight(class) * (factor + bent)
            }
        };
        for class in (0..classes).filter(|&class| weight(class) != T::zero()) {
            outcome.loss_sum -= (weight(class) * focus(log_p(class).exp()).0 * log_p(class)).into();
        }
        outcome.correct += usize::from(best == wanted[0] as usize && !maximum.is_nan());
        if let Some(dlogits) = &mut dlogits {
            let slopes: T = (0..classes).map(slope).sum();
            for (class, dlogit) in dlogits[sample * classes..][..classes].iter_mut().enumerate() {
                *dlogit = (slope(class) - slopes * log_p(class).exp()) * share;
            }
        }
    }
    Ok(outcome)
}
