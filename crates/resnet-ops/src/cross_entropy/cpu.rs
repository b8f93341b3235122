//! Softmax cross-entropy of one sample per task, in f64.

use super::{Problem, Target};
use crate::blocked::{blocks, LANES};
use crate::outcome::Outcome;
use crate::{Buffer, Cpu, Result};

/// Samples whose losses are kept at a time, to be added up in order.
const GROUP: usize = 128;

pub(super) fn evaluate(cpu: &Cpu, problem: &Problem, logits: &Buffer, dlogits: Option<&mut Buffer>) -> Result<Outcome> {
    let &Problem { classes, targets, .. } = problem;
    let row = blocks(classes) * LANES;
    let logits = &logits.slice::<f32>()?[..targets.len() * row];
    let mut dlogits = match dlogits {
        Some(buffer) => &mut buffer.slice_mut::<f32>()?[..targets.len() * row],
        None => &mut [],
    };
    let mut total = Outcome::default();
    for (targets_of_group, logits) in targets.chunks(GROUP).zip(logits.chunks(GROUP * row)) {
        let mut outcomes = [Outcome::default(); GROUP];
        let (gradients, later) = dlogits.split_at_mut(dlogits.len().min(logits.len()));
        dlogits = later;
        let outcomes = &mut outcomes[..targets_of_group.len()];
        cpu.pool.zip_chunks_mut(outcomes, 1, gradients, row, |index, outcome, gradient| {
            let logits = &logits[index * row..][..classes];
            outcome[0] = sample(problem, logits, &targets_of_group[index], gradient);
        });
        for outcome in outcomes {
            total.loss_sum += outcome.loss_sum;
            total.correct += outcome.correct;
        }
    }
    Ok(total)
}

/// Loss and hit of one sample; `gradient`, unless it is empty, gets `share` times the gradient of the loss.
fn sample(problem: &Problem, logits: &[f32], target: &Target, gradient: &mut [f32]) -> Outcome {
    let (mut best, mut max) = (0, f32::NEG_INFINITY);
    for (class, &logit) in logits.iter().enumerate() {
        // A NaN that is met stays, as nothing is above it.
        if logit > max || logit.is_nan() {
            (best, max) = (class, logit);
        }
    }
    let correct = usize::from(best == target.classes[0] as usize && !max.is_nan());
    let max = f64::from(max);
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    if !gradient.is_empty() {
        gradient[logits.len()..].fill(0.0);
    }
    let loss_sum = match problem.is_plain() {
        true => plain(problem.share, logits, target, max, sum, gradient),
        false => weighed(problem, logits, target, max, sum, gradient),
    };
    Outcome { loss_sum, correct, ..Outcome::default() }
}

/// The loss of one sample where its own classes alone count.
fn plain(share: f64, logits: &[f32], target: &Target, max: f64, sum: f64, gradient: &mut [f32]) -> f64 {
    let exp = |logit: f32| (f64::from(logit) - max).exp();
    let Target { classes: [label, other], weights: [weight, rest] } = *target;
    let (label, other) = (label as usize, other as usize);
    if !gradient.is_empty() {
        let scale = share * (weight + rest) / sum;
        for (gradient, &logit) in gradient.iter_mut().zip(logits) {
            *gradient = (exp(logit) * scale) as f32;
        }
        // From the unrounded value, as if there had been nothing before.
        for (class, wanted) in
            [(other, rest * share), (label, weight * share + if other == label { rest * share } else { 0.0 })]
        {
            gradient[class] = (exp(logits[class]) * scale - wanted) as f32;
        }
    }
    let loss = |class: usize| sum.ln() + max - f64::from(logits[class]);
    if rest > 0.0 {
        weight * loss(label) + rest * loss(other)
    } else {
        weight * loss(label)
    }
}

/// The loss of one sample where all classes may count, and the less the surer they are.
fn weighed(problem: &Problem, logits: &[f32], target: &Target, max: f64, sum: f64, gradient: &mut [f32]) -> f64 {
    let Target { classes: [label, other], weights: [weight, rest] } = *target;
    let log_sum = sum.ln();
    // A class's part of the loss, and its derivative by the logarithm of the class's probability.
    let part = |class: usize, logit: f32| {
        let mut wanted = problem.spread.get(class).copied().unwrap_or(0.0);
        wanted += if class == label as usize { weight } else { 0.0 };
        wanted += if class == other as usize { rest } else { 0.0 };
        if wanted == 0.0 {
            return [0.0; 2];
        }
        focused(f64::from(logit) - max - log_sum, problem.gamma).map(|value| wanted * value)
    };
    let [mut loss, mut slopes] = [0.0; 2];
    for (class, &logit) in logits.iter().enumerate() {
        let [of_class, slope] = part(class, logit);
        loss += of_class;
        slopes += slope;
    }
    for (class, (gradient, &logit)) in gradient.iter_mut().zip(logits).enumerate() {
        let p = (f64::from(logit) - max).exp() / sum;
        *gradient = (problem.share * (part(class, logit)[1] - slopes * p)) as f32;
    }
    loss
}

/// −(1 − p)^γ · log p of the logarithm of a probability, and the derivative by it.
fn focused(log_p: f64, gamma: f64) -> [f64; 2] {
    if gamma == 0.0 {
        return [-log_p, -1.0];
    }
    // Exact also where p is nearly 1.
    let rest = -log_p.exp_m1();
    let factor = rest.powf(gamma);
    // What is sure, either way, bends nothing; there the quotient is no number.
    let p = log_p.exp();
    let bent = if rest == 0.0 || p == 0.0 { 0.0 } else { gamma * p * factor / rest * log_p };
    // Without the sign of a zero, so that infinity times nothing does not come up.
    let loss = if factor == 0.0 { 0.0 } else { -factor * log_p };
    [loss, bent - factor]
}

#[cfg(test)]
mod tests {
    use crate::cross_entropy::evaluate;
    use crate::{Buffer, Executor, Outcome};

    const CLASSES: usize = 19;

    fn run(threads: usize, logits: &[f32], labels: &[u32]) -> (Outcome, Vec<f32>) {
        let cpu = Executor::cpu(threads).unwrap();
        let logits = Buffer::from_slice(logits).unwrap();
        let mut gradient = Buffer::from_slice(&vec![9f32; labels.len() * 32]).unwrap();
        let outcome = evaluate(&cpu, CLASSES, &logits, labels.into(), Some(&mut gradient)).unwrap();
        let loss_alone = evaluate(&cpu, CLASSES, &logits, labels.into(), None).unwrap();
        assert!(loss_alone == outcome || outcome.loss_sum.is_nan());
        (outcome, gradient.slice::<f32>().unwrap().to_vec())
    }

    #[test]
    fn loss_and_gradient_over_several_groups() {
        let labels: Vec<u32> = (0..300).map(|i| i * 7 % CLASSES as u32).collect();
        let mut logits = vec![0f32; 300 * 32];
        for (i, logit) in logits.iter_mut().enumerate().filter(|(i, _)| i % 32 < CLASSES) {
            *logit = (i * 31 % 101) as f32 * 0.1 + 1e4;
        }
        let (outcome, gradient) = run(2, &logits, &labels);
        let (mut loss, mut correct) = (0.0, 0);
        for (image, &label) in labels.iter().enumerate() {
            let row: Vec<f64> = logits[image * 32..][..CLASSES].iter().map(|&v| f64::from(v) - 1e4).collect();
            let sum: f64 = row.iter().map(|v| v.exp()).sum();
            loss += sum.ln() - row[label as usize];
            correct += usize::from(row.iter().all(|&v| v <= row[label as usize]));
            for class in 0..32 {
                let onehot = f64::from(class == label as usize);
                let expected = row.get(class).map_or(0.0, |v| (v.exp() / sum - onehot) / 300.0);
                assert!((f64::from(gradient[image * 32 + class]) - expected).abs() < 1e-9);
            }
        }
        assert!((outcome.loss_sum - loss).abs() < 1e-9 * loss && outcome.correct == correct && correct > 0);
        assert_eq!(run(1, &logits, &labels), (outcome, gradient));
    }

    #[test]
    fn a_nan_logit_gives_a_nan_loss_and_the_first_of_equal_logits_counts() {
        let mut logits = vec![0f32; 2 * 32];
        assert_eq!(run(1, &logits, &[0, 1]).0.correct, 1);
        logits[40] = f32::NAN;
        assert!(run(1, &logits, &[0, 1]).0.loss_sum.is_nan());
    }
}
