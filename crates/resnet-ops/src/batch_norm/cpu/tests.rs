//! The kernels against plain loops in f64.

use crate::batch_norm::{backward, forward_eval, forward_train, moments, update_running};
use crate::batch_norm::{Backward, BatchNorm, ForwardEval, ForwardTrain, Moments, Statistics, UpdateRunning};
use crate::layout::{blocked_len, from_nchw, to_nchw};
use crate::{Buffer, DType, Executor, Isa};

const SIZE: [usize; 4] = [3, 19, 7, 5];
const MEAN: f64 = 100.0;

/// Values between −1 and 1 that look random.
fn noise(seed: usize, len: usize) -> Vec<f32> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

struct Run {
    y: Vec<f32>,
    saved: Vec<f32>,
    dx: Vec<f32>,
    dsum: Vec<f32>,
    grads: Vec<f32>,
}

struct Case {
    op: BatchNorm,
    x: Vec<f32>,
    shortcut: Option<Vec<f32>>,
    params: Vec<f32>,
    dy: Vec<f32>,
}

fn case(relu: bool, shortcut: bool) -> Case {
    let [n, c, h, w] = SIZE;
    let len = n * c * h * w;
    Case {
        op: BatchNorm { channels: c, size: [h, w], eps: 1e-5, momentum: 0.1, relu },
        x: noise(1, len).iter().map(|&x| x + MEAN as f32).collect(),
        shortcut: shortcut.then(|| noise(2, len)),
        params: noise(3, 2 * c),
        dy: noise(4, len),
    }
}

fn run(cpu: &Executor, case: &Case) -> Run {
    let [n, c, h, w] = SIZE;
    let blocked = |values: &[f32]| {
        let mut buffer = Buffer::from_slice(&vec![f32::NAN; blocked_len(n, c, h, w) + 7]).unwrap();
        from_nchw(cpu, SIZE, &Buffer::from_slice(values).unwrap(), &mut buffer).unwrap();
        buffer
    };
    let plain = |buffer: &Buffer| {
        let lanes_beyond = |i: &usize| i / (h * w * 16) % 2 == 1 && i % 16 >= c - 16;
        let values = &buffer.slice::<f32>().unwrap()[..blocked_len(n, c, h, w)];
        assert!((0..values.len()).filter(lanes_beyond).all(|i| values[i] == 0.0), "lanes beyond the channels");
        let mut target = Buffer::zeros(DType::F32, n * c * h * w).unwrap();
        to_nchw(cpu, SIZE, buffer, &mut target).unwrap();
        target.slice::<f32>().unwrap().to_vec()
    };
    let (x, shortcut, mut dy) = (blocked(&case.x), case.shortcut.as_deref().map(blocked), blocked(&case.dy));
    let params = Buffer::from_slice(&case.params).unwrap();
    let (mut y, mut dx) = (blocked(&case.dy), blocked(&case.x));
    let mut saved = Buffer::from_slice(&vec![f32::NAN; case.op.saved_len()]).unwrap();
    let mut scratch = Buffer::zeros(DType::F64, case.op.sums_len(n + 1)).unwrap();
    let mut grads = Buffer::zeros(DType::F32, 2 * c).unwrap();
    let view = params.view(0..2 * c);
    moments(cpu, n, &x, Moments { op: &case.op, sums: &mut scratch, saved: &mut saved }).unwrap();
    let call = ForwardTrain {
        n,
        x: &x,
        shortcut: shortcut.as_ref(),
        params: view.clone(),
        moments: &scratch,
        saved: &mut saved,
        y: &mut y,
    };
    forward_train(cpu, &case.op, call).unwrap();
    let call = Backward {
        n,
        x: &x,
        y: shortcut.is_some().then_some(&y),
        params: view,
        saved: &saved,
        sums: &mut scratch,
        dy: &mut dy,
        dx: shortcut.is_some().then_some(&mut dx),
        grads: grads.view_mut(0..2 * c),
        statistics: Statistics::Batch,
    };
    backward(cpu, &case.op, call).unwrap();
    Run {
        y: plain(&y),
        saved: saved.slice::<f32>().unwrap().to_vec(),
        dx: if shortcut.is_some() { plain(&dx) } else { plain(&dy) },
        dsum: plain(&dy),
        grads: grads.slice::<f32>().unwrap().to_vec(),
    }
}

/// Indices of a channel's elements in (N, C, H, W).
fn elements(channel: usize) -> impl Iterator<Item = usize> {
    let [n, c, h, w] = SIZE;
    (0..n).flat_map(move |image| (0..h * w).map(move |pixel| (image * c + channel) * h * w + pixel))
}

fn close(found: f32, expected: f64, tolerance: f64, what: &str) {
    assert!((f64::from(found) - expected).abs() <= tolerance, "{what}: {found} for {expected}");
}

#[test]
fn forward_and_backward_agree_with_plain_loops_at_a_large_mean() {
    let count = elements(0).count() as f64;
    for isa in Isa::available() {
        let cpu = Executor::cpu_with(2, isa).unwrap();
        for (relu, with_shortcut) in [(false, false), (true, false), (false, true), (true, true)] {
            let case = case(relu, with_shortcut);
            let found = run(&cpu, &case);
            for channel in 0..SIZE[1] {
                let mean = elements(channel).map(|i| f64::from(case.x[i])).sum::<f64>() / count;
                let square = |i: usize| (f64::from(case.x[i]) - mean).powi(2);
                let variance = elements(channel).map(square).sum::<f64>() / count;
                let invstd = 1.0 / (variance + case.op.eps).sqrt();
                close(found.saved[channel], mean, 1e-7 * MEAN, "mean");
                close(found.saved[32 + channel], variance, 1e-6 * variance, "variance");
                close(found.saved[64 + channel], invstd, 1e-6 * invstd, "inverse deviation");
                let (gamma, beta) = (f64::from(case.params[channel]), f64::from(case.params[SIZE[1] + channel]));
                let xhat = |i: usize| (f64::from(case.x[i]) - mean) * invstd;
                let shortcut = |i: usize| case.shortcut.as_ref().map_or(0.0, |shortcut| f64::from(shortcut[i]));
                let sum = |i: usize| gamma * xhat(i) + beta + shortcut(i);
                let dsum = |i: usize| if relu && found.y[i] <= 0.0 { 0.0 } else { f64::from(case.dy[i]) };
                let dbeta = elements(channel).map(dsum).sum::<f64>();
                let dgamma = elements(channel).map(|i| dsum(i) * xhat(i)).sum::<f64>();
                close(found.grads[channel], dgamma, 1e-4, "gradient of gamma");
                close(found.grads[SIZE[1] + channel], dbeta, 1e-4, "gradient of beta");
                for i in elements(channel) {
                    let y = if relu { sum(i).max(0.0) } else { sum(i) };
                    close(found.y[i], y, 5e-5, "output");
                    let dx = gamma * invstd * (dsum(i) - dbeta / count - xhat(i) * dgamma / count);
                    close(found.dx[i], dx, 1e-5, "gradient of x");
                    if with_shortcut {
                        close(found.dsum[i], dsum(i), 0.0, "gradient of the shortcut");
                    }
                }
            }
            assert!((0..3).all(|part| found.saved[part * 32 + SIZE[1]..][..32 - SIZE[1]].iter().all(|&v| v == 0.0)));
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let runs = [1, 2, 3].map(|threads| run(&Executor::cpu(threads).unwrap(), &case(true, true)));
    for other in &runs[1..] {
        assert_eq!((&runs[0].y, &runs[0].saved, &runs[0].dx), (&other.y, &other.saved, &other.dx));
        assert_eq!((&runs[0].dsum, &runs[0].grads), (&other.dsum, &other.grads));
    }
}

#[test]
fn evaluation_with_the_batch_as_running_statistics_gives_the_training_output() {
    let [n, c, h, w] = SIZE;
    let cpu = Executor::cpu(2).unwrap();
    let mut case = case(true, true);
    case.op.momentum = 1.0;
    let trained = run(&cpu, &case);
    let saved = Buffer::from_slice(&trained.saved).unwrap();
    let mut running = Buffer::from_slice(&vec![7f32; 2 * c]).unwrap();
    let (view, mut non_finite) = (running.view_mut(0..2 * c), Buffer::zeros(DType::F32, 1).unwrap());
    let call = UpdateRunning { n, saved: &saved, elided_bias: None, running: view, non_finite: &mut non_finite };
    update_running(&cpu, &case.op, call).unwrap();
    let count = (n * h * w) as f32;
    for (channel, variance) in running.slice_mut::<f32>().unwrap()[c..].iter_mut().enumerate() {
        close(*variance, f64::from(trained.saved[32 + channel] * count / (count - 1.0)), 1e-6, "unbiased variance");
        *variance = trained.saved[32 + channel];
    }
    let blocked = |values: &[f32]| {
        let mut buffer = Buffer::zeros(DType::F32, blocked_len(n, c, h, w)).unwrap();
        from_nchw(&cpu, SIZE, &Buffer::from_slice(values).unwrap(), &mut buffer).unwrap();
        buffer
    };
    let (x, shortcut, mut y) = (blocked(&case.x), blocked(case.shortcut.as_ref().unwrap()), blocked(&case.x));
    let params = Buffer::from_slice(&case.params).unwrap();
    let (params, running) = (params.view(0..2 * c), running.view(0..2 * c));
    let call = ForwardEval { n, x: &x, shortcut: Some(&shortcut), params, running, y: &mut y };
    forward_eval(&cpu, &case.op, call).unwrap();
    let mut plain = Buffer::zeros(DType::F32, n * c * h * w).unwrap();
    to_nchw(&cpu, SIZE, &y, &mut plain).unwrap();
    assert_eq!(plain.slice::<f32>().unwrap(), trained.y);
}
