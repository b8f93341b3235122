//! The state dict that a pickle describes, and its tensors' values out of their storages.

use super::contents::{count_of, floats, is_counter, is_float, Contents, Entry, Other};
use super::pickle::{shown, Pickle, StorageRef, TensorView, Value};
use super::problem::{damaged, Outcome, Problem};
use resnet_ops::allocate::with_room;
use safetensors::Dtype;
use std::collections::{HashMap, HashSet};

/// What a checkpoint calls the state dict that it holds.
const CHECKPOINT_KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// Longest name of a tensor or of a storage, in bytes.
const MAX_NAME: usize = 1024;
/// Most dimensions of a tensor.
const MAX_RANK: usize = 16;

/// Tensors whose values are to be read, storage by storage.
#[derive(Debug)]
pub(super) struct StateDict<'a> {
    entries: Vec<Entry>,
    others: Vec<Other>,
    /// Each entry's place in its storage.
    views: Vec<View>,
    /// Every storage that the pickle names.
    storages: HashMap<&'a str, Storage>,
    /// The keys of those that are wanted, in the order of their first tensor.
    keys: Vec<&'a str>,
    /// The largest of the counters that were read.
    updates: u64,
}

/// A storage and what is in it.
#[derive(Debug)]
struct Storage {
    dtype: Dtype,
    /// Values.
    len: u64,
    /// Indices of the entries that lie in it and are not filled yet.
    entries: Vec<usize>,
    /// Where in it counters of updates lie that are not read yet.
    counters: Vec<usize>,
}

impl Storage {
    fn is_wanted(&self) -> bool {
        !self.entries.is_empty() || !self.counters.is_empty()
    }
}

/// Values of a storage, in row-major order.
#[derive(Debug)]
struct View {
    offset: usize,
    len: usize,
    /// Size and stride of each axis that has more than one entry; neighbours that one axis can stand for are merged.
    axes: Vec<(usize, usize)>,
}

impl<'a> StateDict<'a> {
    /// Finds the state dict, and checks that its tensors lie within their storages and do not outgrow a file of
    /// `file_len` bytes.
    pub fn of(pickle: &'a Pickle, file_len: u64) -> Outcome<Self> {
        let tensors = tensors(pickle)?;
        let mut dict = Self {
            entries: vec![],
            others: vec![],
            views: vec![],
            storages: storages(pickle)?,
            keys: vec![],
            updates: 0,
        };
        let mut bytes = 0u64;
        for (name, tensor) in tensors {
            let key = pickle.text(pickle.storages[tensor.storage as usize].key);
            let storage = dict.storages.get_mut(key).expect("all are listed");
            let is_first = !storage.is_wanted();
            let found = place(pickle, tensor, storage.len);
            if is_counter(name) {
                // Nothing depends on it: what cannot be one is passed over.
                let counter = found.ok().filter(|(_, view)| storage.dtype == Dtype::I64 && view.len == 1);
                storage.counters.extend(counter.map(|(_, view)| view.offset));
            } else if !is_float(storage.dtype) {
                dict.others.push(Other { name: name.to_owned(), dtype: storage.dtype });
            } else {
                let (shape, view) = found.map_err(|reason| named(name, reason))?;
                bytes = (view.len as u64).saturating_mul(bytes_of(storage.dtype)).saturating_add(bytes);
                // Tied weights are there twice; more of the same is a small file that would fill the memory.
                if bytes > file_len.saturating_mul(2) {
                    return damaged(format!("its tensors hold more than twice the {file_len} bytes of the file"));
                }
                storage.entries.push(dict.entries.len());
                dict.entries.push(Entry { name: name.to_owned(), shape, data: Vec::new() });
                dict.views.push(view);
            }
            if is_first && storage.is_wanted() {
                dict.keys.push(key);
            }
        }
        Ok(dict)
    }

    /// The keys of the storages that are to be filled.
    pub fn keys(&self) -> Vec<&'a str> {
        self.keys.clone()
    }

    /// Values and bytes of a storage, if the pickle names it.
    pub fn size(&self, key: &str) -> Option<(u64, u64)> {
        let Storage { dtype, len, .. } = self.storages.get(key)?;
        len.checked_mul(bytes_of(*dtype)).map(|bytes| (*len, bytes))
    }

    /// Whether any tensor lies in a storage and is not read yet.
    pub fn wants(&self, key: &str) -> bool {
        self.storages.get(key).is_some_and(Storage::is_wanted)
    }

    /// Takes the values of the tensors that lie in a storage, whose bytes are as many as [`StateDict::size`] says.
    pub fn fill(&mut self, key: &str, bytes: Vec<u8>) -> Outcome<()> {
        let Some(storage) = self.storages.get_mut(key) else { return Ok(()) };
        for counter in std::mem::take(&mut storage.counters) {
            let count = bytes.chunks_exact(8).nth(counter).map_or(0, |bytes| count_of(storage.dtype, bytes));
            self.updates = self.updates.max(count);
        }
        let entries = std::mem::take(&mut storage.entries);
        if entries.is_empty() {
            return Ok(());
        }
        let values = floats(storage.dtype, &bytes)?;
        drop(bytes);
        for entry in entries {
            self.entries[entry].data = self.views[entry].gather(&values)?;
        }
        Ok(())
    }

    /// What the file holds, if all of it was read.
    pub fn finish(self) -> Outcome<Contents> {
        match self.keys.iter().find(|key| self.wants(key)) {
            Some(key) => damaged(format!("storage {} is missing", shown(key))),
            None => Ok(Contents {
                entries: self.entries,
                others: self.others,
                updates: self.updates,
                ..Contents::default()
            }),
        }
    }
}

/// Names and tensors of a pickle's state dict.
fn tensors(pickle: &Pickle) -> Outcome<Vec<(&str, TensorView)>> {
    const EXPECTED: &str = "expected a state dict, or a checkpoint with one as state_dict, model_state_dict or model";
    let Value::Dict(root) = pickle.root else { return damaged(format!("{EXPECTED}, got something else")) };
    let inner = CHECKPOINT_KEYS.iter().find_map(|key| match pickle.get(root, key) {
        Some(Value::Dict(inner)) => Some(inner),
        _ => None,
    });
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for (key, value) in pickle.pairs(inner.unwrap_or(root)) {
        let Value::Text(name) = key else {
            return damaged(format!("{EXPECTED}, got a dict with keys that are no text"));
        };
        let name = pickle.text(name);
        let Value::Tensor(tensor) = value else {
            return damaged(format!("{EXPECTED}, got a dict whose {} is no tensor", shown(name)));
        };
        // Before names are compared: many long ones may share their text.
        if name.len() > MAX_NAME {
            return damaged(format!("{}: a name of {} bytes", shown(name), name.len()));
        }
        if !names.insert(name) {
            return damaged(format!("{} is there twice", shown(name)));
        }
        tensors.push((name, pickle.tensors[tensor as usize]));
    }
    Ok(tensors)
}

/// The storages that a pickle names, by key; whoever shares one says the same of it.
fn storages(pickle: &Pickle) -> Outcome<HashMap<&str, Storage>> {
    let mut storages: HashMap<&str, Storage> = HashMap::new();
    for &StorageRef { key, dtype, len } in &pickle.storages {
        let key = pickle.text(key);
        if key.len() > MAX_NAME {
            return damaged(format!("the key of a storage has {} bytes", key.len()));
        }
        let storage = storages.entry(key).or_insert(Storage { dtype, len, entries: vec![], counters: vec![] });
        if (storage.dtype, storage.len) != (dtype, len) {
            return damaged(format!("storage {} has two types or two sizes", shown(key)));
        }
    }
    Ok(storages)
}

/// A tensor's sizes, and its place in a storage of `storage_len` values.
fn place(pickle: &Pickle, tensor: TensorView, storage_len: u64) -> std::result::Result<(Vec<usize>, View), String> {
    let TensorView { offset, sizes, strides, .. } = tensor;
    let [sizes, strides] = [sizes, strides].map(|tuple| pickle.containers[tuple as usize].as_slice());
    if sizes.len() > MAX_RANK || sizes.len() != strides.len() {
        return Err(format!("{} sizes and {} strides", sizes.len(), strides.len()));
    }
    let numbers = |values: &[Value]| values.iter().map(|value| as_usize(*value)).collect::<Option<Vec<usize>>>();
    let (Some(offset), Some(shape), Some(strides)) = (usize::try_from(offset).ok(), numbers(sizes), numbers(strides))
    else {
        return Err("sizes that are no numbers of at least 0".into());
    };
    let outside =
        || format!("shape {shape:?} with strides {strides:?} at {offset} in a storage of {storage_len} values");
    if shape.contains(&0) {
        return Ok((shape, View { offset: 0, len: 0, axes: Vec::new() }));
    }
    let (mut len, mut last, mut axes) = (1usize, offset, Vec::<(usize, usize)>::new());
    for (&size, &stride) in shape.iter().zip(&strides).filter(|(&size, _)| size > 1) {
        len = len.checked_mul(size).ok_or_else(outside)?;
        last = (size - 1).checked_mul(stride).and_then(|reach| reach.checked_add(last)).ok_or_else(outside)?;
        match axes.last_mut() {
            Some(outer) if stride.checked_mul(size) == Some(outer.1) => *outer = (outer.0 * size, stride),
            _ => axes.push((size, stride)),
        }
    }
    if last as u64 >= storage_len {
        return Err(outside());
    }
    Ok((shape, View { offset, len, axes }))
}

/// Bytes of a value.
fn bytes_of(dtype: Dtype) -> u64 {
    dtype.bitsize() as u64 / 8
}

fn named(name: &str, reason: String) -> Problem {
    Problem::Damaged(format!("{}: {reason}", shown(name)))
}

fn as_usize(value: Value) -> Option<usize> {
    let Value::Int(value) = value else { return None };
    usize::try_from(value).ok()
}

impl View {
    /// The values in row-major order; they were found to lie within the storage.
    fn gather(&self, values: &[f32]) -> Outcome<Vec<f32>> {
        let mut data = with_room(self.len)?;
        if let [(size, 1)] = self.axes[..] {
            data.extend_from_slice(&values[self.offset..][..size]);
            return Ok(data);
        }
        let (mut at, mut index) = (self.offset, [0; MAX_RANK]);
        for _ in 0..self.len {
            data.push(values[at]);
            for (i, &(size, stride)) in index.iter_mut().zip(&self.axes).rev() {
                (*i, at) = (*i + 1, at + stride);
                if *i < size {
                    break;
                }
                (*i, at) = (0, at - size * stride);
            }
        }
        Ok(data)
    }
}
