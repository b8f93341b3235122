//! Pickles read as data: nothing is imported, nothing is called, nothing is executed.
//!
//! Values are small and refer to the containers by index, so that shared and nested ones cost nothing and cannot
//! recurse.

use safetensors::Dtype;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Text(Text),
    /// A number or bytes that no state dict has a use for.
    Other,
    Global(Global),
    /// Indices into [`Pickle::containers`]; a dict is keys and values in turn.
    List(u32),
    Tuple(u32),
    Dict(u32),
    /// An index into [`Pickle::storages`].
    Storage(u32),
    /// An index into [`Pickle::tensors`].
    Tensor(u32),
}

/// A part of a pickle's texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Text {
    pub start: u32,
    pub len: u32,
}

/// The globals that a state dict needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    /// What wraps a tensor: its result is the tensor.
    Parameter,
    Size,
    Storage(Dtype),
}

impl Global {
    /// The global of that name, if it is one of these.
    pub fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            // PyTorch before 0.4 wrote the first.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") | ("torch.nn.parameter", "Parameter") => Self::Parameter,
            ("torch", "Size") => Self::Size,
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => return None,
        })
    }
}

/// What a pickle says of a storage: values in a row that lie elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StorageRef {
    pub key: Text,
    pub dtype: Dtype,
    pub len: u64,
}

/// A tensor: a view of a storage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TensorView {
    pub storage: u32,
    pub offset: i64,
    /// Indices of tuples.
    pub sizes: u32,
    pub strides: u32,
}

/// What a pickle says.
#[derive(Debug)]
pub(super) struct Pickle {
    pub root: Value,
    pub containers: Vec<Vec<Value>>,
    pub storages: Vec<StorageRef>,
    pub tensors: Vec<TensorView>,
    /// All texts in a row.
    pub texts: String,
}

impl Pickle {
    pub fn text(&self, text: Text) -> &str {
        &self.texts[text.start as usize..][..text.len as usize]
    }

    /// The keys and values of a dict.
    pub fn pairs(&self, dict: u32) -> impl Iterator<Item = (Value, Value)> + '_ {
        self.containers[dict as usize].chunks_exact(2).map(|pair| (pair[0], pair[1]))
    }

    /// The value of a text key.
    pub fn get(&self, dict: u32, name: &str) -> Option<Value> {
        let found = |&(key, _): &(Value, Value)| matches!(key, Value::Text(text) if self.text(text) == name);
        self.pairs(dict).find(found).map(|(_, value)| value)
    }
}

/// A text from a file as an error message shows it.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
