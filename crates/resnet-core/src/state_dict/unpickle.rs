//! A reader of pickles as data: nothing is imported, nothing is called, nothing is executed.

use super::pickle::{shown, Global, Pickle, StorageRef, TensorView, Text, Value};
use super::problem::{damaged, Outcome, Problem};
use std::io::{BufRead, ErrorKind, Read as _};

/// Largest pickle; that of a ResNet with 1001 layers and the state of Adam has three million bytes.
pub(super) const MAX_PICKLE: usize = 16 << 20;
/// Most values that a pickle may make; that one makes half a million.
pub(super) const MAX_VALUES: usize = 1 << 20;
/// Most lists, tuples and dicts among them.
const MAX_CONTAINERS: usize = 1 << 18;
/// Most tensors; that one makes fifteen thousand.
const MAX_TENSORS: usize = 1 << 16;
/// Longest name of a global, in bytes.
const MAX_GLOBAL: usize = 256;

/// Reads one pickle of at most `most` values, and no byte beyond it.
pub(super) fn unpickle(source: impl BufRead, most: usize) -> Outcome<Pickle> {
    let pickle =
        Pickle { root: Value::None, containers: vec![], storages: vec![], tensors: vec![], texts: String::new() };
    let (stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new());
    let mut machine = Machine { source, taken: 0, most, left: most, stack, marks, memo, pickle };
    while !machine.step()? {}
    machine.pickle.root = machine.pop()?;
    Ok(machine.pickle)
}

struct Machine<R> {
    source: R,
    /// Bytes read.
    taken: usize,
    /// Values that may be made.
    most: usize,
    /// Those of them that still may.
    left: usize,
    stack: Vec<Value>,
    /// Lengths of the stack at open marks.
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    pickle: Pickle,
}

impl<R: BufRead> Machine<R> {
    /// Follows one instruction; true if it was the last.
    fn step(&mut self) -> Outcome<bool> {
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return Ok(true),
            0x80 => {
                let [version] = self.take()?;
                if !(2..=5).contains(&version) {
                    return damaged(format!("expected a pickle of protocol 2 to 5, got {version}"));
                }
            }
            // A frame says how much follows, which the instructions say too.
            0x95 => match u64::from_le_bytes(self.take()?) {
                len if len > MAX_PICKLE as u64 => return damaged(format!("a pickle's frame of {len} bytes")),
                _ => {}
            },
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => self.take().and_then(|[byte]| self.push(Value::Int(byte.into())))?,
            b'M' => self.take().and_then(|bytes| self.push(Value::Int(u16::from_le_bytes(bytes).into())))?,
            b'J' => self.take().and_then(|bytes| self.push(Value::Int(i32::from_le_bytes(bytes).into())))?,
            0x8a => self.long()?,
            b'G' => self.take::<8>().and_then(|_| self.push(Value::Other))?,
            0x8c | b'U' => self.take().and_then(|[len]| self.text(len.into()))?,
            b'X' | b'T' => self.take().and_then(|len| self.text(u32::from_le_bytes(len) as usize))?,
            b'C' => self.take().and_then(|[len]| self.bytes(len.into()))?,
            b'B' => self.take().and_then(|len| self.bytes(u32::from_le_bytes(len) as usize))?,
            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
            }
            b']' => self.contain(Vec::new(), Value::List)?,
            b'}' => self.contain(Vec::new(), Value::Dict)?,
            b')' => self.contain(Vec::new(), Value::Tuple)?,
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or_else(underflow)?;
                let items = self.split_off(start)?;
                self.contain(items, Value::Tuple)?;
            }
            b't' => {
                let items = self.marked()?;
                self.contain(items, Value::Tuple)?;
            }
            b'a' | b'e' => {
                let items = if opcode == b'a' { vec![self.pop()?] } else { self.marked()? };
                let Some(Value::List(list)) = self.stack.last() else { return damaged("a pickle adds to no list") };
                self.pickle.containers[*list as usize].extend(items);
            }
            b's' | b'u' => {
                let items = match opcode {
                    b's' => self.stack.len().checked_sub(2).ok_or_else(underflow).and_then(|at| self.split_off(at))?,
                    _ => self.marked()?,
                };
                let Some(Value::Dict(dict)) = self.stack.last().filter(|_| items.len() % 2 == 0) else {
                    return damaged("a pickle sets items of no dict");
                };
                self.pickle.containers[*dict as usize].extend(items);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(global(&module, &name)?)?;
            }
            0x93 => {
                let (Value::Text(name), Value::Text(module)) = (self.pop()?, self.pop()?) else {
                    return damaged("a pickle names a global by no text");
                };
                let global = global(self.pickle.text(module), self.pickle.text(name))?;
                self.push(global)?;
            }
            b'R' | 0x81 => self.call()?,
            b'b' => {
                self.pop()?;
                // The state is `_metadata` of a state dict, or what a parameter has beside its tensor.
                if !matches!(self.stack.last(), Some(Value::Dict(_) | Value::Tensor(_))) {
                    return damaged("a pickle sets the state of what is no state dict: a state dict needs no code");
                }
            }
            b'Q' => self.storage()?,
            b'h' => self.take().and_then(|[index]| self.recall(index.into()))?,
            b'j' => self.take().and_then(|index| self.recall(u32::from_le_bytes(index) as usize))?,
            b'q' => self.take().and_then(|[index]| self.remember(index.into()))?,
            b'r' => self.take().and_then(|index| self.remember(u32::from_le_bytes(index) as usize))?,
            0x94 => self.remember(self.memo.len())?,
            other => return damaged(format!("pickle instruction 0x{other:02x}, which no state dict needs")),
        }
        Ok(false)
    }

    /// Counts bytes before they are read.
    fn spend(&mut self, bytes: usize) -> Outcome<()> {
        if bytes > MAX_PICKLE - self.taken {
            return damaged(format!("a pickle of more than {MAX_PICKLE} bytes"));
        }
        self.taken += bytes;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.spend(N)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = Vec::new();
        loop {
            match self.take()? {
                [b'\n'] => break,
                [byte] if line.len() < MAX_GLOBAL => line.push(byte),
                _ => return damaged(format!("the name of a global has more than {MAX_GLOBAL} bytes")),
            }
        }
        String::from_utf8(line).map_err(|_| Problem::Damaged("the name of a global is not UTF-8".into()))
    }

    /// An integer of up to 255 bytes.
    fn long(&mut self) -> Outcome<()> {
        let [len] = self.take()?;
        let mut value = Some(0i64);
        for i in 0..u32::from(len) {
            let [byte] = self.take()?;
            let top = i64::from(byte as i8);
            let byte = if i + 1 == u32::from(len) { top } else { byte.into() };
            value = value.filter(|_| i < 8).map(|value| value | byte << (8 * i));
        }
        self.push(value.map_or(Value::Other, Value::Int))
    }

    fn text(&mut self, len: usize) -> Outcome<()> {
        self.spend(len)?;
        let start = self.pickle.texts.len();
        match self.source.by_ref().take(len as u64).read_to_string(&mut self.pickle.texts) {
            Ok(read) if read == len => self.push(Value::Text(Text { start: start as u32, len: len as u32 })),
            Err(error) if error.kind() != ErrorKind::InvalidData => Err(error.into()),
            _ => damaged("a pickle's text is cut off or not UTF-8"),
        }
    }

    fn bytes(&mut self, len: usize) -> Outcome<()> {
        self.spend(len)?;
        let skipped = std::io::copy(&mut self.source.by_ref().take(len as u64), &mut std::io::sink())?;
        if skipped != len as u64 {
            return damaged("a pickle's bytes are cut off");
        }
        self.push(Value::Other)
    }

    /// Counts values before they are made.
    fn count(&mut self, values: usize) -> Outcome<()> {
        match self.left.checked_sub(values) {
            Some(left) => self.left = left,
            None => return damaged("a pickle of more values than a state dict needs"),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Outcome<()> {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn contain(&mut self, items: Vec<Value>, kind: fn(u32) -> Value) -> Outcome<()> {
        let index = self.pickle.containers.len();
        if index == MAX_CONTAINERS {
            return damaged(format!("a pickle of more than {MAX_CONTAINERS} containers"));
        }
        self.pickle.containers.push(items);
        self.push(kind(index as u32))
    }

    /// Takes the values from an index on; none from before the last mark.
    fn split_off(&mut self, start: usize) -> Outcome<Vec<Value>> {
        if start < self.marks.last().copied().unwrap_or(0) {
            return Err(underflow());
        }
        Ok(self.stack.split_off(start))
    }

    fn pop(&mut self) -> Outcome<Value> {
        let above_mark = self.stack.len() > self.marks.last().copied().unwrap_or(0);
        self.stack.pop().filter(|_| above_mark).ok_or_else(underflow)
    }

    /// Takes the values since the last mark.
    fn marked(&mut self) -> Outcome<Vec<Value>> {
        let start = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(start))
    }

    fn remember(&mut self, index: usize) -> Outcome<()> {
        // Picklers number what they remember from 0, Python 2's from 1.
        let made = self.most - self.left;
        if index > made {
            return damaged(format!("a pickle remembers value {index}, and made only {made}"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(*self.stack.last().ok_or_else(underflow)?);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Outcome<()> {
        match self.memo.get(index) {
            Some(Some(value)) => self.push(*value),
            _ => damaged(format!("a pickle recalls value {index}, which it never made")),
        }
    }

    /// What an allowed global makes of its arguments.
    fn call(&mut self) -> Outcome<()> {
        let (Value::Tuple(arguments), Value::Global(global)) = (self.pop()?, self.pop()?) else {
            return damaged("a pickle calls what is no global: a state dict needs no code");
        };
        match (global, self.pickle.containers[arguments as usize].as_slice()) {
            (Global::OrderedDict, []) => self.contain(Vec::new(), Value::Dict),
            // As Python 2 wrote it.
            (Global::OrderedDict, &[Value::List(pairs)]) => self.dict(pairs),
            (
                Global::RebuildTensor,
                &[Value::Storage(storage), Value::Int(offset), Value::Tuple(sizes), Value::Tuple(strides), ..],
            ) => {
                if self.pickle.tensors.len() == MAX_TENSORS {
                    return damaged(format!("a pickle of more than {MAX_TENSORS} tensors"));
                }
                self.pickle.tensors.push(TensorView { storage, offset, sizes, strides });
                self.push(Value::Tensor(self.pickle.tensors.len() as u32 - 1))
            }
            (Global::Parameter, &[tensor @ Value::Tensor(_), ..]) | (Global::Size, &[tensor @ Value::Tuple(_)]) => {
                self.push(tensor)
            }
            (
                Global::OrderedDict | Global::RebuildTensor | Global::Parameter | Global::Size | Global::Storage(_),
                _,
            ) => damaged(format!("a pickle calls {global:?} with arguments that it does not take")),
        }
    }

    /// A dict of a list of pairs.
    fn dict(&mut self, pairs: u32) -> Outcome<()> {
        const NO_PAIRS: &str = "a pickle makes a dict of what are no pairs";
        let len = self.pickle.containers[pairs as usize].len();
        self.count(2 * len)?;
        let containers = &self.pickle.containers;
        let mut items = Vec::with_capacity(2 * len);
        for pair in &containers[pairs as usize] {
            let (Value::List(pair) | Value::Tuple(pair)) = pair else { return damaged(NO_PAIRS) };
            let &[key, value] = containers[*pair as usize].as_slice() else { return damaged(NO_PAIRS) };
            items.extend([key, value]);
        }
        self.contain(items, Value::Dict)
    }

    /// The storage that a persistent id names.
    fn storage(&mut self) -> Outcome<()> {
        let bad = || Problem::Damaged("a persistent id that is not that of a storage".into());
        let Value::Tuple(id) = self.pop()? else { return Err(bad()) };
        // Older files say after it that it is not a view of another.
        let (kind, class, key, len) = match self.pickle.containers[id as usize].as_slice() {
            &[Value::Text(kind), class, Value::Text(key), Value::Text(_), Value::Int(len)]
            | &[Value::Text(kind), class, Value::Text(key), Value::Text(_), Value::Int(len), Value::None] => {
                (kind, class, key, u64::try_from(len))
            }
            _ => return Err(bad()),
        };
        let (Value::Global(Global::Storage(dtype)), Ok(len), "storage") = (class, len, self.pickle.text(kind)) else {
            return Err(bad());
        };
        self.pickle.storages.push(StorageRef { key, dtype, len });
        self.push(Value::Storage(self.pickle.storages.len() as u32 - 1))
    }
}

/// A global as a value, if a state dict needs it.
fn global(module: &str, name: &str) -> Outcome<Value> {
    if let Some(global) = Global::named(module, name) {
        return Ok(Value::Global(global));
    }
    // Classes are capitalised: that of a model, or of something beside the weights.
    let is_class = name.starts_with(|first: char| first.is_uppercase());
    let hint = if is_class { "; save model.state_dict() instead" } else { "" };
    let [module, name] = [module, name].map(shown);
    damaged(format!("refuses to load {module}.{name}: a state dict needs no code{hint}"))
}

fn underflow() -> Problem {
    Problem::Damaged("a pickle takes a value that it never made".into())
}
