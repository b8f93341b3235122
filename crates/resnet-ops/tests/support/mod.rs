//! What the tests of all ops share: seeded data, buffers with garbage around the part in use, every op behind one trait
//! (`ops`, `convolution`, `losses`, `normalisation`, `padding`, `pooling`) and the shapes that it is tried on (`shapes`).

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod convolution;
pub mod losses;
pub mod norm_pool;
pub mod normalisation;
pub mod ops;
mod order;
pub mod padding;
pub mod pooling;
pub mod shapes;
mod tell;

use resnet_ops::{layout, Buffer, DType, Executor, Isa, Precision, Result, View, ViewMut};

pub use order::order;
pub use tell::tell;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A value in −1..1 that f32 holds exactly.
    pub fn value(&mut self) -> f64 {
        (self.next() >> 40) as f64 / (1 << 23) as f64 - 1.0
    }

    pub fn values(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.value()).collect()
    }
}

/// Each instruction set of the machine, on one and on two threads.
///
/// None where tests run on a GPU: elsewhere they run on these.
pub fn cpu_executors() -> Vec<(Isa, [Executor; 2])> {
    if on_a_gpu() {
        return Vec::new();
    }
    let on = |isa| [1, 2].map(|threads| Executor::cpu_with(threads, isa).unwrap());
    Isa::available().into_iter().map(|isa| (isa, on(isa))).collect()
}

/// Every backend in f32 or f64, the CPU one in each instruction set.
pub fn every_executor() -> Vec<Executor> {
    let cpu = cpu_executors().into_iter().flat_map(|(_, executors)| executors);
    [Executor::ReferenceF64, Executor::ReferenceF32].into_iter().chain(cpu).chain(cuda_executor()).collect()
}

fn on_a_gpu() -> bool {
    std::env::var("RESNET_NATIVE_TESTS_GPU").is_ok_and(|value| value == "1")
}

/// The GPU's kernels in f32.
pub fn cuda_executor() -> Option<Executor> {
    Executor::cuda_for_tests(Precision::Fp32)
}

/// The same in bf16.
pub fn bf16_executor() -> Option<Executor> {
    Executor::cuda_for_tests(Precision::Bf16)
}

/// Elements after the part in use: slots of a plan are as long as their longest value.
const TAIL: usize = 37;

/// Where parameters begin in their flat storage: nothing keeps them aligned.
const OFFSET: usize = 5;

/// A buffer of NaN, longer than `len`.
pub fn garbage(executor: &Executor, dtype: DType, len: usize) -> Buffer {
    executor.upload(dtype, &vec![f32::NAN; len + TAIL]).unwrap()
}

/// A buffer of exactly these values.
pub fn buffer(executor: &Executor, dtype: DType, values: &[f64]) -> Buffer {
    executor.upload(dtype, values).unwrap()
}

/// A note of whether something is not finite, which nothing is so far.
pub fn note(executor: &Executor) -> Buffer {
    executor.zeros(executor.parameter_dtype(), 1).unwrap()
}

/// All elements.
pub fn elements(buffer: &Buffer) -> Vec<f64> {
    buffer.read(0..buffer.len()).unwrap()
}

/// These values with garbage after them.
pub fn flat(executor: &Executor, values: &[f64]) -> Buffer {
    flat_of(executor, executor.dtype(), values)
}

/// The same in another type than that of activations.
pub fn flat_of(executor: &Executor, dtype: DType, values: &[f64]) -> Buffer {
    let mut all = values.to_vec();
    all.resize(values.len() + TAIL, f64::NAN);
    buffer(executor, dtype, &all)
}

/// The first `len` elements; the garbage after them must be untouched.
pub fn read_flat(len: usize, buffer: &Buffer) -> Vec<f64> {
    let mut all = elements(buffer);
    assert!(all[len..].iter().all(|value| value.is_nan()), "written beyond the end");
    all.truncate(len);
    all
}

/// (N, C, H, W) values in the executor's layout, with garbage after them.
pub fn activation(executor: &Executor, shape: [usize; 4], values: &[f64]) -> Result<Buffer> {
    let mut target = blank_activation(executor, shape);
    layout::from_nchw(executor, shape, &buffer(executor, executor.parameter_dtype(), values), &mut target)?;
    Ok(target)
}

/// Garbage in place of an activation.
pub fn blank_activation(executor: &Executor, [n, c, h, w]: [usize; 4]) -> Buffer {
    garbage(executor, executor.dtype(), executor.activation_len(n, c, h, w))
}

/// The (N, C, H, W) values of an activation. Lanes beyond the channels must be zero and the garbage after it untouched.
pub fn read_activation(executor: &Executor, shape: [usize; 4], source: &Buffer) -> Result<Vec<f64>> {
    let [n, c, h, w] = shape;
    let all = read_flat(executor.activation_len(n, c, h, w), source);
    // Lanes that lie together, and how many such there are of a pixel.
    let (lanes, blocks) = match executor {
        Executor::Cpu(_) => (layout::LANES, layout::blocks(c)),
        _ => (all.len() / (n * h * w), 1),
    };
    for (index, values) in all.chunks_exact(lanes).enumerate() {
        let first = index / (h * w) % blocks * lanes;
        for (lane, &value) in values.iter().enumerate().skip(c - first) {
            assert!(value == 0.0, "lane of channel {} of {c} holds {value}", first + lane);
        }
    }
    let mut plain = buffer(executor, executor.parameter_dtype(), &vec![f64::NAN; n * c * h * w]);
    layout::to_nchw(executor, shape, source, &mut plain)?;
    Ok(elements(&plain))
}

/// One layer's parameters or gradients in flat storage, with garbage on both sides.
pub struct Parameters {
    storage: Buffer,
    len: usize,
}

impl Parameters {
    pub fn new(executor: &Executor, values: &[f64]) -> Self {
        let mut all = vec![f64::NAN; OFFSET + values.len() + TAIL];
        all[OFFSET..][..values.len()].copy_from_slice(values);
        Self { storage: buffer(executor, executor.parameter_dtype(), &all), len: values.len() }
    }

    pub fn blank(executor: &Executor, len: usize) -> Self {
        Self::new(executor, &vec![f64::NAN; len])
    }

    pub fn view(&self) -> View<'_> {
        self.storage.view(OFFSET..OFFSET + self.len)
    }

    pub fn view_mut(&mut self) -> ViewMut<'_> {
        self.storage.view_mut(OFFSET..OFFSET + self.len)
    }

    /// The values; the garbage around them must be untouched.
    pub fn read(&self) -> Vec<f64> {
        let all = read_flat(OFFSET + self.len, &self.storage);
        assert!(all[..OFFSET].iter().all(|value| value.is_nan()), "written before the start");
        all[OFFSET..].to_vec()
    }
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Fails unless each value is within `tolerance` times the expected values' root mean square of what is expected.
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &dyn std::fmt::Display) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let allowed = tolerance * norm(expected) / (expected.len().max(1) as f64).sqrt();
    tell(|| {
        let most = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
        format!("distance {:.2e} of what is allowed: {what}", if most == 0.0 { 0.0 } else { most / allowed })
    });
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= allowed;
        assert!(close, "{what}: element {index} is {found}, expected {expected} within {allowed:e}");
    }
}
