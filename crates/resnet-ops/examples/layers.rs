//! Speed of the CPU convolution kernels on each layer of ResNet-18 at 1x96x96; with `--bottlenecks`, of ResNet-50 at 64x64; with
//! `--groups`, on one layer divided into more and more groups.
//!
//! `cargo run --release -p resnet-ops --example layers -- [--bottlenecks | --groups [--channels N]] [--direct | --bf16 | --half]
//! [--inference [--int8]] [--threads N] [--batch N] [--runs N] [--least]` shows a table on stderr and writes a line of JSON for each layer to stdout; with
//! `--direct`, of the direct kernels alone, with `--bf16`, of what the precision of that name has, with `--half`, of those that round to
//! bf16 wherever they are defined, with `--peak`, of nothing but multiply-adds. With `--inference`, of the
//! forward pass alone, weights packed beforehand; with `--int8` of bytes wherever they are defined. Times are medians, or the least, which other programs
//! change least. Else packing of weights is included; rates count two operations for a multiply-add, taps on padding as well.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program, not library code.

use resnet_ops::conv2d::{self, Conv2d, ConvShape, Forward, InputGradient, InputRange, WeightGradient};
use resnet_ops::{
    Algorithm, Bf16Products, Buffer, DType, Executor, GradientTarget, Int8Products, Isa, Pass, Precision, Result,
};
use std::hint::black_box;
use std::time::Instant;

/// Name, input channels, output channels, kernel, stride, input size and how many of it the network has.
type Layer = (&'static str, usize, usize, usize, usize, usize, usize);
const LAYERS: [Layer; 11] = [
    ("stem 7x7/2", 1, 64, 7, 2, 96, 1),
    ("64 3x3", 64, 64, 3, 1, 24, 4),
    ("64-128 3x3/2", 64, 128, 3, 2, 24, 1),
    ("64-128 1x1/2", 64, 128, 1, 2, 24, 1),
    ("128 3x3", 128, 128, 3, 1, 12, 3),
    ("128-256 3x3/2", 128, 256, 3, 2, 12, 1),
    ("128-256 1x1/2", 128, 256, 1, 2, 12, 1),
    ("256 3x3", 256, 256, 3, 1, 6, 3),
    ("256-512 3x3/2", 256, 512, 3, 2, 6, 1),
    ("256-512 1x1/2", 256, 512, 1, 2, 6, 1),
    ("512 3x3", 512, 512, 3, 1, 3, 3),
];
/// The same of a ResNet-50.
const BOTTLENECKS: [Layer; 22] = [
    ("64 1x1", 64, 64, 1, 1, 16, 1),
    ("64 3x3", 64, 64, 3, 1, 16, 3),
    ("64-256 1x1", 64, 256, 1, 1, 16, 4),
    ("256-64 1x1", 256, 64, 1, 1, 16, 2),
    ("256-128 1x1", 256, 128, 1, 1, 16, 1),
    ("128 3x3/2", 128, 128, 3, 2, 16, 1),
    ("256-512 1x1/2", 256, 512, 1, 2, 16, 1),
    ("128-512 1x1", 128, 512, 1, 1, 8, 4),
    ("512-128 1x1", 512, 128, 1, 1, 8, 3),
    ("128 3x3", 128, 128, 3, 1, 8, 3),
    ("512-256 1x1", 512, 256, 1, 1, 8, 1),
    ("256 3x3/2", 256, 256, 3, 2, 8, 1),
    ("512-1024 1x1/2", 512, 1024, 1, 2, 8, 1),
    ("256-1024 1x1", 256, 1024, 1, 1, 4, 6),
    ("1024-256 1x1", 1024, 256, 1, 1, 4, 5),
    ("256 3x3", 256, 256, 3, 1, 4, 5),
    ("1024-512 1x1", 1024, 512, 1, 1, 4, 1),
    ("512 3x3/2", 512, 512, 3, 2, 4, 1),
    ("1024-2048 1x1/2", 1024, 2048, 1, 2, 4, 1),
    ("512-2048 1x1", 512, 2048, 1, 1, 2, 3),
    ("2048-512 1x1", 2048, 512, 1, 1, 2, 2),
    ("512 3x3", 512, 512, 3, 1, 2, 2),
];
/// By default wide enough to be divided as far as the papers do, and large enough that arithmetic is what one group spends
/// its time on.
fn divided(channels: usize) -> Layer {
    ("divided", channels, channels, 3, 1, 24, 1)
}
const GROUPS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 256];
const PASSES: [&str; 3] = ["forward", "input gradient", "weight gradient"];

fn main() -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (threads, batch, runs) = (option("--threads", cores), option("--batch", 128), option("--runs", 9));
    let isa = Isa::from_environment()?;
    let algorithm = match (Bf16Products::fastest(isa), Int8Products::fastest(isa)) {
        (Some(products), _) if flag("--half") => Algorithm::Bf16(products),
        (_, Some(products)) if flag("--int8") => Algorithm::Int8(products),
        _ if flag("--direct") => Algorithm::Direct,
        _ => Algorithm::Auto,
    };
    let precision = if flag("--bf16") { Precision::Bf16 } else { Precision::Fp32 };
    let executor = Executor::cpu(threads)?.with_convolution(algorithm).with_precision(precision);
    let peak = (0..20).map(|_| fma_peak(isa, threads)).fold(0.0, f64::max);
    eprintln!(
        "{} on {threads} threads, batch {batch}, {} of {runs}; FMA peak {peak:.0} GF/s\n",
        isa.name(),
        if flag("--least") { "the least" } else { "medians" }
    );
    println!(r#"{{"isa":"{}","threads":{threads},"batch":{batch},"runs":{runs},"peakGflops":{peak:.1}}}"#, isa.name());
    if flag("--peak") {
        return Ok(());
    }
    eprintln!("{:<15} {:>2} {:>20} {:>20} {:>20}", "layer", "x", PASSES[0], PASSES[1], PASSES[2]);
    let (mut work, mut total) = ([0.0; 3], [0.0; 3]);
    let by_groups = flag("--groups");
    let layers: Vec<(String, ConvShape, usize)> = if by_groups {
        let channels = option("--channels", 256);
        let divisors = GROUPS.into_iter().filter(|&groups| channels.is_multiple_of(groups));
        divisors
            .map(|groups| (format!("groups {groups}"), ConvShape { groups, ..shape(divided(channels)) }, 1))
            .collect()
    } else {
        let layers = if flag("--bottlenecks") { &BOTTLENECKS[..] } else { &LAYERS };
        layers.iter().map(|&layer| (layer.0.to_owned(), shape(layer), layer.6)).collect()
    };
    for (name, shape, count) in layers {
        let [height, width] = shape.output();
        let gflop = 2e-9 * (batch * height * width * shape.weight_len()) as f64;
        let seconds = measure(&executor, &shape, batch, runs)?;
        for (i, seconds) in seconds.iter().enumerate() {
            if let Some(seconds) = seconds {
                work[i] += gflop * count as f64;
                total[i] += seconds * count as f64;
            }
        }
        eprintln!("{name:<15} {count:>2} {}", cells(seconds.map(|seconds| seconds.map(|s| (gflop / s, s)))));
        let rates = seconds.map(|seconds| seconds.map_or("null".to_owned(), |s| format!("{:.2}", gflop / s)));
        let ConvShape {
            in_channels,
            out_channels,
            groups,
            input: [size, _],
            kernel: [kernel, _],
            stride: [stride, _],
            ..
        } = shape;
        println!(
            r#"{{"layer":"{name}","count":{count},"channels":[{in_channels},{out_channels}],"kernel":{kernel},"stride":{stride},"groups":{groups},"size":{size},"gflop":{gflop:.4},"forward":{},"inputGradient":{},"weightGradient":{}}}"#,
            rates[0], rates[1], rates[2]
        );
    }
    if by_groups {
        return Ok(());
    }
    let sums: [_; 3] = std::array::from_fn(|i| Some((work[i] / total[i], total[i])));
    eprintln!("{:<15} {:>2} {}", "all", "", cells(sums));
    let (work, total): (f64, f64) = (work.iter().sum(), total.iter().sum());
    eprintln!("\nall passes of a step: {:.0} ms, {:.0} GF/s", total * 1e3, work / total);
    Ok(())
}

/// Whether an option is on the command line.
fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

/// The number after an option on the command line.
fn option(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().expect("a number"))
}

fn shape((_, in_channels, out_channels, kernel, stride, size, _): Layer) -> ConvShape {
    ConvShape {
        in_channels,
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        groups: 1,
        bias: true,
        input: [size; 2],
        plain_input: in_channels == 1,
    }
}

fn cells(passes: [Option<(f64, f64)>; 3]) -> String {
    let cell = |pass: Option<(f64, f64)>| match pass {
        Some((rate, seconds)) => format!("{rate:>7.0} GF/s {:>5.1} ms", seconds * 1e3),
        None => format!("{:>21}", "-"),
    };
    passes.map(cell).join(" ")
}

/// Median seconds of each pass; a stem has no input gradient.
fn measure(executor: &Executor, shape: &ConvShape, batch: usize, runs: usize) -> Result<[Option<f64>; 3]> {
    let conv = match flag("--int8") {
        true => Conv2d::quantized(executor, shape.clone(), InputRange { low: 0.0, high: 0.5 })?,
        false => Conv2d::new(executor, shape.clone())?,
    };
    let [height, width] = shape.output();
    let x = noise(conv2d::input_len(executor, shape, batch))?;
    let dy = noise(executor.activation_len(batch, shape.out_channels, height, width))?;
    let params = noise(shape.params_len())?;
    let zeros = |len| Buffer::zeros(DType::F32, len);
    let (mut y, mut dx, mut grads) = (zeros(dy.len())?, zeros(x.len())?, zeros(params.len())?);
    let mut packed = zeros(conv.packed_len(Pass::Forward))?;
    let passes = [Pass::Forward, Pass::InputGradient, Pass::WeightGradient];
    let mut scratch = zeros(passes.map(|pass| conv.scratch_len(pass, batch)).into_iter().max().unwrap_or(0))?;
    let view = || params.view(0..params.len());
    // In the networks a batch norm follows all but the 1x1 convolutions.
    let skip_bias = shape.kernel != [1; 2];

    let inference = flag("--inference");
    conv2d::pack(executor, &conv, batch, Pass::Forward, view(), &mut packed)?;
    let forward = median(runs, || {
        if !inference {
            conv2d::pack(executor, &conv, batch, Pass::Forward, view(), &mut packed)?;
        }
        let call = Forward {
            n: batch,
            x: &x,
            params: view(),
            packed: &packed,
            scratch: &mut scratch,
            y: &mut y,
            shortcut: None,
            relu: false,
            moments: None,
        };
        conv2d::forward(executor, &conv, call)
    })?;
    if inference {
        return Ok([Some(forward), None, None]);
    }
    let weight_gradient = median(runs, || {
        let (scratch, grads) = (&mut scratch, grads.view_mut(0..params.len()));
        conv2d::weight_gradient(executor, &conv, WeightGradient { n: batch, x: &x, dy: &dy, scratch, grads, skip_bias })
    })?;
    if shape.plain_input {
        return Ok([Some(forward), None, Some(weight_gradient)]);
    }
    let mut packed = zeros(conv.packed_len(Pass::InputGradient))?;
    let input_gradient = median(runs, || {
        conv2d::pack(executor, &conv, batch, Pass::InputGradient, view(), &mut packed)?;
        let (scratch, dx) = (&mut scratch, GradientTarget { buffer: &mut dx, accumulate: false });
        let call = InputGradient { n: batch, dy: &dy, params: view(), packed: &packed, scratch, dx, norm: None };
        conv2d::input_gradient(executor, &conv, call)
    })?;
    Ok([Some(forward), Some(input_gradient), Some(weight_gradient)])
}

/// Values in [-0.5, 0.5), none of them denormal or special.
fn noise(len: usize) -> Result<Buffer> {
    let values: Vec<f32> =
        (0..len as u32).map(|i| i.wrapping_mul(2_654_435_769) as f32 / u32::MAX as f32 - 0.5).collect();
    Buffer::from_slice(&values)
}

/// Median seconds of a call, or the least, after one that is not counted.
fn median(runs: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        call()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[if flag("--least") { 0 } else { seconds.len() / 2 }])
}

/// GF/s of `threads` threads that do nothing but multiply-adds on registers.
fn fma_peak(isa: Isa, threads: usize) -> f64 {
    const ROUNDS: usize = 3_000_000;
    // Enough independent chains to fill two units with a latency of four or five cycles.
    const CHAINS: usize = 12;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| black_box(multiply_add::<CHAINS>(isa, ROUNDS, black_box(0.999), black_box(0.001))));
        }
    });
    let lanes = match isa {
        Isa::Avx2 | Isa::Neon => 8,
        Isa::Portable | Isa::Avx512 => 16,
    };
    2e-9 * (threads * ROUNDS * CHAINS * lanes) as f64 / start.elapsed().as_secs_f64()
}

/// `rounds` multiply-adds on each of `CHAINS` vectors. Factor and term are arguments so that nothing is known beforehand.
fn multiply_add<const CHAINS: usize>(isa: Isa, rounds: usize, factor: f32, term: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    match isa {
        // SAFETY: `isa` comes from `Isa::from_environment`, which names only what this machine has.
        Isa::Avx512 => return unsafe { multiply_add_avx512::<CHAINS>(rounds, factor, term) },
        // SAFETY: likewise.
        Isa::Avx2 => return unsafe { multiply_add_avx2::<CHAINS>(rounds, factor, term) },
        Isa::Portable | Isa::Neon => {}
    }
    if isa == Isa::Neon {
        // Two registers a chain, so that all chains find room.
        return in_lanes::<8, CHAINS>(rounds, |lane| lane.mul_add(factor, term));
    }
    in_lanes::<16, CHAINS>(rounds, |lane| lane * factor + term)
}

/// The same on arrays, which LLVM vectorises.
fn in_lanes<const LANES: usize, const CHAINS: usize>(rounds: usize, step: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [[1.0f32; LANES]; CHAINS];
    for _ in 0..rounds {
        for lane in sums.iter_mut().flatten() {
            *lane = step(*lane);
        }
    }
    sums.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_add_avx512<const CHAINS: usize>(rounds: usize, factor: f32, term: f32) -> f32 {
    use std::arch::x86_64::{_mm512_add_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let (factor, term) = (_mm512_set1_ps(factor), _mm512_set1_ps(term));
    let mut sums = [_mm512_set1_ps(1.0); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, term);
        }
    }
    _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_set1_ps(0.0), |total, sum| _mm512_add_ps(total, sum)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2<const CHAINS: usize>(rounds: usize, factor: f32, term: f32) -> f32 {
    use std::arch::x86_64::{_mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
    let (factor, term) = (_mm256_set1_ps(factor), _mm256_set1_ps(term));
    let mut sums = [_mm256_set1_ps(1.0); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, term);
        }
    }
    _mm256_cvtss_f32(sums.into_iter().fold(_mm256_set1_ps(0.0), |total, sum| _mm256_add_ps(total, sum)))
}
