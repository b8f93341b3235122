use super::Problem;
use crate::element::Real;
use crate::outcome::Outcome;
use crate::{Buffer, Result};

pub(super) fn evaluate<T: Real>(problem: &Problem, logits: &Buffer, dlogits: Option<&mut Buffer>) -> Result<Outcome> {
    let &Problem { classes, codes, wanted, judge, weights, share, .. } = problem;
    let logits = &logits.slice::<T>()?[..codes.len()];
    let mut dlogits = dlogits.map(|dlogits| dlogits.slice_mut::<T>()).transpose()?;
    let mut outcome = Outcome::default();
    for (place, (&x, &code)) in logits.iter().zip(codes).enumerate() {
        let ([wrong, right], t) = (weights[place % classes], wanted[usize::from(code)]);
        let [positive, negative] = [right * t, wrong * (1.0 - t)].map(T::of);
        // log(1 + exp(x)), which is infinite for no x that is not.
        let softplus = |x: T| if x.is_nan() { x } else { x.max(T::zero()) + (-x.abs()).exp().ln_1p() };
        let part = |weight: T, x: T| if weight == T::zero() { T::zero() } else { weight * softplus(x) };
        let loss: f64 = (part(positive, -x) + part(negative, x)).into();
        outcome.loss_sum += loss / classes as f64;
        outcome.correct += usize::from(!x.is_nan() && (x >= T::zero()) == (code & judge != 0));
        if let Some(dlogits) = &mut dlogits {
            let sigmoid = |x: T| T::one() / (T::one() + (-x).exp());
            dlogits[place] = (negative * sigmoid(x) - positive * sigmoid(-x)) * T::of(share);
        }
    }
    Ok(outcome)
}
