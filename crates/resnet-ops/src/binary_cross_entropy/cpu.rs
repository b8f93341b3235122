//! Binary cross-entropy of one sample per task, in f64.

use super::Problem;
use crate::blocked::{blocks, LANES};
use crate::outcome::Outcome;
use crate::{Buffer, Cpu, Result};

/// Samples whose losses are kept at a time, to be added up in order.
const GROUP: usize = 128;

pub(super) fn evaluate(cpu: &Cpu, problem: &Problem, logits: &Buffer, dlogits: Option<&mut Buffer>) -> Result<Outcome> {
    let &Problem { classes, codes, .. } = problem;
    let row = blocks(classes) * LANES;
    let len = problem.samples() * row;
    let logits = &logits.slice::<f32>()?[..len];
    let mut dlogits = match dlogits {
        Some(buffer) => &mut buffer.slice_mut::<f32>()?[..len],
        None => &mut [],
    };
    let mut total = Outcome::default();
    for (codes, logits) in codes.chunks(GROUP * classes).zip(logits.chunks(GROUP * row)) {
        let mut outcomes = [Outcome::default(); GROUP];
        let (gradients, later) = dlogits.split_at_mut(dlogits.len().min(logits.len()));
        dlogits = later;
        let outcomes = &mut outcomes[..codes.len() / classes];
        cpu.pool.zip_chunks_mut(outcomes, 1, gradients, row, |index, outcome, gradient| {
            let codes = &codes[index * classes..][..classes];
            outcome[0] = sample(problem, &logits[index * row..][..classes], codes, gradient);
        });
        for outcome in outcomes {
            total.loss_sum += outcome.loss_sum;
            total.correct += outcome.correct;
        }
    }
    Ok(total)
}

/// Loss and right decisions of one sample; `gradient`, unless it is empty, gets `share` times the gradient of the classes' losses.
fn sample(problem: &Problem, logits: &[f32], codes: &[u8], gradient: &mut [f32]) -> Outcome {
    if !gradient.is_empty() {
        gradient[logits.len()..].fill(0.0);
    }
    let mut outcome = Outcome::default();
    for (class, (&logit, &code)) in logits.iter().zip(codes).enumerate() {
        let (x, t, [wrong, right]) = (f64::from(logit), problem.wanted[usize::from(code & 3)], problem.weights[class]);
        let (positive, negative) = (right * t, wrong * (1.0 - t));
        // Of the distance from 0: σ of it is 1 / (1 + small), and of its opposite small / (1 + small).
        let small = (-x.abs()).exp();
        let near = small.ln_1p();
        // Without a weight of 0, so that infinity times nothing does not come up.
        let part = |weight: f64, far: f64| if weight == 0.0 { 0.0 } else { weight * (far + near) };
        outcome.loss_sum += part(positive, (-x).max(0.0)) + part(negative, x.max(0.0));
        outcome.correct += usize::from(!x.is_nan() && (x >= 0.0) == (code & problem.judge != 0));
        if let Some(gradient) = gradient.get_mut(class) {
            let (large, small) = (1.0 / (1.0 + small), small / (1.0 + small));
            let [above, below] = if x >= 0.0 { [large, small] } else { [small, large] };
            *gradient = ((negative * above - positive * below) * problem.share) as f32;
        }
    }
    outcome.loss_sum /= logits.len() as f64;
    outcome
}
