//! How fast each optimiser's pass over flat storage is, beside a pass that reads and writes the same memory and does next to nothing:
//! `cargo run --release -p resnet-ops --example optimizers [threads]`. Eleven million parameters, as ResNet-18 has; medians of rounds in
//! which all take turns.

#![allow(clippy::print_stdout)] // A program, not library code.

use resnet_ops::update::{Clip, Update};
use resnet_ops::{adam, average, lion, rmsprop, sgd, sum_of_squares, Buffer, DType, Executor, Isa, Pool};
use std::time::Instant;

const LEN: usize = 11_178_378;
const ROUNDS: usize = 21;
/// Parameters of a block that is updated before its average is.
const BLOCKS: [usize; 4] = [128 << 10, 256 << 10, 512 << 10, LEN];

fn main() {
    let threads = std::env::args().nth(1).map_or(2, |threads| threads.parse().expect("a number of threads"));
    let cpu = Executor::cpu(threads).expect("a CPU");
    let pool = Pool::new(threads);
    let mut buffers: Vec<Buffer> = (0..6).map(|_| cpu.zeros(DType::F32, LEN).expect("memory")).collect();
    for (i, buffer) in buffers.iter_mut().enumerate() {
        buffer.write(&(0..LEN).map(|at| ((at * 31 + i) % 97) as f32 * 1e-3).collect::<Vec<_>>()).expect("room");
    }
    let mut names: Vec<String> =
        ["1 read", "2 and 1 written", "3 and 2", "4 and 3", "norm", "sgd", "momentum", "lion", "rmsprop", "adamw"]
            .map(str::to_owned)
            .into();
    names.extend(BLOCKS.map(|block| format!("adamw and average by {block}")));
    let mut seconds = vec![Vec::new(); names.len()];
    for _ in 0..ROUNDS {
        for (i, seconds) in seconds.iter_mut().enumerate() {
            let began = Instant::now();
            run(i, &cpu, &pool, &mut buffers);
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    let median = |i: usize| {
        let mut sorted = seconds[i].clone();
        sorted.sort_by(f64::total_cmp);
        sorted[ROUNDS / 2]
    };
    println!("{} threads, {}", pool.threads(), Isa::from_environment().expect("an instruction set").name());
    let least = |i: usize| 1e3 * seconds[i].iter().copied().fold(f64::INFINITY, f64::min);
    let bounds = [(4, 0), (5, 1), (6, 2), (7, 2), (8, 2), (9, 3)].into_iter();
    for (i, bound) in bounds.chain((0..BLOCKS.len()).map(|block| (10 + block, 9))) {
        let mut ratios: Vec<f64> = seconds[i].iter().zip(&seconds[bound]).map(|(own, bound)| own / bound).collect();
        ratios.sort_by(f64::total_cmp);
        let (own, bare) = (1e3 * median(i), 1e3 * median(bound));
        let ratio = ratios[ROUNDS / 2];
        println!(
            "{:10} {own:6.2} ms, at least {:6.2}, {} {bare:6.2} ms, ratio {ratio:.2}",
            names[i],
            least(i),
            names[bound]
        );
    }
}

fn run(which: usize, cpu: &Executor, pool: &Pool, buffers: &mut [Buffer]) {
    let [params, grads, first, second, kept_average, note] = buffers else { unreachable!("six buffers") };
    match which {
        0 => std::mem::drop(bare_sum(pool, values(grads))),
        1 => bare(pool, values_mut(params), values(grads), []),
        2 => bare(pool, values_mut(params), values(grads), [values_mut(first)]),
        3 => bare(pool, values_mut(params), values(grads), [values_mut(first), values_mut(second)]),
        4 => std::mem::drop(sum_of_squares::sum_of_squares(cpu, &grads.view(0..LEN)).expect("a sum")),
        10.. => {
            let block = BLOCKS[which - 10];
            for start in (0..LEN).step_by(block) {
                let range = start..LEN.min(start + block);
                let kept = vec![first.view_mut(range.clone()), second.view_mut(range.clone())];
                let (params_part, grads) = (params.view_mut(range.clone()), grads.view(range.clone()));
                let (clip, non_finite) = (Clip { scale: 0.5, ..Clip::default() }, &mut *note);
                updated(9, cpu, Update { params: params_part, grads, kept, clip, step: 3, non_finite });
                let target = kept_average.view_mut(range.clone());
                average::average(cpu, target, &params.view(range), 1e-3).expect("an average");
            }
        }
        _ => {
            let kept: Vec<_> = match which {
                5 => vec![],
                6..=8 => vec![first.view_mut(0..LEN)],
                _ => vec![first.view_mut(0..LEN), second.view_mut(0..LEN)],
            };
            let (params, grads, clip) = (params.view_mut(0..LEN), grads.view(0..LEN), Clip::default());
            let update = Update { params, grads, kept, clip, step: 3, non_finite: note };
            updated(which, cpu, update);
        }
    }
}

fn values(buffer: &Buffer) -> &[f32] {
    buffer.slice().expect("f32 on the host")
}

fn values_mut(buffer: &mut Buffer) -> &mut [f32] {
    buffer.slice_mut().expect("f32 on the host")
}

fn updated(which: usize, cpu: &Executor, update: Update) {
    let (lr, weight_decay) = (1e-9, 1e-3);
    let result = match which {
        5 | 6 => {
            let momentum = if which == 5 { 0.0 } else { 0.9 };
            let op = sgd::Sgd { lr, momentum, dampening: 0.0, nesterov: false, weight_decay };
            let Update { params, grads, kept, clip, non_finite, .. } = update;
            let velocity = kept.into_iter().next();
            sgd::step(cpu, &op, sgd::Step { params, grads, velocity, clip, non_finite })
        }
        7 => lion::step(cpu, &lion::Lion { lr, betas: [0.9, 0.99], weight_decay }, update),
        8 => {
            let op = rmsprop::RmsProp { lr, alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay };
            rmsprop::step(cpu, &op, update)
        }
        _ => {
            let op = adam::Adam { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay, decoupled: true };
            adam::step(cpu, &op, update)
        }
    };
    result.expect("an update");
}

/// Reads all, and writes all but the gradients.
fn bare<const N: usize>(pool: &Pool, params: &mut [f32], grads: &[f32], kept: [&mut [f32]; N]) {
    pool.chunks_of_all_mut(params, kept, 16 * 1024, |chunk, params, kept| {
        let grads = &grads[chunk * 16 * 1024..][..params.len()];
        match kept.into_iter().collect::<Vec<_>>().as_mut_slice() {
            [] => params.iter_mut().zip(grads).for_each(|(p, g)| *p += g),
            [first] => {
                for ((p, m), g) in params.iter_mut().zip(first.iter_mut()).zip(grads) {
                    *m += g;
                    *p += *m;
                }
            }
            [first, second, ..] => {
                for (((p, m), v), g) in params.iter_mut().zip(first.iter_mut()).zip(second.iter_mut()).zip(grads) {
                    *m += g;
                    *v += g;
                    *p += *m + *v;
                }
            }
        }
    });
}

fn bare_sum(pool: &Pool, grads: &[f32]) -> Vec<f32> {
    let mut sums = vec![0f32; grads.len().div_ceil(16 * 1024)];
    pool.chunks_mut(&mut sums, 1, |chunk, sum| {
        let part = &grads[chunk * 16 * 1024..(chunk * 16 * 1024 + 16 * 1024).min(grads.len())];
        sum[0] =
            part.as_chunks::<16>().0.iter().fold([0f32; 16], |sums, part| std::array::from_fn(|i| sums[i] + part[i]))
                [0];
    });
    sums
}
