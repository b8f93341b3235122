//! What PyTorch computed, and how far other results are from it: `tools/pytorch_fixtures.py` says what it all means.

use crate::hashed;
use resnet_core::session::Named;
use resnet_ops::Real;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// Rows of gradients below this, relative to all of them, are zero in exact arithmetic.
const VANISHING: f64 = 1e-9;
/// Entries of a tensor that fixtures keep.
const SAMPLES: usize = 4;

/// Samples of tensors, and the root mean square of each whole tensor.
#[derive(Default, PartialEq)]
pub struct Rows {
    /// Empty for those of a fixture, which are in the same order.
    names: Vec<String>,
    samples: Vec<f64>,
    rms: Vec<f64>,
}

impl Rows {
    pub fn of<V: Real>(named: Named<V>) -> Self {
        let mut rows = Self::default();
        for (name, tensor) in named {
            let indices = hashed::bits(&format!("index.{name}")).take(SAMPLES);
            rows.samples.extend(indices.map(|bits| tensor.data[(bits % tensor.data.len() as u64) as usize].into()));
            rows.rms.push(rms(&tensor.data));
            rows.names.push(name);
        }
        rows
    }
}

/// Everything that is compared.
#[derive(Default, PartialEq)]
pub struct Quantities {
    pub losses: Vec<f64>,
    pub logits: Vec<f64>,
    pub gradients: Rows,
    pub running: Rows,
}

/// What PyTorch computed.
pub struct Fixture {
    pub shape: [usize; 4],
    pub lr: f64,
    /// How many numbers the network learns.
    pub parameters: usize,
    /// The numbers of the steps' batches.
    pub batches: Vec<u64>,
    /// Its results in f64.
    exact: Quantities,
    /// The distances of its results in f32 from those, in the order of [`Fixture::distances`].
    pub own: [f64; 7],
}

/// A quantity's distances from PyTorch's, part by part.
pub struct Distances {
    pub quantity: &'static str,
    /// By name, which is empty for what has no parts.
    parts: Vec<(String, f64)>,
}

impl Distances {
    /// The distance of the whole.
    pub fn overall(&self) -> f64 {
        rms(&self.parts.iter().map(|(_, distance)| *distance).collect::<Vec<_>>())
    }

    /// The part that is farthest away; one that is not a number is farther than any.
    pub fn worst(&self) -> Option<&(String, f64)> {
        self.parts.iter().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()))
    }
}

impl Fixture {
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks")
    }

    pub fn read(name: &str) -> Self {
        let bytes = std::fs::read(Self::folder().join(format!("{name}.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let words = |key: &str, dtype| -> Vec<u64> {
            // A network without batch norms has no running statistics.
            let Ok(tensor) = file.tensor(key) else { return Vec::new() };
            assert_eq!(tensor.dtype(), dtype, "{name}: {key}");
            tensor.data().chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
        };
        let whole = |key: &str| words(key, Dtype::I64);
        let real = |key: &str| -> Vec<f64> { words(key, Dtype::F64).into_iter().map(f64::from_bits).collect() };
        let rows = |key: &str| Rows { names: Vec::new(), samples: real(key), rms: real(&format!("{key}.rms")) };
        Self {
            shape: std::array::from_fn(|axis| whole("shape")[axis] as usize),
            lr: real("lr")[0],
            parameters: whole("parameters")[0] as usize,
            batches: whole("batches"),
            exact: Quantities {
                losses: real("losses"),
                logits: real("logits"),
                gradients: rows("gradients"),
                running: rows("running"),
            },
            own: real("distances").try_into().unwrap(),
        }
    }

    /// The distances of results from PyTorch's in f64.
    pub fn distances(&self, found: &Quantities) -> [Distances; 7] {
        let exact = &self.exact;
        let whole = |quantity, a: &[f64], b: &[f64]| {
            assert_eq!(a.len(), b.len(), "{quantity}");
            let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            Distances { quantity, parts: vec![(String::new(), rms(&difference) / rms(b))] }
        };
        let scale = rms(&exact.gradients.rms);
        let (lasting, vanishing): (Vec<usize>, Vec<usize>) =
            (0..exact.gradients.rms.len()).partition(|&row| exact.gradients.rms[row] > VANISHING * scale);
        let all: Vec<usize> = (0..exact.running.rms.len()).collect();
        [
            samples("gradients", &found.gradients, &exact.gradients, &lasting),
            sizes("sizes of gradients", &found.gradients, &exact.gradients, &lasting),
            parts("gradients that vanish", &found.gradients, &vanishing, |row| found.gradients.rms[row] / scale),
            whole("losses", &found.losses, &exact.losses),
            whole("logits", &found.logits, &exact.logits),
            samples("running statistics", &found.running, &exact.running, &all),
            sizes("sizes of running statistics", &found.running, &exact.running, &all),
        ]
    }
}

/// The distances of rows.
fn parts(quantity: &'static str, found: &Rows, rows: &[usize], distance: impl Fn(usize) -> f64) -> Distances {
    Distances { quantity, parts: rows.iter().map(|&row| (found.names[row].clone(), distance(row))).collect() }
}

/// Of samples, measured in root mean squares of their tensors.
fn samples(quantity: &'static str, a: &Rows, b: &Rows, rows: &[usize]) -> Distances {
    assert_eq!(a.samples.len(), b.samples.len(), "{quantity}");
    parts(quantity, a, rows, |row| {
        let range = row * SAMPLES..(row + 1) * SAMPLES;
        let pairs = a.samples[range.clone()].iter().zip(&b.samples[range]);
        rms(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>()) / b.rms[row]
    })
}

/// Of root mean squares.
fn sizes(quantity: &'static str, a: &Rows, b: &Rows, rows: &[usize]) -> Distances {
    assert_eq!(a.rms.len(), b.rms.len(), "{quantity}");
    parts(quantity, a, rows, |row| (a.rms[row] / b.rms[row] - 1.0).abs())
}

/// Root mean square; zero of nothing. In several sums, so that one addition need not wait for the one before.
fn rms<V: Real>(values: &[V]) -> f64 {
    let mut sums = [0f64; 8];
    for values in values.chunks(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += value.into() * value.into();
        }
    }
    (sums.iter().sum::<f64>() / values.len().max(1) as f64).sqrt()
}
