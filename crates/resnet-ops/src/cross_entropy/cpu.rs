//! Softmax cross-entropy of one sample per task, in f64.

use super::{Outcome, Target};
use crate::blocked::{blocks, LANES};
use crate::{Buffer, Cpu, Result};

/// Samples whose losses are kept at a time, to be added up in order.
const GROUP: usize = 128;

pub(super) fn evaluate(
    cpu: &Cpu,
    classes: usize,
    logits: &Buffer,
    targets: &[Target],
    share: f64,
    dlogits: Option<&mut Buffer>,
) -> Result<Outcome> {
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
            outcome[0] = sample(logits, &targets_of_group[index], share, gradient);
        });
        for outcome in outcomes {
            total.loss_sum += outcome.loss_sum;
            total.correct += outcome.correct;
        }
    }
    Ok(total)
}

/// Loss and hit of one sample; `gradient`, unless it is empty, gets `share` times the gradient of the loss.
fn sample(logits: &[f32], target: &Target, share: f64, gradient: &mut [f32]) -> Outcome {
    let (mut best, mut max) = (0, f32::NEG_INFINITY);
    for (class, &logit) in logits.iter().enumerate() {
        // A NaN that is met stays, as nothing is above it.
        if logit > max || logit.is_nan() {
            (best, max) = (class, logit);
        }
    }
    let max = f64::from(max);
    let exp = |logit: f32| (f64::from(logit) - max).exp();
    let sum: f64 = logits.iter().map(|&logit| exp(logit)).sum();
    let Target { classes: [label, other], weights: [weight, rest] } = *target;
    let (label, other) = (label as usize, other as usize);
    let correct = usize::from(best == label && !max.is_nan());
    if !gradient.is_empty() {
        let scale = share * (weight + rest) / sum;
        gradient[logits.len()..].fill(0.0);
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
    let loss_sum = if rest > 0.0 { weight * loss(label) + rest * loss(other) } else { weight * loss(label) };
    Outcome { loss_sum, correct, ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use crate::cross_entropy::{evaluate, Outcome};
    use crate::{Buffer, Executor};

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
