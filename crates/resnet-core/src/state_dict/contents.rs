//! What files of weights hold: tensors by name, and the counters of updates beside them.

use super::problem::{damaged, Outcome};
use half::{bf16, f16};
use resnet_ops::allocate::with_room;
use safetensors::Dtype;
use std::collections::HashMap;

/// A named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// State-dict name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
    pub data: Vec<f32>,
}

/// A tensor of a type that weights do not have, whose values are not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// State-dict name.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
}

/// What a file of weights holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The tensors as f32, without `num_batches_tracked`: in the order of a PyTorch file's state dict, or of the data
    /// in a safetensors file.
    pub entries: Vec<Entry>,
    /// What a training run keeps beside its weights, under its own names.
    pub beside: Vec<Entry>,
    /// What else lies there, such as the I64 `n_averaged` of averaged weights.
    pub others: Vec<Other>,
    /// Updates that were made on the weights: the largest `num_batches_tracked`; 0 if there is none.
    pub updates: u64,
    /// The text entries of a safetensors file's header.
    pub metadata: HashMap<String, String>,
}

/// What averaging, data-parallel training and compilation put before every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

impl Contents {
    /// Takes off what wrappers, in any order, put before the names of all weights.
    pub(super) fn unwrap_names(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        // Each name is cut once: a long one may be nothing but wrappers.
        let (mut wrappers, mut cut) = (Vec::new(), 0);
        let is_shared =
            |prefix: &&str, cut: usize| self.entries.iter().all(|entry| entry.name[cut..].starts_with(prefix));
        while let Some(prefix) = WRAPPERS.into_iter().find(|prefix| is_shared(prefix, cut)) {
            wrappers.push(prefix);
            cut += prefix.len();
        }
        for Entry { name, .. } in &mut self.entries {
            name.drain(..cut);
        }
        for Other { name, .. } in &mut self.others {
            let step = |at: usize, prefix: &&str| if name[at..].starts_with(prefix) { at + prefix.len() } else { at };
            let cut = wrappers.iter().fold(0, step);
            name.drain(..cut);
        }
    }
}

/// The name that PyTorch gives to a batch norm's number of updates, beside its other names; never required.
pub(super) const BATCHES_TRACKED: &str = "num_batches_tracked";

/// What stands before the names of a training run's own numbers: no layer's name has it.
pub(super) const BESIDE: &str = "training/";

/// What stands behind the name of a quantised weight in that of its scales, one for each output.
pub(super) const SCALE: &str = "_scale";

/// Whether a name is that of a batch norm's number of updates.
pub(super) fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(BATCHES_TRACKED)
}

/// The updates that a counter tells of: one I64 of at least 0. Anything else under its name is no reason to refuse weights, and
/// tells of none.
pub(super) fn count_of(dtype: Dtype, bytes: &[u8]) -> u64 {
    let count = if dtype == Dtype::I64 { bytes.try_into().map_or(0, i64::from_le_bytes) } else { 0 };
    u64::try_from(count).unwrap_or(0)
}

/// Whether weights may be of a type.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16)
}

/// Little-endian numbers as f32.
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else the format has, or gets, is refused")]
pub(super) fn floats(dtype: Dtype, bytes: &[u8]) -> Outcome<Vec<f32>> {
    match dtype {
        Dtype::F32 => convert(bytes, f32::from_le_bytes),
        Dtype::F64 => convert(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => convert(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => convert(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::I8 => convert(bytes, |bytes| i8::from_le_bytes(bytes).into()),
        other => damaged(format!("expected F32, F64, F16, BF16, or I8 with scales, got {other}")),
    }
}

fn convert<const N: usize>(bytes: &[u8], to_f32: impl Fn([u8; N]) -> f32) -> Outcome<Vec<f32>> {
    let values = bytes.chunks_exact(N);
    let mut data = with_room(values.len())?;
    data.extend(values.map(|bytes| to_f32(bytes.try_into().expect("chunks of N"))));
    Ok(data)
}
