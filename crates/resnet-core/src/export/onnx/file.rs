//! A model's bytes, in the order of its fields. Weights go to the file by themselves; the rest is made in memory first, because a message
//! begins with its length.

use super::graph::{Graph, Operand};
use super::initializer::{Initializer, KEY_LEN};
use super::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto, GRAPH, INITIALIZER, IR_VERSION, OPSET};
use crate::cancel::{Cancel, Cancellable};
use crate::error::{Code, Error, Result};
use crate::replacement::replace;
use prost::encoding::{encode_key, encode_varint, encoded_len_varint, WireType};
use prost::Message as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 18;
/// Most bytes of a message that readers take: lengths are signed 32-bit numbers.
const MAX_LEN: u64 = i32::MAX as u64;

/// Writes a graph and what is said beside it, as a whole or not at all; the bytes of the file.
///
/// # Errors
/// `ERR_NON_FINITE_WEIGHTS`; `ERR_INVALID_ARGUMENT` if it is too large for the format; `ERR_IO`; `ERR_ABORTED`.
pub fn write(
    path: &Path,
    graph: &Graph,
    output: Operand,
    metadata_props: Vec<StringStringEntryProto>,
    cancel: &Cancel,
) -> Result<u64> {
    let opset = OperatorSetIdProto { domain: String::new(), version: OPSET };
    let head = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "resnet-native".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        ..ModelProto::default()
    };
    let tail = ModelProto { opset_import: vec![opset], metadata_props, ..ModelProto::default() };
    let [nodes, values] = [graph.nodes(), graph.values(output)];
    // Parts of a message, one after the other, are the message.
    let weights = graph.initializers().iter().fold(0u64, |sum, one| sum.saturating_add(field_len(one)));
    let graph_len = weights.saturating_add((nodes.encoded_len() + values.encoded_len()) as u64);
    let mut front = head.encode_to_vec();
    encode_key(GRAPH, WireType::LengthDelimited, &mut front);
    encode_varint(graph_len, &mut front);
    let back = tail.encode_to_vec();
    let len = graph_len.saturating_add((front.len() + back.len()) as u64);
    check_len(len)?;
    for initializer in graph.initializers() {
        cancel.check()?;
        initializer.check()?;
    }
    front.extend(nodes.encode_to_vec());
    replace(path, |file| {
        let mut out = BufWriter::with_capacity(BUFFER, Cancellable::new(file, cancel));
        out.write_all(&front)?;
        for initializer in graph.initializers() {
            let mut begin = Vec::new();
            encode_key(INITIALIZER, WireType::LengthDelimited, &mut begin);
            encode_varint(initializer.encoded_len(), &mut begin);
            out.write_all(&begin)?;
            initializer.write(&mut out)?;
        }
        out.write_all(&values.encode_to_vec())?;
        out.write_all(&back)?;
        out.flush()
    })
    .map_err(|error| cancel.check().err().unwrap_or_else(|| Error::io("write", path, &error)))?;
    Ok(len)
}

/// Bytes of a tensor as a field of the graph.
fn field_len(initializer: &Initializer) -> u64 {
    let len = initializer.encoded_len();
    len.saturating_add(KEY_LEN + encoded_len_varint(len) as u64)
}

/// Refuses what no reader would take.
pub(super) fn check_len(len: u64) -> Result<()> {
    if len <= MAX_LEN {
        return Ok(());
    }
    let expected =
        format!("a file of at most {MAX_LEN} bytes, the most that the format can have (precision fp16 needs half)");
    Err(Error::expected(Code::InvalidArgument, "network", expected, format!("{len} bytes")))
}
